//! Formats of strings that are checked. All others are only hints.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minik_meta::{names, time};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A format of strings.
#[derive(Clone, Copy)]
pub(super) struct Format {
    /// As schemas name it.
    pub(super) name: &'static str,
    check: fn(&str) -> bool,
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const FORMATS: &[Format] = &[
    Format { name: "bsonobjectid", check: |text| text.len() == 24 && is_hex(text) },
    Format { name: "byte", check: |text| BASE64_STANDARD.decode(text).is_ok() },
    Format { name: "cidr", check: is_cidr },
    Format { name: "creditcard", check: is_credit_card },
    Format { name: "date", check: is_date },
    Format { name: "date-time", check: |text| time::parse(text).is_some() },
    Format { name: "datetime", check: |text| time::parse(text).is_some() },
    Format { name: "duration", check: is_duration },
    Format { name: "email", check: is_email },
    Format { name: "hexcolor", check: is_hex_color },
    Format { name: "hostname", check: is_host_name },
    Format { name: "ipv4", check: |text| text.parse::<Ipv4Addr>().is_ok() },
    Format { name: "ipv6", check: |text| text.parse::<Ipv6Addr>().is_ok() },
    Format { name: "isbn", check: |text| is_isbn10(text) || is_isbn13(text) },
    Format { name: "isbn10", check: is_isbn10 },
    Format { name: "isbn13", check: is_isbn13 },
    Format { name: "k8s-long-name", check: |text| names::dns1123_subdomain(text).is_empty() },
    Format { name: "k8s-short-name", check: |text| names::dns1123_label(text).is_empty() },
    Format { name: "mac", check: is_mac },
    Format { name: "password", check: |_| true },
    Format { name: "rgbcolor", check: is_rgb_color },
    Format { name: "ssn", check: is_ssn },
    Format { name: "uri", check: is_uri },
    Format { name: "uuid", check: |text| is_uuid(text, None) },
    Format { name: "uuid3", check: |text| is_uuid(text, Some('3')) },
    Format { name: "uuid4", check: |text| is_uuid(text, Some('4')) },
    Format { name: "uuid5", check: |text| is_uuid(text, Some('5')) },
];

impl Format {
    /// The format of this name, if it is one that is checked.
    pub(super) fn find(name: &str) -> Option<Format> {
        FORMATS.iter().find(|one| one.name == name).copied()
    }

    /// Whether `text` is written in it.
    pub(super) fn matches(self, text: &str) -> bool {
        (self.check)(text)
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    is_digits(bits) && bits.parse::<u32>().is_ok_and(|bits| bits <= most)
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let shaped = year.len() == 4 && month.len() == 2 && day.len() == 2;
    // The day exists if its first moment does.
    shaped && time::parse(&format!("{text}T00:00:00Z")).is_some()
}

/// Numbers with units, as Go writes durations, or one number with a unit in words: `3 days`.
fn is_duration(text: &str) -> bool {
    const UNITS: &[&str] = &[
        "ns",
        "us",
        "µs",
        "μs",
        "ms",
        "s",
        "m",
        "h",
        "d",
        "w",
        "nanosecond",
        "nanoseconds",
        "nanos",
        "microsecond",
        "microseconds",
        "micros",
        "millis",
        "millisecond",
        "milliseconds",
        "sec",
        "secs",
        "second",
        "seconds",
        "min",
        "mins",
        "minute",
        "minutes",
        "hr",
        "hrs",
        "hour",
        "hours",
        "day",
        "days",
        "week",
        "weeks",
        "wk",
    ];
    if text == "0" {
        return true;
    }
    let mut rest = text.trim_start_matches(['-', '+']);
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        if number == 0 || !rest[..number].bytes().any(|byte| byte.is_ascii_digit()) {
            return false;
        }
        rest = rest[number..].trim_start();
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
        let unit = unit.unwrap_or(rest.len());
        if !UNITS.contains(&&rest[..unit]) {
            return false;
        }
        rest = rest[unit..].trim_start();
    }
    true
}

fn is_email(text: &str) -> bool {
    // An address may have a name before it: `A <a@b.c>`.
    let address = match (text.find('<'), text.strip_suffix('>')) {
        (Some(start), Some(inner)) => &inner[start + 1..],
        _ => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let dots = |text: &str| !text.starts_with('.') && !text.ends_with('.') && !text.contains("..");
    let good_local = quoted || (!local.is_empty() && local.chars().all(plain) && dots(local));
    good_local && !domain.is_empty() && domain.chars().all(plain) && dots(domain)
}

fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && is_hex(digits)
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    text.len() <= 255 && text.split('.').all(label)
}

fn is_mac(text: &str) -> bool {
    let pairs = |separator: char| {
        let parts: Vec<&str> = text.split(separator).collect();
        matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|one| one.len() == 2 && is_hex(one))
    };
    let quads: Vec<&str> = text.split('.').collect();
    pairs(':')
        || pairs('-')
        || (matches!(quads.len(), 3 | 4 | 10)
            && quads.iter().all(|one| one.len() == 4 && is_hex(one)))
}

