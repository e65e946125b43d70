//! Quantities of resources: `100m`, `1.5Gi`, `1e3`, with the canonical forms of Kubernetes.
//!
//! A value is held in billionths as `i128`: exact over all that the format can say in practice
//! (1.7e29 whole units); smaller parts are rounded away from zero, as upstream does.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

const NANOS: i128 = 1_000_000_000;
const DECIMAL_SUFFIXES: &[(&str, i32)] = &[
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY_SUFFIXES: &[&str] = &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// How a quantity was written, and is written again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `12e6`
    DecimalExponent,
    /// `12Mi`
    BinarySi,
    /// `12M`
    #[default]
    DecimalSi,
}

/// An amount of a resource. Equality and order are by amount; the format does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity. The words are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form number, suffix.
    #[error(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number is too large or no number.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Nothing of it.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// So many whole units, written with decimal suffixes.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANOS, format: Format::DecimalSi }
    }

    /// So many thousandths, written with decimal suffixes.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * (NANOS / 1000), format: Format::DecimalSi }
    }

    /// So many whole units (bytes), written with binary suffixes.
    pub fn from_binary(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANOS, format: Format::BinarySi }
    }

    /// Reads a quantity out of an object: a string or a JSON number.
    pub fn from_value(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => text.parse(),
            Value::Number(number) => number.to_string().parse(),
            _ => Err(QuantityError::Format),
        }
    }

    /// Whole units, rounded up; capped to what fits.
    pub fn units(&self) -> i64 {
        clamp(div_up(self.nanos, NANOS))
    }

    /// Thousandths, rounded up; capped to what fits.
    pub fn millis(&self) -> i64 {
        clamp(div_up(self.nanos, NANOS / 1000))
    }

    /// As a float, for shares and percentages.
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether it has no fraction.
    pub fn is_integral(&self) -> bool {
        self.nanos % NANOS == 0
    }

    /// How it is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The sum; a zero takes the other's format.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: bounded(self.nanos.saturating_add(other.nanos)), format }
    }

    /// The difference; a zero takes the other's format.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: bounded(self.nanos.saturating_sub(other.nanos)), format }
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, factor: i64) -> Self {
        let nanos = bounded(self.nanos.saturating_mul(i128::from(factor)));
        Self { nanos, format: self.format }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let parts = Parts::split(text)?;
        let (scale, format) = scale_of(parts.suffix)?;
        let digits = parts.digits()?;
        let nanos = match scale {
            Scale::Ten(exponent) => {
                shift_ten(digits, exponent.saturating_sub(parts.fraction_len()).saturating_add(9))?
            }
            Scale::Two(bits) => {
                let wide = digits.checked_mul(1_i128 << bits).ok_or(QuantityError::Numeric)?;
                shift_ten(wide, 9_i32.saturating_sub(parts.fraction_len()))?
            }
        };
        Ok(Self { nanos: if parts.negative { -nanos } else { nanos }, format })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANOS;
        match self.format {
            Format::BinarySi if !small && self.is_integral() => {
                let (mut mantissa, mut power) = (self.nanos / NANOS, 0);
                while mantissa % 1024 == 0 && power + 1 < BINARY_SUFFIXES.len() {
                    mantissa /= 1024;
                    power += 1;
                }
                write!(f, "{mantissa}{}", BINARY_SUFFIXES[power])
            }
            Format::BinarySi | Format::DecimalSi => {
                let (mantissa, exponent) = self.thousands(18);
                let suffix = DECIMAL_SUFFIXES.iter().find(|(_, power)| *power == exponent);
                write!(f, "{mantissa}{}", suffix.map_or("", |(suffix, _)| suffix))
            }
            Format::DecimalExponent => match self.thousands(30) {
                (mantissa, 0) => write!(f, "{mantissa}"),
                (mantissa, exponent) => write!(f, "{mantissa}e{exponent}"),
            },
        }
    }
}

impl Quantity {
    /// Mantissa and the largest exponent, a multiple of three up to `exponent_max`, without loss.
    fn thousands(&self, exponent_max: i32) -> (i128, i32) {
        let (mut mantissa, mut exponent) = (self.nanos, -9);
        while mantissa % 1000 == 0 && exponent + 3 <= exponent_max {
            mantissa /= 1000;
            exponent += 3;
        }
        (mantissa, exponent)
    }
}

enum Scale {
    Ten(i32),
    Two(u32),
}

struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, rest) = take_digits(rest);
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => take_digits(rest),
            None => ("", rest),
        };
        if suffix.is_empty() && whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Format);
        }
        let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let exponent = letters.strip_prefix(['-', '+']).unwrap_or(letters);
        if !exponent.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        Ok(Self { negative, whole, fraction, suffix })
    }

    fn digits(&self) -> Result<i128, QuantityError> {
        // More than 38 digits after the point cannot matter and would overflow.
        let fraction = &self.fraction[..self.fraction_len() as usize];
        let mut value: i128 = 0;
        for byte in self.whole.bytes().chain(fraction.bytes()) {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(i128::from(byte - b'0')))
                .ok_or(QuantityError::Numeric)?;
        }
        let cut = &self.fraction[fraction.len()..];
        // What was cut off still rounds away from zero.
        Ok(if cut.bytes().any(|byte| byte != b'0') { value + 1 } else { value })
    }

    fn fraction_len(&self) -> i32 {
        self.fraction.len().min(18) as i32
    }
}

