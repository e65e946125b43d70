//! The object before there was one, for the fields that a create or first apply adds.

use serde_json::{Map, Value, json};

use crate::resource::Resource;
use crate::schema::{FieldType, Presence, Schema, Type};

/// An object of a kind with nothing set. Parts that built-in kinds always have are there, so that
/// nobody comes to own them by a create.
pub(super) fn blank(resource: &Resource, is_built_in: bool) -> Value {
    let mut object = match is_built_in {
        true => parts(resource.schema.schema(), resource.schema.root()),
        false => Map::new(),
    };
    object.insert("apiVersion".to_owned(), resource.api_version().into());
    object.insert("kind".to_owned(), resource.kind.as_ref().into());
    Value::Object(object)
}

fn parts(schema: &Schema, ty: &Type) -> Map<String, Value> {
    let always = |presence| matches!(presence, Presence::Struct | Presence::Zero);
    let fields = ty.fields.iter().filter(|field| always(field.presence));
    let parts = fields.filter_map(|field| {
        let value = match &field.kind {
            FieldType::Object(id) => Value::Object(parts(schema, schema.get(*id))),
            FieldType::String => "".into(),
            FieldType::Bool => false.into(),
            FieldType::Int32 | FieldType::Int64 | FieldType::Double => json!(0),
            FieldType::Quantity => "0".into(),
            _ => return None,
        };
        Some((field.name.to_string(), value))
    });
    parts.collect()
}
