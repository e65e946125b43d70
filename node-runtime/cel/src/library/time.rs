//! Texts that are times and lengths of time.

use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// Longest text that is looked at.
const TEXT_MAX: usize = 200;

/// Units of lengths of time as Go knows them.
const UNITS: &[(&str, i64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Units that schemas know besides.
const MORE_UNITS: &[(&str, i64)] = &[
    ("nano", 1),
    ("nanosecond", 1),
    ("nanoseconds", 1),
    ("micro", 1_000),
    ("microsecond", 1_000),
    ("microseconds", 1_000),
    ("milli", 1_000_000),
    ("millisecond", 1_000_000),
    ("milliseconds", 1_000_000),
    ("sec", 1_000_000_000),
    ("secs", 1_000_000_000),
    ("second", 1_000_000_000),
    ("seconds", 1_000_000_000),
    ("min", 60_000_000_000),
    ("mins", 60_000_000_000),
    ("minute", 60_000_000_000),
    ("minutes", 60_000_000_000),
    ("hr", 3_600_000_000_000),
    ("hrs", 3_600_000_000_000),
    ("hour", 3_600_000_000_000),
    ("hours", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("day", 86_400_000_000_000),
    ("days", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
    ("wk", 604_800_000_000_000),
    ("wks", 604_800_000_000_000),
    ("week", 604_800_000_000_000),
    ("weeks", 604_800_000_000_000),
];

/// A length of time as Go writes it (`1h30m`, `-1.5s`), in nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    parse_units(text, UNITS)
}

/// A length of time as schemas take it: also `3 days`.
pub(crate) fn parse_schema_duration(text: &str) -> Option<i64> {
    parse_duration(text).or_else(|| {
        let (number, unit) = text.trim().split_at(text.trim().find(|c: char| c.is_alphabetic())?);
        let number: i64 = number.trim().parse().ok()?;
        let all = UNITS.iter().chain(MORE_UNITS);
        let (_, nanos) = all.into_iter().find(|(name, _)| *name == unit.to_lowercase())?;
        number.checked_mul(*nanos)
    })
}

fn parse_units(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() || text.len() > TEXT_MAX {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole = digits(rest);
        let fraction = rest[whole..].strip_prefix('.').map_or(0, digits);
        let dot = usize::from(rest[whole..].starts_with('.'));
        if whole + fraction == 0 {
            return None;
        }
        let number = &rest[..whole + dot + fraction];
        rest = &rest[number.len()..];
        let unit = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, nanos) = units.iter().find(|(name, _)| *name == &rest[..unit])?;
        rest = &rest[unit..];
        total = total.checked_add(scaled(number, *nanos)?)?;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// `1.5` of a unit, rounded down to nanoseconds.
fn scaled(number: &str, nanos: i64) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Further digits are below a nanosecond of any unit.
    let fraction: String = fraction.chars().take(15).collect();
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part = part * i128::from(nanos) / 10_i128.pow(fraction.len() as u32);
    whole.checked_mul(i128::from(nanos))?.checked_add(part)
}

/// RFC 3339.
pub(crate) fn parse_timestamp(text: &str) -> Option<OffsetDateTime> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    in_range(at)
}

/// RFC 3339, also without an offset or with a space, as schemas take it.
pub(crate) fn parse_date_time(text: &str) -> Option<OffsetDateTime> {
    parse_timestamp(text).or_else(|| {
        let (date, clock) = text.split_once(['T', 't', ' '])?;
        let offset =
            if clock.ends_with(['Z', 'z']) || clock.contains(['+', '-']) { "" } else { "Z" };
        parse_timestamp(&format!("{date}T{clock}{offset}"))
    })
}

/// `2006-01-02`
pub(crate) fn parse_date(text: &str) -> Option<OffsetDateTime> {
    let mut parts = text.split('-');
    let mut part = |length: usize| {
        let part = parts.next()?;
        let digits = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse::<u16>().ok() } else { None }
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    if parts.next().is_some() {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()?;
    in_range(PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc())
}

/// Seconds since 1970.
pub(crate) fn from_seconds(seconds: i64) -> Option<OffsetDateTime> {
    in_range(OffsetDateTime::from_unix_timestamp(seconds).ok()?)
}

/// In UTC, if it lies between the years 1 and 9999.
pub(crate) fn in_range(at: OffsetDateTime) -> Option<OffsetDateTime> {
    // The first and the last second.
    const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    RANGE.contains(&at.unix_timestamp()).then(|| at.to_offset(UtcOffset::UTC))
}

/// RFC 3339 in UTC, with as many digits of the second as there are.
pub(crate) fn format_timestamp(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("0", Some(0))]
    #[test_case("1s", Some(1_000_000_000))]
    #[test_case("-1h30m", Some(-5_400_000_000_000))]
    #[test_case("1.5s", Some(1_500_000_000))]
    #[test_case(".5ms", Some(500_000))]
    #[test_case("1h1m1s1ms1us1ns", Some(3_661_001_001_001))]
    #[test_case("2600000h", None; "too long")]
    #[test_case("1", None)]
    #[test_case("1d", None)]
    #[test_case("", None)]
    #[test_case("-", None)]
    #[test_case("s", None)]
    #[test_case(".s", None)]
    #[test_case("1.5.5s", None)]
    fn durations(text: &str, expected: Option<i64>) {
        assert_eq!(parse_duration(text), expected);
    }

    #[test]
    fn durations_of_schemas() {
        assert_eq!(parse_schema_duration("3 days"), Some(259_200_000_000_000));
        assert_eq!(parse_schema_duration("1w"), Some(604_800_000_000_000));
        assert_eq!(parse_schema_duration("99999999999999999 w"), None);
        assert_eq!(parse_schema_duration("three days"), None);
    }

    #[test]
    fn times() {
        let shown = |text: &str| parse_timestamp(text).map(format_timestamp);
        assert_eq!(shown("2024-02-29T12:00:00.5+02:00").as_deref(), Some("2024-02-29T10:00:00.5Z"));
        assert_eq!(shown("0001-01-01T00:00:00Z").as_deref(), Some("0001-01-01T00:00:00Z"));
        assert_eq!(shown("0000-12-31T00:00:00Z"), None);
        assert_eq!(shown("2023-02-29T00:00:00Z"), None);
        assert_eq!(shown("2024-02-29"), None);
        assert!(parse_date("2024-02-29").is_some());
        assert!(parse_date("2024-2-29").is_none());
        assert!(parse_date_time("2024-02-29T12:00:00").is_some());
        assert!(from_seconds(i64::MAX).is_none());
    }
}
