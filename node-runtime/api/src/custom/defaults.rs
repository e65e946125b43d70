//! Defaults of structural schemas.
//!
//! A null where none is allowed counts as absent: it becomes the default, or goes.

use serde_json::Value;

use super::structural::Node;

pub(super) fn default(shape: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                !value.is_null()
                    || shape
                        .field(key)
                        .is_none_or(|field| field.nullable || field.default.is_some())
            });
            for (name, property) in &shape.properties {
                let Some(default) = &property.default else { continue };
                let absent = match map.get(name.as_ref()) {
                    None => true,
                    Some(value) => value.is_null() && !property.nullable,
                };
                if absent {
                    map.insert(name.to_string(), (**default).clone());
                }
            }
            for (key, value) in map.iter_mut() {
                if let Some(field) = shape.field(key) {
                    fill(field, value);
                    self::default(field, value);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = shape.items.as_deref() else { return };
            for value in list {
                fill(items, value);
                self::default(items, value);
            }
        }
        _ => {}
    }
}

/// A null that is not allowed becomes the default.
fn fill(shape: &Node, value: &mut Value) {
    if value.is_null()
        && !shape.nullable
        && let Some(default) = &shape.default
    {
        *value = (**default).clone();
    }
}
