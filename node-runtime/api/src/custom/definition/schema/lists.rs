//! Rules of lists whose items are identified.

use minik_meta::{FieldError, Path, object};
use serde_json::{Map, Value};

use super::{flag, text};

const LIST_TYPE: &str = "x-kubernetes-list-type";
const KEYS: &str = "x-kubernetes-list-map-keys";

pub(super) fn check(map: &Map<String, Value>, at: &Path, errors: &mut Vec<FieldError>) {
    let list_type = text(map, LIST_TYPE);
    let keys: Vec<&str> = map
        .get(KEYS)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !list_type.is_empty() {
        if !matches!(list_type, "atomic" | "set" | "map") {
            let path = at.child(LIST_TYPE);
            errors.push(FieldError::not_supported(&path, list_type, &["atomic", "map", "set"]));
        }
        super::must_be(
            "array",
            "x-kubernetes-list-type is specified",
            text(map, "type"),
            at,
            errors,
        );
    }
    if !keys.is_empty() && list_type != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list_type {
            "" => FieldError::required(&at.child(LIST_TYPE), why),
            other => FieldError::invalid(&at.child(LIST_TYPE), other, why),
        });
    }
    let Some(items) = map.get("items").filter(|items| items.is_object()) else { return };
    match list_type {
        "set" => set(items, &at.child("items"), errors),
        "map" => keyed(items, &keys, at, errors),
        _ => {}
    }
}

fn set(items: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let Value::Object(map) = items else { return };
    if flag(map, "nullable") {
        let why = "cannot be nullable when x-kubernetes-list-type is set";
        errors.push(FieldError::forbidden(&at.child("nullable"), why));
    }
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    match text(map, "type") {
        "object" if text(map, "x-kubernetes-map-type") != "atomic" => {
            let path = at.child("x-kubernetes-map-type");
            let found = text(map, "x-kubernetes-map-type");
            errors.push(match found {
                "" => FieldError::required(&path, why),
                found => FieldError::invalid(&path, found, why),
            });
        }
        "array" if !matches!(text(map, LIST_TYPE), "" | "atomic") => {
            errors.push(FieldError::invalid(&at.child(LIST_TYPE), text(map, LIST_TYPE), why));
        }
        _ => {}
    }
}

fn keyed(items: &Value, keys: &[&str], at: &Path, errors: &mut Vec<FieldError>) {
    let kind = object::text(items, &["type"]);
    super::must_be(
        "object",
        "parent array's x-kubernetes-list-type is map",
        kind,
        &at.child("items"),
        errors,
    );
    let path = at.child(KEYS);
    if keys.is_empty() {
        let why = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(&path, why));
    }
    let required = object::list(items, &["required"]);
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].contains(key) {
            errors.push(FieldError::duplicate(&path.index(index), *key));
            continue;
        }
        let Some(Value::Object(property)) = object::at(items, &["properties", key]) else {
            let why = "entries must all be names of item properties";
            errors.push(FieldError::invalid(&path.index(index), *key, why));
            continue;
        };
        let at = at.child("items").child("properties").key(key);
        if matches!(text(property, "type"), "array" | "object") {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(&at.child("type"), text(property, "type"), why));
        }
        let has_default = property.get("default").is_some_and(|one| !one.is_null());
        if !has_default && !required.iter().any(|one| one == key) {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default \
                       or be a required property";
            errors.push(FieldError::required(&at.child("default"), why));
        }
        if flag(property, "nullable") {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(&at.child("nullable"), why));
        }
    }
}
