//! Types as OpenAPI schemas.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::{Flavor, gvk_extension};
use crate::resource::Resource;
use crate::schema::{Field, FieldType, ListKind, Schema, TypeId};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const FIELDS_V1: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";
const RAW: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// All types that can be reached from `roots`.
pub(super) fn reachable(
    schema: &Schema,
    roots: impl IntoIterator<Item = TypeId>,
) -> BTreeSet<TypeId> {
    let mut seen = BTreeSet::new();
    let mut waiting: Vec<TypeId> = roots.into_iter().collect();
    while let Some(id) = waiting.pop() {
        if seen.insert(id) {
            let kinds = schema.get(id).fields.iter().map(|field| &field.kind);
            waiting.extend(kinds.filter_map(inner_object));
        }
    }
    seen
}

fn inner_object(kind: &FieldType) -> Option<TypeId> {
    match kind {
        FieldType::Object(id) => Some(*id),
        FieldType::List(inner) | FieldType::Map(inner) => inner_object(inner),
        _ => None,
    }
}

/// Name and schema of a type; `kinds` are the kinds whose objects it describes.
pub(super) fn of(
    schema: &Schema,
    id: TypeId,
    descriptions: &Descriptions,
    kinds: Vec<Value>,
    flavor: Flavor,
) -> (String, Value) {
    let ty = schema.get(id);
    let mut map = Map::new();
    describe(&mut map, descriptions.of_type(&ty.name));
    map.insert("type".into(), "object".into());
    let required: Vec<&str> =
        ty.fields.iter().filter(|one| one.required).map(|one| one.name.as_ref()).collect();
    if !required.is_empty() {
        map.insert("required".into(), json!(required));
    }
    let properties: Map<String, Value> = ty
        .fields
        .iter()
        .map(|one| {
            let text = descriptions.of_field(&ty.name, &one.name);
            (one.name.to_string(), field(schema, one, text, flavor))
        })
        .collect();
    if !properties.is_empty() {
        map.insert("properties".into(), properties.into());
    }
    if ty.atomic {
        map.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    if !kinds.is_empty() {
        map.insert("x-kubernetes-group-version-kind".into(), kinds.into());
    }
    (ty.name.to_string(), Value::Object(map))
}

/// Name and schema of the list of a resource's objects.
pub(super) fn list_of(resource: &Resource, flavor: Flavor) -> (String, Value) {
    let item = resource.schema.root().name.as_ref();
    let text = |description: &str| json!({"type": "string", "description": description});
    let body = json!({
        "description": format!("{} is a list of {}.", resource.list_kind, resource.plural),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("APIVersion defines the versioned schema of this representation of an object."),
            "items": {
                "description": format!("List of {}.", resource.plural),
                "type": "array", "items": {"$ref": flavor.reference(item)},
            },
            "kind": text("Kind is a string value representing the REST resource this object represents."),
            "metadata": reference(LIST_META, "Standard list metadata.".to_owned(), flavor),
        },
        "x-kubernetes-group-version-kind": [gvk_extension(resource, &resource.list_kind)],
    });
    (format!("{item}List"), body)
}

/// The definitions that are no objects.
pub(super) fn scalars(descriptions: &Descriptions, flavor: Flavor) -> Vec<(&'static str, Value)> {
    // Version 3 can say that a number is as good as a text.
    let (quantity, int_or_string) = match flavor {
        Flavor::V2 => {
            (json!({"type": "string"}), json!({"type": "string", "format": "int-or-string"}))
        }
        Flavor::V3 => (
            json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}),
        ),
    };
    let one = |name: &'static str, extra: Value| {
        let mut map = Map::new();
        describe(&mut map, descriptions.of_type(name));
        if let Value::Object(extra) = extra {
            map.extend(extra);
        }
        (name, Value::Object(map))
    };
    vec![
        one(QUANTITY, quantity),
        one(INT_OR_STRING, int_or_string),
        one(TIME, json!({"type": "string", "format": "date-time"})),
        one(MICRO_TIME, json!({"type": "string", "format": "date-time"})),
        one(FIELDS_V1, json!({"type": "object"})),
        one(RAW, json!({"type": "object"})),
    ]
}