fn take_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn scale_of(suffix: &str) -> Result<(Scale, Format), QuantityError> {
    if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(known, _)| *known == suffix) {
        return Ok((Scale::Ten(*exponent), Format::DecimalSi));
    }
    if let Some(power) = BINARY_SUFFIXES.iter().position(|known| *known == suffix) {
        return Ok((Scale::Two(power as u32 * 10), Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
    let exponent = exponent.parse().map_err(|_| QuantityError::Suffix)?;
    Ok((Scale::Ten(exponent), Format::DecimalExponent))
}

/// `value * 10^exponent`, fractions rounded up.
fn shift_ten(value: i128, exponent: i32) -> Result<i128, QuantityError> {
    if value == 0 {
        return Ok(0);
    }
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    match (exponent >= 0, power) {
        (true, Some(power)) => value.checked_mul(power).ok_or(QuantityError::Numeric),
        (true, None) => Err(QuantityError::Numeric),
        (false, Some(power)) => Ok(div_up(value, power)),
        (false, None) => Ok(1),
    }
}

/// Division that rounds away from zero.
fn div_up(value: i128, by: i128) -> i128 {
    let exact = value % by == 0;
    value / by + if exact { 0 } else { value.signum() }
}

/// The one number that cannot be negated stands for nothing.
fn bounded(nanos: i128) -> i128 {
    nanos.max(-i128::MAX)
}

fn clamp(value: i128) -> i64 {
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test]
    fn the_least_can_be_written() {
        let least = Quantity::from_units(i64::MIN).times(i64::MAX).times(i64::MAX);
        let beyond = least.plus(least).minus(Quantity::from_units(1));
        assert!(beyond.is_negative() && beyond == least, "{beyond}");
        assert!(beyond.to_string().starts_with("-1701411834"), "{beyond}");
    }

    #[test_case("0", "0")]
    #[test_case("0Gi", "0")]
    #[test_case("100m", "100m")]
    #[test_case("0.1", "100m")]
    #[test_case("0.5", "500m")]
    #[test_case("1.0", "1")]
    #[test_case("1000m", "1")]
    #[test_case("1500m", "1500m")]
    #[test_case("12000", "12k")]
    #[test_case("1000k", "1M")]
    #[test_case("1024Mi", "1Gi")]
    #[test_case("1.5Gi", "1536Mi")]
    #[test_case("1000Ki", "1000Ki")]
    #[test_case("1023", "1023")]
    #[test_case("0.5Ki", "512"; "less than 1024 loses the binary suffix")]
    #[test_case("1Ki", "1Ki")]
    #[test_case("1.1Ki", "1126400m"; "a fraction is not rounded away")]
    #[test_case("1e3", "1e3")]
    #[test_case("1E3", "1e3")]
    #[test_case("12e4", "120e3")]
    #[test_case("1E", "1E"; "exa")]
    #[test_case("1000E", "1000E"; "past the largest suffix")]
    #[test_case("-5Mi", "-5Mi")]
    #[test_case("+3", "3")]
    #[test_case(".5", "500m")]
    #[test_case("5.", "5")]
    #[test_case("0.1n", "1n"; "too small is rounded up")]
    #[test_case("-0.1n", "-1n"; "and down below zero")]
    #[test_case("1n", "1n")]
    #[test_case("100u", "100u")]
    #[test_case("16777216Ki", "16Gi")]
    fn canonical(text: &str, expected: &str) {
        let quantity: Quantity = text.parse().unwrap();
        assert_eq!(quantity.to_string(), expected);
        assert_eq!(expected.parse::<Quantity>().unwrap(), quantity);
    }

    #[test_case("", QuantityError::Format)]
    #[test_case("-", QuantityError::Format)]
    #[test_case("1 Gi", QuantityError::Format)]
    #[test_case("1,5", QuantityError::Format)]
    #[test_case("1Mb", QuantityError::Format)]
    #[test_case("1g", QuantityError::Format)]
    #[test_case("1KiB", QuantityError::Format)]
    #[test_case("1K", QuantityError::Suffix)]
    #[test_case("1mm", QuantityError::Suffix)]
    #[test_case("1e", QuantityError::Suffix)]
    #[test_case("99999999999999999999999999999999999999999", QuantityError::Numeric)]
    fn refused(text: &str, expected: QuantityError) {
        assert_eq!(text.parse::<Quantity>().unwrap_err(), expected);
    }

    #[test]
    fn values_round_up() {
        let cases = [
            ("100m", 1, 100),
            ("1500m", 2, 1500),
            ("1", 1, 1000),
            ("1u", 1, 1),
            ("-1500m", -2, -1500),
        ];
        for (text, units, millis) in cases {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!((quantity.units(), quantity.millis()), (units, millis), "{text}");
        }
    }

    #[test]
    fn arithmetic_keeps_the_first_format() {
        let sum =
            |a: &str, b: &str| a.parse::<Quantity>().unwrap().plus(b.parse().unwrap()).to_string();
        assert_eq!(sum("1Gi", "1024M"), "2048576Ki");
        assert_eq!(sum("1Gi", "1Gi"), "2Gi");
        assert_eq!(sum("0", "1Gi"), "1Gi");
        assert_eq!(sum("100m", "0.9"), "1");
        let less = "1".parse::<Quantity>().unwrap().minus("250m".parse().unwrap());
        assert_eq!(less.to_string(), "750m");
        assert!("1Gi".parse::<Quantity>().unwrap() > "1G".parse().unwrap());
        assert_eq!("1".parse::<Quantity>().unwrap(), "1000m".parse().unwrap());
    }
}
