//! Lists whose items are identified (`x-kubernetes-list-type`) hold each of them once.

use std::collections::HashSet;

use minik_meta::{FieldError, Path};
use serde_json::{Map, Value};

use super::structural::{List, Node};

/// Duplicate items of the sets and keyed lists of `new` that changed since `old`.
pub(super) fn check(shape: &Node, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(shape, new, old, String::new(), &mut errors);
    errors
}

fn walk(
    shape: &Node,
    new: &Value,
    old: Option<&Value>,
    path: String,
    errors: &mut Vec<FieldError>,
) {
    if old == Some(new) {
        return;
    }
    match new {
        Value::Object(map) => {
            for (key, value) in map {
                let Some(field) = shape.field(key) else { continue };
                let path = match path.is_empty() {
                    true => key.clone(),
                    false => format!("{path}.{key}"),
                };
                walk(field, value, old.and_then(|old| old.get(key)), path, errors);
            }
        }
        Value::Array(list) => {
            duplicates(&shape.list, list, &path, errors);
            let Some(items) = shape.items.as_deref() else { return };
            let before = old.and_then(Value::as_array);
            for (index, value) in list.iter().enumerate() {
                let old = before.and_then(|before| same_item(&shape.list, value, before));
                walk(items, value, old, format!("{path}[{index}]"), errors);
            }
        }
        _ => {}
    }
}

fn duplicates(kind: &List, list: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let identity: Box<dyn Fn(&Value) -> Value> = match kind {
        List::Atomic => return,
        List::Set => Box::new(Value::clone),
        List::Map(keys) => Box::new(|item| identity(item, keys)),
    };
    let mut seen = HashSet::new();
    for (index, item) in list.iter().enumerate() {
        let identity = identity(item);
        if !seen.insert(canonical(&identity)) {
            errors.push(FieldError::duplicate(&Path::new(path).index(index), identity));
        }
    }
}

/// The keys of an item with their values.
fn identity(item: &Value, keys: &[Box<str>]) -> Value {
    let mut map = Map::new();
    for key in keys {
        if let Some(value) = item.get(key.as_ref()) {
            map.insert(key.to_string(), value.clone());
        }
    }
    Value::Object(map)
}

/// A text that two values share if they are equal: `1` and `1.0` are, and so are objects with
/// their fields in another order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |n| n.to_string())
        }
        Value::Object(map) => {
            let mut fields: Vec<String> =
                map.iter().map(|(key, value)| format!("{key:?}:{}", canonical(value))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

/// The item of `before` that is the same as `item`; only keyed lists know.
pub(super) fn same_item<'a>(kind: &List, item: &Value, before: &'a [Value]) -> Option<&'a Value> {
    let List::Map(keys) = kind else { return None };
    let mut same = before
        .iter()
        .filter(|old| keys.iter().all(|key| old.get(key.as_ref()) == item.get(key.as_ref())));
    let found = same.next();
    // With two of the same keys nobody can say which one it was.
    if same.next().is_some() { None } else { found }
}
