//! Declarations out of the schema of a custom resource.
//!
//! What has no declaration is not seen by expressions: fields without a type, lists without items,
//! and all that only `x-kubernetes-preserve-unknown-fields` keeps.

use std::sync::Arc;

use minik_meta::object;
use serde_json::{Map, Value};

use super::{Decl, DeclKind, FieldDecl, Fields, ListKind, ObjectDecl, REQUEST_MAX, escape};

/// `"2006-01-02"`
const DATE_BYTES: u64 = 12;
/// `"9999-12-31T23:59:59.999999999Z"`
const DATE_TIME_BYTES_MAX: u64 = 32;
/// `"0001-01-01T00:00:00"`
const DATE_TIME_BYTES_MIN: u64 = 21;
const DURATION_BYTES_MAX: u64 = 32;
/// `"0"`
const DURATION_BYTES_MIN: u64 = 3;
/// `""`
const TEXT_BYTES_MIN: u64 = 2;
/// `true`
const BOOL_BYTES_MIN: u64 = 4;

impl Decl {
    /// The declaration of a structural schema; none if expressions cannot see such values. The
    /// root of a resource always has `apiVersion`, `kind` and `metadata` with its names.
    pub fn structural(schema: &Value, root: bool) -> Option<Arc<Decl>> {
        of(schema, root, "selfType")
    }
}

pub(crate) fn of(schema: &Value, root: bool, name: &str) -> Option<Arc<Decl>> {
    let schema = schema.as_object()?;
    let limit = |key: &str| schema.get(key).and_then(Value::as_i64).map(|n| n.max(0) as u64);
    if flag(schema, "x-kubernetes-int-or-string") {
        let size = limit("maxLength").map_or(REQUEST_MAX - 2, |most| most.saturating_mul(4));
        return Some(Decl::new(DeclKind::IntOrString, size, 1));
    }
    Some(match schema.get("type").and_then(Value::as_str).unwrap_or_default() {
        _ if root => object_decl(schema, true, name)?,
        "array" => {
            let items = schema.get("items")?;
            let items = of(items, embedded(items), &format!("{name}.@idx"))?;
            let fit = (REQUEST_MAX - 2) / (items.bytes_min + 1);
            let size = limit("maxItems").unwrap_or(fit);
            Decl::new(DeclKind::List(items, list_kind(schema)), size, 2)
        }
        "object" => object_decl(schema, root, name)?,
        "string" => text_decl(schema, limit("maxLength")),
        "boolean" => Decl::new(DeclKind::Bool, 0, BOOL_BYTES_MIN),
        "number" => Decl::new(DeclKind::Double, 0, 1),
        "integer" => Decl::new(DeclKind::Int, 0, 1),
        _ => return None,
    })
}

fn flag(schema: &Map<String, Value>, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or_default()
}

pub(crate) fn embedded(schema: &Value) -> bool {
    object::boolean(schema, &["x-kubernetes-embedded-resource"])
}

fn list_kind(schema: &Map<String, Value>) -> ListKind {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListKind::Set,
        Some("map") => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            let keys = keys.into_iter().flatten().filter_map(Value::as_str).map(Box::from);
            ListKind::Map(keys.collect())
        }
        _ => ListKind::Atomic,
    }
}

fn text_decl(schema: &Map<String, Value>, length_max: Option<u64>) -> Arc<Decl> {
    let whole = REQUEST_MAX - 2;
    let longest = || {
        let values = schema.get("enum").and_then(Value::as_array)?;
        let lengths = values.iter().filter_map(Value::as_str).map(|text| text.len() as u64);
        (!values.is_empty()).then(|| lengths.max().unwrap_or_default())
    };
    match schema.get("format").and_then(Value::as_str).unwrap_or_default() {
        "byte" => Decl::new(DeclKind::Bytes, length_max.unwrap_or(whole), TEXT_BYTES_MIN),
        "duration" => Decl::new(DeclKind::Duration, DURATION_BYTES_MAX, DURATION_BYTES_MIN),
        "date" => Decl::new(DeclKind::Date, DATE_BYTES, DATE_BYTES),
        "date-time" => Decl::new(DeclKind::DateTime, DATE_TIME_BYTES_MAX, DATE_TIME_BYTES_MIN),
        _ => {
            // A character is four bytes at most, and requests are bounded in bytes.
            let length = length_max.map(|length| length.saturating_mul(4)).or_else(longest);
            Decl::new(DeclKind::String, length.unwrap_or(whole), TEXT_BYTES_MIN)
        }
    }
}

