//! Quantities.

use minik_meta::Quantity;

/// What was read is written in one form only, of the same worth; nothing overflows.
pub fn quantity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(quantity) = text.parse::<Quantity>() else { return };
    let written = quantity.to_string();
    let Ok(again) = written.parse::<Quantity>() else {
        panic!("{text:?} is written as {written:?}")
    };
    assert_eq!(again, quantity, "{text:?} is written as {written:?}");
    assert_eq!(again.to_string(), written, "{text:?}");
    let sum = quantity.plus(again).plus(quantity.times(i64::MAX)).minus(again.times(i64::MIN));
    let _ = (sum.units(), sum.millis(), sum.as_f64(), sum.to_string());
    assert!(quantity.minus(again).is_zero());
}
