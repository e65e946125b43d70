//! Numbers and times as upstream prints them.

/// The shortest digits that give the number back; with an exponent below 1e-4 and from 1e21.
pub(crate) fn go_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if number != 0.0 && !(-4..21).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{number}")
}

/// Nanoseconds as seconds: `90s`, `0.5s`.
pub(crate) fn go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case(1.0, "1")]
    #[test_case(1.5, "1.5")]
    #[test_case(-0.25, "-0.25")]
    #[test_case(1e20, "100000000000000000000")]
    #[test_case(1e21, "1e+21")]
    #[test_case(0.0001, "0.0001")]
    #[test_case(0.00001, "1e-05")]
    #[test_case(1.234e-7, "1.234e-07")]
    #[test_case(0.0, "0")]
    #[test_case(f64::INFINITY, "+Inf")]
    fn floats(number: f64, expected: &str) {
        assert_eq!(go_float(number), expected);
    }

    #[test_case(90_000_000_000, "90s")]
    #[test_case(-500_000_000, "-0.5s")]
    #[test_case(1, "0.000000001s")]
    fn durations(nanos: i64, expected: &str) {
        assert_eq!(go_duration(nanos), expected);
    }
}
