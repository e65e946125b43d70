//! Accessors over objects, which are `serde_json::Value` everywhere in the runtime.
//!
//! Reading never fails: what is absent or of another type reads as absent.

use serde_json::{Map, Value};

use crate::gvk::{GroupVersion, GroupVersionKind};

/// An object's fields.
pub type Object = Map<String, Value>;

/// The string at `path` (`&["spec", "nodeName"]`), empty where absent.
pub fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at `path`.
pub fn integer(object: &Value, path: &[&str]) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// The boolean at `path`, false where absent.
pub fn boolean(object: &Value, path: &[&str]) -> bool {
    at(object, path).and_then(Value::as_bool).unwrap_or_default()
}

/// The list at `path`, empty where absent.
pub fn list<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The map at `path`.
pub fn map<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Object> {
    at(object, path).and_then(Value::as_object)
}

/// Whatever is at `path`; null counts as absent.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let mut value = object;
    for key in path {
        value = value.get(key)?;
    }
    (!value.is_null()).then_some(value)
}

/// Sets what is at `path`, making objects on the way; what is no object on the way is replaced.
pub fn set(object: &mut Value, path: &[&str], new: impl Into<Value>) {
    let Some((last, parents)) = path.split_last() else {
        *object = new.into();
        return;
    };
    let mut value = object;
    for key in parents {
        value = fields(value).entry(*key).or_insert(Value::Null);
    }
    fields(value).insert((*last).to_owned(), new.into());
}

/// Takes out what is at `path`.
pub fn remove(object: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut value = object;
    for key in parents {
        value = value.get_mut(key)?;
    }
    value.as_object_mut()?.shift_remove(*last)
}

/// The fields of `value`, which becomes an empty object if it was none.
pub fn fields(value: &mut Value) -> &mut Object {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object above")
}

/// `metadata`, made if absent.
pub fn metadata_mut(object: &mut Value) -> &mut Object {
    fields(fields(object).entry("metadata").or_insert(Value::Null))
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// `metadata.resourceVersion`.
pub fn resource_version(object: &Value) -> &str {
    text(object, &["metadata", "resourceVersion"])
}

/// `metadata.generation`, 0 where absent.
pub fn generation(object: &Value) -> i64 {
    integer(object, &["metadata", "generation"]).unwrap_or_default()
}

/// `metadata.deletionTimestamp`, where deletion was asked for.
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    at(object, &["metadata", "deletionTimestamp"]).and_then(Value::as_str)
}

/// `metadata.labels[key]`.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "labels", key]).and_then(Value::as_str)
}

/// `metadata.annotations[key]`.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "annotations", key]).and_then(Value::as_str)
}

/// `metadata.labels`.
pub fn labels(object: &Value) -> Option<&Object> {
    map(object, &["metadata", "labels"])
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str)
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Value) -> &[Value] {
    list(object, &["metadata", "ownerReferences"])
}

/// The owner reference with `controller: true`.
pub fn controller_of(object: &Value) -> Option<&Value> {
    owner_references(object).iter().find(|owner| boolean(owner, &["controller"]))
}

/// What `apiVersion` and `kind` say; `None` where `apiVersion` is missing or malformed.
pub fn gvk(object: &Value) -> Option<GroupVersionKind> {
    let version = GroupVersion::parse(text(object, &["apiVersion"]))?;
    Some(version.with_kind(text(object, &["kind"])))
}

/// Whether lists and maps are nested in `value` more than `most` times. Itself nests no deeper.
pub fn is_deeper(value: &Value, most: usize) -> bool {
    let inner = |value: &Value| is_deeper(value, most - 1);
    match value {
        Value::Array(_) | Value::Object(_) if most == 0 => true,
        Value::Array(items) => items.iter().any(inner),
        Value::Object(fields) => fields.values().any(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reading_and_writing() {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}});
        assert_eq!(name(&pod), "x");
        assert_eq!(text(&pod, &["spec", "nodeName"]), "");
        set(&mut pod, &["spec", "nodeName"], "n1");
        assert_eq!(text(&pod, &["spec", "nodeName"]), "n1");
        assert_eq!(remove(&mut pod, &["spec", "nodeName"]), Some("n1".into()));
        assert_eq!(remove(&mut pod, &["status", "phase"]), None);
        assert_eq!(gvk(&pod).unwrap().to_string(), "/v1, Kind=Pod");
        metadata_mut(&mut pod).insert("uid".into(), "u".into());
        assert_eq!(uid(&pod), "u");
    }

    #[test]
    fn null_is_absent() {
        assert_eq!(at(&json!({"a": {"b": null}}), &["a", "b"]), None);
    }

    #[test]
    fn nesting_is_measured() {
        let value = serde_json::json!({"a": [{"b": 1}], "c": 2});
        assert!(is_deeper(&value, 2) && !is_deeper(&value, 3));
        assert!(!is_deeper(&Value::Null, 0) && is_deeper(&serde_json::json!([]), 0));
    }
}
