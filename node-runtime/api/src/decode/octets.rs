//! Fields of bytes: text in base64, or a list of numbers, which Go's decoder takes as well.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, PAD};
use serde_json::Value;

/// As Go reads it: what the last digit says beyond the last byte does not count.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// As everybody writes it.
const STRICT: GeneralPurpose = GeneralPurpose::new(&STANDARD, PAD);

/// Why a value is no bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoBytes {
    /// The text goes wrong at this byte.
    Text(usize),
    /// The list has this item.
    Item(Value),
    /// It is neither text nor a list.
    Kind,
}

/// The bytes of a value.
pub(crate) fn bytes(value: &Value) -> Result<Vec<u8>, NoBytes> {
    match value {
        Value::String(text) => {
            if let Some(at) = error_at(text) {
                return Err(NoBytes::Text(at));
            }
            let digits: String = text.chars().filter(|one| !matches!(one, '\r' | '\n')).collect();
            LENIENT.decode(digits).map_err(|_| NoBytes::Text(text.len()))
        }
        Value::Array(items) => items.iter().map(number).collect(),
        _ => Err(NoBytes::Kind),
    }
}

fn number(item: &Value) -> Result<u8, NoBytes> {
    if item.is_null() {
        return Ok(0);
    }
    let number = item.as_u64().and_then(|number| u8::try_from(number).ok());
    number.ok_or_else(|| NoBytes::Item(item.clone()))
}

/// Rewrites a value to the one text that stands for its bytes.
pub(crate) fn normalize(value: &mut Value) -> Result<(), NoBytes> {
    let found = bytes(value)?;
    let text = STRICT.encode(found);
    if value.as_str() != Some(&text) {
        *value = Value::String(text);
    }
    Ok(())
}

/// Where standard base64 goes wrong, if it does. Line breaks are allowed, as in Go.
fn error_at(text: &str) -> Option<usize> {
    let mut digits = 0_usize;
    let mut padding = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\r' | b'\n' => {}
            b'=' if digits % 4 >= 2 && padding < 2 => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => digits += 1,
            _ => return Some(at),
        }
    }
    let whole = (digits + padding).is_multiple_of(4) && (padding == 0 || digits % 4 + padding == 4);
    (!whole).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case("", None)]
    #[test_case("YQ==", None)]
    #[test_case("YWI=", None)]
    #[test_case("YWJj", None)]
    #[test_case("YW\nJj", None; "line breaks")]
    #[test_case("YQ", Some(2); "no padding")]
    #[test_case("Y=", Some(1))]
    #[test_case("YQ==YQ==", Some(4))]
    #[test_case("a b", Some(1))]
    fn errors(text: &str, expected: Option<usize>) {
        assert_eq!(error_at(text), expected);
    }

    #[test_case(json!("YW\r\nJj"), Ok("YWJj"); "line breaks go")]
    #[test_case(json!("YR=="), Ok("YQ=="); "what is beyond the last byte goes")]
    #[test_case(json!([97, 98, null]), Ok("YWIA"); "numbers")]
    #[test_case(json!([]), Ok(""))]
    #[test_case(json!([1, 256]), Err(NoBytes::Item(json!(256))))]
    #[test_case(json!([-1]), Err(NoBytes::Item(json!(-1))))]
    #[test_case(json!(["a"]), Err(NoBytes::Item(json!("a"))))]
    #[test_case(json!(7), Err(NoBytes::Kind))]
    fn one_text(mut value: Value, expected: Result<&str, NoBytes>) {
        let outcome = normalize(&mut value);
        assert_eq!(outcome.map(|()| value.as_str().unwrap_or_default()), expected);
    }
}
