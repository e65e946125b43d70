//! Objects inside objects (`x-kubernetes-embedded-resource`) name their kind and have metadata.

use minik_meta::{FieldError, Path, names, object};
use serde_json::Value;

use super::structural::Node;

/// What is wrong with the objects inside `new` that changed since `old`.
pub(super) fn check(shape: &Node, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(shape, new, old, "", &mut errors);
    errors
}

fn walk(shape: &Node, new: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    if old == Some(new) {
        return;
    }
    match new {
        Value::Object(map) => {
            if shape.embedded && !path.is_empty() {
                one(new, path, errors);
            }
            for (key, value) in map {
                let Some(field) = shape.field(key) else { continue };
                let dot = if path.is_empty() { "" } else { "." };
                let old = old.and_then(|old| old.get(key));
                walk(field, value, old, &format!("{path}{dot}{key}"), errors);
            }
        }
        Value::Array(list) => {
            let Some(items) = shape.items.as_deref() else { return };
            for (index, value) in list.iter().enumerate() {
                walk(items, value, None, &format!("{path}[{index}]"), errors);
            }
        }
        _ => {}
    }
}

fn one(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let at = Path::new(path);
    for key in ["apiVersion", "kind"] {
        if object::text(value, &[key]).is_empty() {
            errors.push(FieldError::required(&at.child(key), "must not be empty"));
        }
    }
    let kind = object::text(value, &["kind"]);
    if !kind.is_empty() {
        for message in names::dns1035_label(&kind.to_lowercase()) {
            errors.push(FieldError::invalid(&at.child("kind"), kind, message));
        }
    }
    let name = object::name(value);
    if !name.is_empty() {
        for message in names::path_segment(name) {
            let at = at.child("metadata").child("name");
            errors.push(FieldError::invalid(&at, name, message));
        }
    }
    crate::validate::embedded_metadata(value, &at, errors);
}