fn object_decl(schema: &Map<String, Value>, root: bool, name: &str) -> Option<Arc<Decl>> {
    let others = schema.get("additionalProperties").filter(|one| one.is_object());
    if let Some(others) = others.filter(|_| !root) {
        let values = of(others, embedded(others), &format!("{name}.@elem"))?;
        let most = schema.get("maxProperties").and_then(Value::as_i64).map(|n| n.max(0) as u64);
        let size = most.unwrap_or((REQUEST_MAX - 2) / (values.bytes_min + 6));
        return Some(Decl::new(DeclKind::Map(values), size, 2));
    }
    let required = schema.get("required").and_then(Value::as_array);
    let required: Vec<&str> = required.into_iter().flatten().filter_map(Value::as_str).collect();
    let mut bytes_min = 2;
    let mut fields = Fields::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (property, schema) in properties.into_iter().flatten() {
        let Some(decl) = of(schema, embedded(schema), &format!("{name}.{property}")) else {
            continue;
        };
        if required.contains(&property.as_str()) && schema.get("default").is_none() {
            bytes_min += property.len() as u64 + decl.bytes_min + 4;
        }
        if let Some(escaped) = escape(property) {
            fields.insert(escaped.into(), FieldDecl { json: property.as_str().into(), decl });
        }
    }
    if root {
        with_metadata(&mut fields, name);
    }
    let object = ObjectDecl::new(name, fields);
    Some(Decl::new(DeclKind::Object(object), 0, bytes_min))
}

/// What every resource has, whether its schema says so or not.
fn with_metadata(fields: &mut Fields, name: &str) {
    let text = |json: &str| {
        let field = FieldDecl { json: json.into(), decl: Decl::string() };
        (Box::from(json), field)
    };
    let declared = fields.get("metadata").and_then(|field| match &field.decl.kind {
        DeclKind::Object(object) => Some(object.fields().clone()),
        _ => None,
    });
    let mut metadata = declared.unwrap_or_default();
    for one in ["name", "generateName"] {
        metadata.entry(one.into()).or_insert_with(|| text(one).1);
    }
    let object = ObjectDecl::new(&format!("{name}.metadata"), metadata);
    let decl = Decl::new(DeclKind::Object(object), 0, 2);
    fields.insert("metadata".into(), FieldDecl { json: "metadata".into(), decl });
    fields.extend([text("apiVersion"), text("kind")]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn size(schema: Value) -> Option<(u64, u64)> {
        Decl::structural(&schema, false).map(|decl| (decl.size_max, decl.bytes_min))
    }

    #[test]
    fn sizes() {
        let whole = REQUEST_MAX - 2;
        let cases = [
            (json!({"type": "string"}), Some((whole, 2))),
            (json!({"type": "string", "maxLength": 10}), Some((40, 2))),
            (json!({"type": "string", "enum": ["a", "abc"]}), Some((3, 2))),
            (json!({"type": "string", "format": "date-time"}), Some((32, 21))),
            (json!({"type": "string", "format": "byte", "maxLength": 10}), Some((10, 2))),
            (json!({"type": "integer"}), Some((0, 1))),
            (json!({"type": "array", "items": {"type": "integer"}}), Some((whole / 2, 2))),
            (json!({"type": "array", "maxItems": 5, "items": {"type": "integer"}}), Some((5, 2))),
            (json!({"type": "array"}), None),
            (
                json!({"type": "object", "additionalProperties": {"type": "boolean"}}),
                Some((whole / 10, 2)),
            ),
            (
                json!({"type": "object", "required": ["ab", "d"], "properties": {
                    "ab": {"type": "integer"}, "c": {"type": "integer"},
                    "d": {"type": "integer", "default": 3}}}),
                Some((0, 2 + 2 + 1 + 4)),
            ),
            (json!({"x-kubernetes-int-or-string": true}), Some((whole, 1))),
            (json!({"x-kubernetes-preserve-unknown-fields": true}), None),
        ];
        for (schema, expected) in cases {
            assert_eq!(size(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn the_root_has_metadata() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"a-b": {"type": "string"}, "$x": {"type": "string"}}},
            "metadata": {"type": "object"}}});
        let decl = Decl::structural(&schema, true).unwrap();
        let DeclKind::Object(object) = &decl.kind else { panic!("an object") };
        let names: Vec<_> = object.fields().keys().map(AsRef::as_ref).collect();
        assert_eq!(names, ["apiVersion", "kind", "metadata", "spec"]);
        let DeclKind::Object(spec) = &object.field("spec").unwrap().decl.kind else {
            panic!("an object")
        };
        assert_eq!(spec.fields().keys().map(AsRef::as_ref).collect::<Vec<_>>(), ["a__dash__b"]);
        assert_eq!(spec.name(), "selfType.spec");
    }
}
