//! Times as the API writes them, and ages as kubectl prints them.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// The present moment. The one clock of this crate; pass times in where a test must move them.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// `2026-01-02T03:04:05Z`: the form of `metav1.Time`, cut to seconds.
pub fn rfc3339(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC)
        .format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
        .expect("a date of this format can always be written")
}

/// `2026-01-02T03:04:05.000006Z`: the form of `metav1.MicroTime`.
pub fn rfc3339_micro(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC)
        .format(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"
        ))
        .expect("a date of this format can always be written")
}

/// [`rfc3339`] of [`now`].
pub fn now_rfc3339() -> String {
    rfc3339(now())
}

/// [`rfc3339_micro`] of [`now`].
pub fn now_rfc3339_micro() -> String {
    rfc3339_micro(now())
}

/// Reads either form, with any offset. `None` where it is neither.
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// How long ago `text` was, seen from `now`; `None` where it is no time. The future is zero.
pub fn since(text: &str, now: OffsetDateTime) -> Option<Duration> {
    let age = now - parse(text)?;
    Some(Duration::try_from(age).unwrap_or_default())
}

/// An age in at most two units, as kubectl's AGE column: `45s`, `5m20s`, `3h5m`, `2d4h`, `1y30d`.
pub fn human_duration(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () if days < 365 * 2 => format!("{days}d"),
        () if days < 365 * 8 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

fn two(big: u64, big_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{big}{big_unit}")
    } else {
        format!("{big}{big_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;
    use time::macros::datetime;

    #[test]
    fn written_forms() {
        let at = datetime!(2026-01-02 03:04:05.123456789 +1);
        assert_eq!(rfc3339(at), "2026-01-02T02:04:05Z");
        assert_eq!(rfc3339_micro(at), "2026-01-02T02:04:05.123456Z");
        assert_eq!(parse("2026-01-02T03:04:05.123456789+01:00"), Some(at));
        assert_eq!(parse("yesterday"), None);
    }

    #[test_case(0, "0s")]
    #[test_case(119, "119s")]
    #[test_case(120, "2m")]
    #[test_case(599, "9m59s")]
    #[test_case(600, "10m")]
    #[test_case(10_799, "179m")]
    #[test_case(10_800, "3h")]
    #[test_case(28_740, "7h59m")]
    #[test_case(172_799, "47h")]
    #[test_case(172_800, "2d")]
    #[test_case(180_000, "2d2h")]
    #[test_case(691_200, "8d")]
    #[test_case(63_072_000, "2y")]
    #[test_case(315_360_000, "10y")]
    fn ages(seconds: u64, expected: &str) {
        assert_eq!(human_duration(Duration::from_secs(seconds)), expected);
    }

    #[test]
    fn the_future_is_zero_old() {
        let now = datetime!(2026-01-01 00:00 UTC);
        assert_eq!(since("2027-01-01T00:00:00Z", now), Some(Duration::ZERO));
        assert_eq!(since("2025-12-31T23:59:00Z", now), Some(Duration::from_secs(60)));
    }
}
