//! Durations as Go writes and reads them: `1h2m3.5s`.

use std::time::Duration;

/// Why a text is no duration; in Go's words, which clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    #[error("time: missing unit in duration {0:?}")]
    NoUnit(String),
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    Unit { unit: String, text: String },
}

/// Reads a duration; `None` for a negative one.
pub(crate) fn parse(text: &str) -> Result<Option<Duration>, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, unsigned) = match text.strip_prefix(['-', '+']) {
        Some(unsigned) => (text.starts_with('-'), unsigned),
        None => (false, text),
    };
    if unsigned == "0" {
        return Ok(Some(Duration::ZERO));
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut rest = unsigned;
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let number = &rest[..end];
        let some_digits = number.bytes().any(|byte| byte.is_ascii_digit());
        let number: f64 = number.parse().ok().filter(|_| some_digits).ok_or_else(invalid)?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..end];
        rest = &rest[end..];
        let unit_nanos = match unit {
            "" => return Err(DurationError::NoUnit(text.to_owned())),
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            unit => {
                return Err(DurationError::Unit { unit: unit.to_owned(), text: text.to_owned() });
            }
        };
        nanos += number * unit_nanos;
    }
    // As much as Go's can hold, in nanoseconds.
    if nanos > i64::MAX as f64 {
        return Err(invalid());
    }
    Ok((!negative).then(|| Duration::from_nanos(nanos.round() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("0", 0; "zero needs no unit")]
    #[test_case("1h2m3.5s", 3_723_500; "mixed")]
    #[test_case("250ms", 250; "millis")]
    #[test_case("+.5s", 500; "sign and fraction")]
    fn durations(text: &str, millis: u64) {
        assert_eq!(parse(text), Ok(Some(Duration::from_millis(millis))));
    }

    #[test_case("", r#"time: invalid duration """#; "nothing")]
    #[test_case("abc", r#"time: invalid duration "abc""#; "no number")]
    #[test_case(".s", r#"time: invalid duration ".s""#; "no digits")]
    #[test_case("5", r#"time: missing unit in duration "5""#; "no unit")]
    #[test_case("5x", r#"time: unknown unit "x" in duration "5x""#; "no such unit")]
    #[test_case("9999999999h", r#"time: invalid duration "9999999999h""#; "too long")]
    fn no_durations(text: &str, expected: &str) {
        assert_eq!(parse(text).expect_err("no duration").to_string(), expected);
    }

    #[test]
    fn negative_ones_are_known_as_such() {
        assert_eq!(parse("-1s"), Ok(None));
    }
}
