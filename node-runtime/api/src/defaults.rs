//! Fills in what the user left out, the way upstream stores it.
//!
//! One walk over value and type: zero values are normalized as the type says, published defaults
//! are applied, then the hook of the type, then the walk goes deeper. Hooks belong to types, not
//! to kinds, so a container is treated the same in a Pod and in a CronJob's template.

mod cluster;
mod pod;
mod service;
mod workload;

use serde_json::{Map, Value};

use crate::resource::Resource;
use crate::schema::{Field, FieldType, Presence, Schema, Type, TypeId};

/// The defaults of one type that need code.
pub(crate) type DefaultsHook = fn(&mut Map<String, Value>);

/// Applies all defaults of a decoded object of `resource`. Applying them again changes nothing.
pub fn default(resource: &Resource, value: &mut Value) {
    if let Some(custom) = &resource.custom {
        crate::custom::default(custom, value);
        metadata(value);
        return;
    }
    if let Value::Object(map) = value {
        object(resource.schema.schema(), resource.schema.root(), map);
    }
}

/// Brings the metadata of an object of any kind into the form in which it is stored.
fn metadata(value: &mut Value) {
    const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let schema = crate::kinds::kinds().schema();
    let id = schema.find(OBJECT_META).expect("the table has it");
    object(schema, schema.get(id), minik_meta::object::metadata_mut(value));
}

/// Makes up one absent field of an object of `resource`, with its defaults.
pub(crate) fn default_field(resource: &Resource, map: &mut Map<String, Value>, name: &str) {
    if resource.custom.is_some() {
        return;
    }
    let root = resource.schema.root();
    if let Some(field) = root.field(name) {
        normalize(field, map);
        if let Some(value) = map.get_mut(name) {
            descend(resource.schema.schema(), &field.kind, value);
        }
    }
}

/// The hook of a type, by definition name.
pub(crate) fn hook(definition: &str) -> Option<DefaultsHook> {
    let (package, name) = definition.rsplit_once('.')?;
    match package {
        "io.k8s.api.core.v1" => {
            pod::hook(name).or_else(|| service::hook(name)).or_else(|| cluster::core_hook(name))
        }
        "io.k8s.api.apps.v1" | "io.k8s.api.batch.v1" => workload::hook(name),
        _ => cluster::hook(package, name),
    }
}

fn object(schema: &Schema, ty: &Type, map: &mut Map<String, Value>) {
    for field in &ty.fields {
        normalize(field, map);
    }
    if let Some(hook) = ty.hook {
        hook(map);
    }
    for field in &ty.fields {
        if let Some(value) = map.get_mut(field.name.as_ref()) {
            match (ty.alternative(field), &field.kind, value) {
                (Some(id), FieldType::Map(_), Value::Object(map)) => {
                    map.values_mut().for_each(|value| alternative(schema, id, value));
                }
                (Some(id), _, value) => alternative(schema, id, value),
                (None, kind, value) => descend(schema, kind, value),
            }
        }
    }
}

/// Normalizes what is a schema, a list of them, or something else.
fn alternative(schema: &Schema, id: TypeId, value: &mut Value) {
    match value {
        Value::Object(map) => object(schema, schema.get(id), map),
        Value::Array(list) => list.iter_mut().for_each(|value| alternative(schema, id, value)),
        _ => {}
    }
}

fn descend(schema: &Schema, kind: &FieldType, value: &mut Value) {
    match (kind, value) {
        (FieldType::Object(id), Value::Object(map)) => object(schema, schema.get(*id), map),
        (FieldType::List(item), Value::Array(list)) => {
            list.iter_mut().for_each(|value| descend(schema, item, value));
        }
        (FieldType::Map(item), Value::Object(map)) => {
            map.values_mut().for_each(|value| descend(schema, item, value));
        }
        (FieldType::Quantity, value @ Value::String(_)) => canonical_quantity(value),
        _ => {}
    }
}

/// Brings one field into the form in which it is stored.
fn normalize(field: &Field, map: &mut Map<String, Value>) {
    let name = field.name.as_ref();
    let present = map.get(name).filter(|value| !value.is_null());
    let zero = present.is_none_or(is_zero);
    match (field.presence, &field.kind) {
        (Presence::Omit | Presence::Zero, _) if zero && has_effect(field) => {
            let default = field.default_value().expect("has_effect looked");
            map.insert(name.to_owned(), default.clone());
        }
        (Presence::Omit, FieldType::Quantity) if present.is_none() => {
            map.insert(name.to_owned(), "0".into());
        }
        // An empty object behind a value type stays: `resources: {}`.
        (Presence::Omit, FieldType::Object(_) | FieldType::Raw | FieldType::Json) => {}
        (Presence::Omit, _) if zero && present.is_some() => {
            map.shift_remove(name);
        }
        (Presence::Zero, kind) if present.is_none() => {
            if let Some(value) = zero_of(kind) {
                map.insert(name.to_owned(), value);
            }
        }
        (Presence::Pointer, _) if present.is_none() => {
            if let Some(default) = field.default_value() {
                map.insert(name.to_owned(), default.clone());
            }
        }
        (Presence::Struct, FieldType::Object(_)) if present.is_none() => {
            map.insert(name.to_owned(), Value::Object(Map::new()));
        }
        _ => {}
    }
}

/// Whether the field has a default that differs from zero.
fn has_effect(field: &Field) -> bool {
    field.default_value().is_some_and(|default| !is_zero(default))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn zero_of(kind: &FieldType) -> Option<Value> {
    match kind {
        FieldType::String => Some("".into()),
        FieldType::Bool => Some(false.into()),
        FieldType::Int32 | FieldType::Int64 | FieldType::Double => Some(0.into()),
        FieldType::Object(_) => Some(Value::Object(Map::new())),
        FieldType::Quantity => Some("0".into()),
        _ => None,
    }
}

fn canonical_quantity(value: &mut Value) {
    if let Ok(quantity) = minik_meta::Quantity::from_value(value) {
        let text = quantity.to_string();
        if value.as_str() != Some(&text) {
            *value = Value::String(text);
        }
    }
}

/// Sets `key` where it is absent or zero: for plain fields.
fn fill(map: &mut Map<String, Value>, key: &str, default: impl Into<Value>) {
    if map.get(key).is_none_or(is_zero) {
        map.insert(key.to_owned(), default.into());
    }
}

/// Sets `key` where it is absent: for fields whose zero means something.
fn fill_absent(map: &mut Map<String, Value>, key: &str, default: impl Into<Value>) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), default.into());
    }
}

/// The object at `key`, made if absent.
fn child<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    minik_meta::object::fields(map.entry(key).or_insert(Value::Null))
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
