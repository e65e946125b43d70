//! Arithmetic with times, and their parts.

use jiff::tz::{Offset, TimeZone};
use time::{OffsetDateTime, UtcOffset};

use super::time::in_range;
use super::{Args, Handler};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::Value;

pub(super) fn methods(name: &str) -> Option<Handler> {
    Some(match name {
        "getFullYear" => |args| part(args, |at| i64::from(at.year())),
        "getMonth" => |args| part(args, |at| i64::from(u8::from(at.month())) - 1),
        "getDayOfYear" => |args| part(args, |at| i64::from(at.ordinal()) - 1),
        "getDayOfMonth" => |args| part(args, |at| i64::from(at.day()) - 1),
        "getDate" => |args| part(args, |at| i64::from(at.day())),
        "getDayOfWeek" => |args| part(args, |at| i64::from(at.weekday().number_days_from_sunday())),
        "getHours" => |args| {
            length(args, 3_600_000_000_000).unwrap_or_else(|| part(args, |at| at.hour().into()))
        },
        "getMinutes" => |args| {
            length(args, 60_000_000_000).unwrap_or_else(|| part(args, |at| at.minute().into()))
        },
        "getSeconds" => |args| {
            length(args, 1_000_000_000).unwrap_or_else(|| part(args, |at| at.second().into()))
        },
        "getMilliseconds" => |args| {
            length(args, 1_000_000).unwrap_or_else(|| part(args, |at| at.millisecond().into()))
        },
        _ => return None,
    })
}

/// A length of time in whole units.
fn length<'a>(args: &Args<'_, 'a>, nanos: i64) -> Option<Evaluated<'a>> {
    match args.values.as_slice() {
        [Value::Duration(length)] => Some(Ok(Value::Int(length / nanos))),
        _ => None,
    }
}

fn part<'a>(args: &Args<'_, 'a>, of: fn(OffsetDateTime) -> i64) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::Timestamp(at)] => Ok(Value::Int(of(*at))),
        [Value::Timestamp(at), Value::String(zone)] => {
            Ok(Value::Int(of(in_zone(*at, zone.as_str())?)))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// The same moment on the clocks of a zone: `Europe/Berlin`, `+02:00`, `-8:30`.
fn in_zone(at: OffsetDateTime, zone: &str) -> Result<OffsetDateTime, EvalError> {
    let unknown = || {
        let shown: String = zone.chars().take(100).collect();
        EvalError::failed(format!("unknown time zone {shown}"))
    };
    let seconds = match fixed_offset(zone) {
        Some(seconds) => seconds,
        None if zone.len() > 100 => return Err(unknown()),
        None => {
            let zone = TimeZone::get(zone).map_err(|_| unknown())?;
            let moment = jiff::Timestamp::from_second(at.unix_timestamp());
            // The last hours of the year 9999 are beyond what zones are known for.
            let offset = moment.map_or(Offset::UTC, |moment| zone.to_offset(moment));
            offset.seconds()
        }
    };
    let offset = UtcOffset::from_whole_seconds(seconds).map_err(|_| unknown())?;
    at.checked_to_offset(offset).ok_or_else(|| EvalError::failed("timestamp overflow"))
}

fn fixed_offset(zone: &str) -> Option<i32> {
    let (sign, rest) = match zone.as_bytes().first()? {
        b'-' => (-1, &zone[1..]),
        b'+' => (1, &zone[1..]),
        _ => (1, zone),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, most: i32| {
        let fine = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|number| fine && *number <= most)
    };
    Some(sign * (number(hours, 23)? * 3600 + number(minutes, 59)? * 60))
}

/// `timestamp + duration` and `duration + duration`.
pub(super) fn add<'a>(left: &Value<'a>, right: &Value<'a>) -> Evaluated<'a> {
    match (left, right) {
        (Value::Duration(left), Value::Duration(right)) => left
            .checked_add(*right)
            .map(Value::Duration)
            .ok_or_else(|| EvalError::failed("duration overflow")),
        (Value::Timestamp(at), Value::Duration(nanos))
        | (Value::Duration(nanos), Value::Timestamp(at)) => moved(*at, i128::from(*nanos)),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// `timestamp - timestamp`, `timestamp - duration`, `duration - duration`.
pub(super) fn subtract<'a>(left: &Value<'a>, right: &Value<'a>) -> Evaluated<'a> {
    let overflow = || EvalError::failed("duration overflow");
    match (left, right) {
        (Value::Duration(left), Value::Duration(right)) => {
            left.checked_sub(*right).map(Value::Duration).ok_or_else(overflow)
        }
        (Value::Timestamp(at), Value::Duration(nanos)) => moved(*at, -i128::from(*nanos)),
        (Value::Timestamp(left), Value::Timestamp(right)) => {
            let nanos = left.unix_timestamp_nanos() - right.unix_timestamp_nanos();
            i64::try_from(nanos).map(Value::Duration).map_err(|_| overflow())
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn moved<'a>(at: OffsetDateTime, nanos: i128) -> Evaluated<'a> {
    let nanos = at.unix_timestamp_nanos() + nanos;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(in_range)
        .map(Value::Timestamp)
        .ok_or_else(|| EvalError::failed("timestamp overflow"))
}
