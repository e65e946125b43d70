//! Conversions, `size`, `type` and `dyn`.

use std::sync::Arc;

use super::time::{format_timestamp, parse_duration, parse_timestamp};
use super::{Args, Handler, net, texts};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::{Library, Value, go_duration, go_float};

pub(super) fn find(name: &str) -> Option<Handler> {
    Some(match name {
        "size" => size,
        "dyn" => |args| take(args),
        "type" => |args| Ok(Value::Type(Arc::new(take(args)?.ty()))),
        "bool" => to_bool,
        "bytes" => to_bytes,
        "double" => to_double,
        "int" => to_int,
        "uint" => to_uint,
        "string" => to_string,
        "duration" => to_duration,
        "timestamp" => to_timestamp,
        "matches" => texts::matches,
        _ => return None,
    })
}

fn take<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    args.values.pop().ok_or_else(EvalError::no_such_overload)
}

/// Also the method.
pub(super) fn size<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let count = match args.values.as_slice() {
        [Value::String(text)] => {
            args.meter.work(text.as_str().len() as u64 / 16)?;
            text.as_str().chars().count()
        }
        [Value::Bytes(bytes)] => bytes.len(),
        [Value::List(list)] => list.len(),
        [Value::Map(map)] => map.len(),
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Int(count as i64))
}

fn to_bool<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match take(args)? {
        truth @ Value::Bool(_) => Ok(truth),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            other => Err(invalid_syntax("ParseBool", other)),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn invalid_syntax(function: &str, text: &str) -> EvalError {
    let shown: String = text.chars().take(200).collect();
    EvalError::failed(format!("strconv.{function}: parsing {shown:?}: invalid syntax"))
}

fn to_bytes<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match take(args)? {
        bytes @ Value::Bytes(_) => Ok(bytes),
        Value::String(text) => {
            args.meter.make(text.as_str().len() as u64)?;
            Ok(Value::Bytes(text.as_str().as_bytes().into()))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn to_double<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    Ok(Value::Double(match take(args)? {
        Value::Double(number) => number,
        Value::Int(number) => number as f64,
        Value::Uint(number) => number as f64,
        Value::String(text) => {
            let text = text.as_str();
            // Longer ones are no numbers that anybody writes, and slow to read.
            let parsed = if text.len() > 1000 { None } else { text.parse::<f64>().ok() };
            parsed.ok_or_else(|| invalid_syntax("ParseFloat", text))?
        }
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn to_int<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let overflow = || EvalError::failed("integer overflow");
    Ok(Value::Int(match take(args)? {
        Value::Int(number) => number,
        Value::Uint(number) => i64::try_from(number).map_err(|_| overflow())?,
        Value::Double(number) if number > i64::MIN as f64 && number < i64::MAX as f64 => {
            number as i64
        }
        Value::Double(_) => return Err(overflow()),
        Value::Timestamp(at) => at.unix_timestamp(),
        Value::Duration(nanos) => nanos,
        Value::String(text) => parse_whole(text.as_str(), "ParseInt")?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn parse_whole<T: std::str::FromStr<Err = std::num::ParseIntError>>(
    text: &str,
    function: &str,
) -> Result<T, EvalError> {
    text.parse::<T>().map_err(|error| match error.kind() {
        std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
            let shown: String = text.chars().take(200).collect();
            EvalError::failed(format!("strconv.{function}: parsing {shown:?}: value out of range"))
        }
        _ => invalid_syntax(function, text),
    })
}

fn to_uint<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let overflow = || EvalError::failed("unsigned integer overflow");
    Ok(Value::Uint(match take(args)? {
        Value::Uint(number) => number,
        Value::Int(number) => u64::try_from(number).map_err(|_| overflow())?,
        Value::Double(number) if number > -1.0 && number < u64::MAX as f64 => number as u64,
        Value::Double(_) => return Err(overflow()),
        Value::String(text) => parse_whole(text.as_str(), "ParseUint")?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn to_string<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    Ok(match take(args)? {
        text @ Value::String(_) => text,
        Value::Bool(truth) => Value::text(truth.to_string()),
        Value::Int(number) => Value::text(number.to_string()),
        Value::Uint(number) => Value::text(number.to_string()),
        Value::Double(number) => Value::text(go_float(number)),
        Value::Duration(nanos) => Value::text(go_duration(nanos)),
        Value::Timestamp(at) => Value::text(format_timestamp(at)),
        Value::Bytes(bytes) => {
            args.meter.make(bytes.len() as u64)?;
            let text = std::str::from_utf8(&bytes);
            let text = text.map_err(|_| {
                EvalError::failed("invalid UTF-8 in bytes, cannot convert to string")
            })?;
            Value::text(text)
        }
        Value::Library(Library::Ip(address)) => Value::text(net::show_ip(address)),
        Value::Library(Library::Cidr(cidr)) => Value::text(cidr.to_string()),
        _ => return Err(EvalError::no_such_overload()),
    })
}

fn to_duration<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match take(args)? {
        duration @ Value::Duration(_) => Ok(duration),
        Value::String(text) => {
            parse_duration(text.as_str()).map(Value::Duration).ok_or_else(|| {
                let shown: String = text.as_str().chars().take(200).collect();
                EvalError::failed(format!("time: invalid duration {shown:?}"))
            })
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn to_timestamp<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match take(args)? {
        at @ Value::Timestamp(_) => Ok(at),
        Value::Int(seconds) => super::time::from_seconds(seconds)
            .map(Value::Timestamp)
            .ok_or_else(|| EvalError::failed("timestamp overflow")),
        Value::String(text) => {
            parse_timestamp(text.as_str()).map(Value::Timestamp).ok_or_else(|| {
                let shown: String = text.as_str().chars().take(200).collect();
                EvalError::failed(format!("cannot parse {shown:?} as a timestamp"))
            })
        }
        _ => Err(EvalError::no_such_overload()),
    }
}