fn is_rgb_color(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    let Some(inner) = inner else { return false };
    let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
    let byte = |part: &&str| is_digits(part) && part.parse::<u8>().is_ok();
    parts.len() == 3 && parts.iter().all(byte)
}

fn is_ssn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', ' ']).collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [3, 2, 4] && parts.iter().all(|part| is_digits(part))
}

fn is_uri(text: &str) -> bool {
    if text.starts_with('/') {
        return !text.contains(|c: char| c.is_control() || c == ' ');
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let mut letters = scheme.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !rest.contains(|c: char| c.is_control() || c == ' ')
}

/// With dashes or without; of a version or of any.
fn is_uuid(text: &str, version: Option<char>) -> bool {
    let digits: String = match text.len() {
        36 => {
            let dashes = [8, 13, 18, 23].iter().all(|at| text.as_bytes()[*at] == b'-');
            if !dashes {
                return false;
            }
            text.chars().filter(|c| *c != '-').collect()
        }
        32 => text.to_owned(),
        _ => return false,
    };
    let of_version = version.is_none_or(|wanted| digits.chars().nth(12) == Some(wanted));
    digits.len() == 32 && is_hex(&digits) && of_version
}

fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u32> =
        text.chars().filter(|c| !matches!(c, ' ' | '-')).map_while(|c| c.to_digit(10)).collect();
    let doubled = |(index, digit): (usize, &u32)| match index % 2 {
        0 => *digit,
        _ => (digit * 2) / 10 + (digit * 2) % 10,
    };
    let sum: u32 = digits.iter().rev().enumerate().map(doubled).sum();
    (13..=19).contains(&digits.len())
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-'))
        && sum.is_multiple_of(10)
}

fn isbn_digits(text: &str) -> Vec<char> {
    text.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = isbn_digits(text);
    let value = |(index, c): (usize, &char)| match (index, c) {
        (9, 'X' | 'x') => Some(10),
        (_, c) => c.to_digit(10),
    };
    let values: Option<Vec<u32>> = digits.iter().enumerate().map(value).collect();
    values.is_some_and(|values| {
        let weighted = values.iter().zip(1u32..).map(|(value, weight)| value * weight);
        values.len() == 10 && weighted.sum::<u32>().is_multiple_of(11)
    })
}

fn is_isbn13(text: &str) -> bool {
    let values: Option<Vec<u32>> = isbn_digits(text).iter().map(|c| c.to_digit(10)).collect();
    values.is_some_and(|values| {
        let weighted = values.iter().zip([1, 3].into_iter().cycle()).map(|(value, by)| value * by);
        values.len() == 13 && weighted.sum::<u32>().is_multiple_of(10)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("date-time", "2024-02-29T12:00:00Z", true)]
    #[test_case("date-time", "2024-02-29", false)]
    #[test_case("date", "2024-02-30", false)]
    #[test_case("date", "2024-02-29", true)]
    #[test_case("duration", "1h30m", true)]
    #[test_case("duration", "3 days", true)]
    #[test_case("duration", "-1.5h", true; "a negative duration")]
    #[test_case("duration", "3 apples", false)]
    #[test_case("duration", "h", false)]
    #[test_case("ipv4", "10.0.0.1", true)]
    #[test_case("ipv4", "::1", false)]
    #[test_case("ipv6", "::1", true)]
    #[test_case("cidr", "10.0.0.0/33", false)]
    #[test_case("cidr", "fd00::/8", true)]
    #[test_case("byte", "YQ==", true)]
    #[test_case("byte", "a b", false)]
    #[test_case("email", "a@example.com", true)]
    #[test_case("email", "a", false)]
    #[test_case("hostname", "a.example.com", true)]
    #[test_case("hostname", "-a", false)]
    #[test_case("mac", "00:11:22:aa:BB:cc", true)]
    #[test_case("mac", "00:11", false)]
    #[test_case("uri", "https://example.com/a", true)]
    #[test_case("uri", "no uri", false)]
    #[test_case("uuid", "123e4567-e89b-12d3-a456-426614174000", true)]
    #[test_case("uuid4", "123e4567-e89b-12d3-a456-426614174000", false)]
    #[test_case("hexcolor", "#ff00aa", true)]
    #[test_case("rgbcolor", "rgb(1, 2, 300)", false)]
    #[test_case("creditcard", "4111 1111 1111 1111", true)]
    #[test_case("isbn10", "0-306-40615-2", true)]
    #[test_case("isbn13", "978-0-306-40615-7", true)]
    #[test_case("isbn13", "978-0-306-40615-8", false)]
    #[test_case("ssn", "123-45-6789", true)]
    #[test_case("bsonobjectid", "507f1f77bcf86cd799439011", true)]
    #[test_case("k8s-short-name", "a.b", false)]
    #[test_case("k8s-long-name", "a.b", true)]
    fn formats(name: &str, text: &str, expected: bool) {
        assert_eq!(Format::find(name).expect("a format").matches(text), expected);
    }

    #[test]
    fn others_are_not_checked() {
        assert!(Format::find("int32").is_none());
        assert!(Format::find("anything").is_none());
    }
}