fn field(schema: &Schema, field: &Field, description: String, flavor: Flavor) -> Value {
    let mut value = typed(schema, &field.kind, description, flavor);
    let map = value.as_object_mut().expect("schemas are objects");
    if let Some(default) = field.default_value() {
        map.insert("default".into(), default.clone());
    }
    if flavor == Flavor::V3 && !field.allowed().is_empty() && field.kind == FieldType::String {
        map.insert("enum".into(), json!(field.allowed()));
    }
    match field.list_kind() {
        None => {}
        Some(ListKind::Atomic) => {
            map.insert("x-kubernetes-list-type".into(), "atomic".into());
        }
        Some(ListKind::Set) => {
            map.insert("x-kubernetes-list-type".into(), "set".into());
        }
        Some(ListKind::Map(keys)) => {
            map.insert("x-kubernetes-list-type".into(), "map".into());
            map.insert("x-kubernetes-list-map-keys".into(), json!(keys));
        }
    }
    if field.map_atomic() {
        map.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    if let Some(key) = field.merge_key() {
        map.insert("x-kubernetes-patch-merge-key".into(), key.into());
    }
    if !field.patch_strategy().is_empty() {
        map.insert("x-kubernetes-patch-strategy".into(), field.patch_strategy().into());
    }
    value
}

fn typed(schema: &Schema, kind: &FieldType, description: String, flavor: Flavor) -> Value {
    let mut map = Map::new();
    let plain = |map: &mut Map<String, Value>, kind: &str, format: &str| {
        map.insert("type".into(), kind.into());
        if !format.is_empty() {
            map.insert("format".into(), format.into());
        }
    };
    match kind {
        FieldType::String => plain(&mut map, "string", ""),
        FieldType::Bool => plain(&mut map, "boolean", ""),
        FieldType::Int32 => plain(&mut map, "integer", "int32"),
        FieldType::Int64 => plain(&mut map, "integer", "int64"),
        FieldType::Double => plain(&mut map, "number", "double"),
        FieldType::Bytes => plain(&mut map, "string", "byte"),
        FieldType::Json => {}
        FieldType::Quantity => return reference(QUANTITY, description, flavor),
        FieldType::IntOrString => return reference(INT_OR_STRING, description, flavor),
        FieldType::Time => return reference(TIME, description, flavor),
        FieldType::MicroTime => return reference(MICRO_TIME, description, flavor),
        FieldType::FieldsV1 => return reference(FIELDS_V1, description, flavor),
        FieldType::Raw => return reference(RAW, description, flavor),
        FieldType::Object(id) => return reference(&schema.get(*id).name, description, flavor),
        FieldType::List(item) => {
            plain(&mut map, "array", "");
            map.insert("items".into(), typed(schema, item, String::new(), flavor));
        }
        FieldType::Map(item) => {
            plain(&mut map, "object", "");
            let inner = typed(schema, item, String::new(), flavor);
            map.insert("additionalProperties".into(), inner);
        }
    }
    describe(&mut map, description);
    Value::Object(map)
}

/// A reference; where it is described, version 3 needs it wrapped.
fn reference(name: &str, description: String, flavor: Flavor) -> Value {
    let link = json!({"$ref": flavor.reference(name)});
    match (flavor, description.is_empty()) {
        (_, true) => link,
        (Flavor::V2, false) => json!({"$ref": flavor.reference(name), "description": description}),
        (Flavor::V3, false) => json!({"description": description, "allOf": [link]}),
    }
}

fn describe(map: &mut Map<String, Value>, description: String) {
    if !description.is_empty() {
        map.insert("description".into(), description.into());
    }
}
