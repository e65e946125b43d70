//! Selectors of labels and fields, as text and as objects.

use std::borrow::Cow;

use minik_meta::{FieldSelector, LabelSelector};

/// What was read is written as text that reads the same and selects the same.
pub fn selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = text.parse::<LabelSelector>() {
        let written = selector.to_string();
        match written.parse::<LabelSelector>() {
            Ok(again) => assert_eq!(again.to_string(), written, "{text:?}"),
            Err(error) => panic!("{text:?} was written as {written:?}: {error}"),
        }
        let again: LabelSelector = written.parse().expect("just read");
        for value in [None, Some(""), Some("a"), Some("5")] {
            assert_eq!(selector.matches_with(|_| value), again.matches_with(|_| value), "{text:?}");
        }
    }
    if let Ok(selector) = text.parse::<FieldSelector>() {
        let written = selector.to_string();
        let again = written.parse::<FieldSelector>().expect("what was written can be read");
        // In the order of their text, which may be another one now.
        let (own, others) = (&selector.requirements, &again.requirements);
        let same = own.len() == others.len() && own.iter().all(|term| others.contains(term));
        assert!(same, "{text:?} was written as {written:?}");
        selector.matches(|_| Cow::Borrowed("a"));
    }
    if let Ok(object) = serde_json::from_str(text)
        && let Ok(selector) = LabelSelector::from_object(Some(&object))
    {
        selector.matches_with(|_| Some("a"));
    }
}
