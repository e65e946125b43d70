//! JSON merge patch (RFC 7386).

use serde_json::{Map, Value};

/// Merges `patch` into `target`: null deletes, objects merge, everything else replaces.
pub fn apply(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let map = target.as_object_mut().expect("made an object above");
    for (key, value) in patch {
        if value.is_null() {
            map.shift_remove(key);
        } else {
            apply(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    // The cases of the RFC's appendix.
    #[test_case(r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#)]
    #[test_case(r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#)]
    #[test_case(r#"{"a":"b"}"#, r#"{"a":null}"#, r"{}")]
    #[test_case(r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#)]
    #[test_case(r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#)]
    #[test_case(r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#)]
    #[test_case(r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#)]
    #[test_case(r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#)]
    #[test_case(r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#)]
    #[test_case(r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#)]
    #[test_case(r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#)]
    #[test_case(r"[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#)]
    #[test_case(r"{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#)]
    fn merged(target: &str, patch: &str, expected: &str) {
        let mut target: Value = serde_json::from_str(target).unwrap();
        apply(&mut target, &serde_json::from_str(patch).unwrap());
        assert_eq!(target.to_string(), expected);
    }
}
