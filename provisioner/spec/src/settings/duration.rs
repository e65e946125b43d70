//! Durations as Go programs write them: `26280h`, `6m0s`, `1h30m`, `500ms`; a bare number is seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::SpecError;

/// A span of time that reads and prints as in Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl From<HumanDuration> for Duration {
    fn from(span: HumanDuration) -> Duration {
        span.0
    }
}

impl FromStr for HumanDuration {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<HumanDuration, SpecError> {
        let refused = || SpecError::setting("duration", text, "is not a duration like 6m0s or 90s");
        if let Ok(seconds) = text.parse::<u64>() {
            return Ok(HumanDuration(Duration::from_secs(seconds)));
        }
        parse(text).map(HumanDuration).ok_or_else(refused)
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_end);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok())?
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.as_secs();
        let millis = self.0.subsec_millis();
        let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
        match (hours, minutes, seconds, millis) {
            (0, 0, 0, 0) => f.write_str("0s"),
            (0, 0, 0, ms) => write!(f, "{ms}ms"),
            (0, 0, s, 0) => write!(f, "{s}s"),
            (0, m, s, 0) => write!(f, "{m}m{s}s"),
            (h, m, s, 0) => write!(f, "{h}h{m}m{s}s"),
            (0, 0, s, ms) => write!(f, "{s}.{ms:03}s"),
            (0, m, s, ms) => write!(f, "{m}m{s}.{ms:03}s"),
            (h, m, s, ms) => write!(f, "{h}h{m}m{s}.{ms:03}s"),
        }
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<HumanDuration, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("26280h", "26280h0m0s")]
    #[test_case("6m0s", "6m0s")]
    #[test_case("1h30m", "1h30m0s")]
    #[test_case("500ms", "500ms")]
    #[test_case("1.5s", "1.500s")]
    #[test_case("90", "1m30s"; "bare seconds")]
    #[test_case("0s", "0s")]
    #[test_case("", "duration: `` is not a duration like 6m0s or 90s"; "empty")]
    #[test_case("6 m", "duration: `6 m` is not a duration like 6m0s or 90s"; "space")]
    #[test_case("5d", "duration: `5d` is not a duration like 6m0s or 90s"; "Go has no days")]
    #[test_case("-1s", "duration: `-1s` is not a duration like 6m0s or 90s"; "negative")]
    fn durations(text: &str, expected: &str) {
        let got = text.parse::<HumanDuration>().map(|span| span.to_string());
        assert_eq!(got.unwrap_or_else(|err| err.to_string()), expected);
    }
}
