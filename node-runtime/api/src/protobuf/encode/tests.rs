//! What is written can be read again, for every field of every kind.

use crate::schema::{FieldType, Presence};
use crate::{Resource, kinds};
use serde_json::{Map, Value, json};

use super::super::choice::choice;
use super::super::decode;
use super::*;

/// An object of `shape` with every field set that has a number, down to `depth`.
fn full(shape: &Type, depth: usize) -> Value {
    let mut fields = Map::new();
    for field in shape.fields.iter().filter(|field| field.proto[0] != 0) {
        let value = match choice(shape, field) {
            Some(_) if matches!(field.kind, FieldType::Map(_)) => json!({"k": ["a", "b"]}),
            Some(Choice::Flag(_)) => json!(true),
            Some(_) => json!([{"type": "string"}]),
            None => sample(&field.kind, depth),
        };
        // Lists without items cannot be told from absent ones.
        if !value.is_null() && value != json!([]) && value != json!({}) {
            fields.insert(field.name.to_string(), value);
        }
    }
    Value::Object(fields)
}

fn sample(kind: &FieldType, depth: usize) -> Value {
    match kind {
        FieldType::String => "text ü".into(),
        FieldType::Bool => true.into(),
        FieldType::Int32 => (-7).into(),
        FieldType::Int64 => 5_000_000_000i64.into(),
        FieldType::Double => 0.25.into(),
        FieldType::Bytes => "AP8=".into(),
        FieldType::Quantity => "1500m".into(),
        FieldType::IntOrString => "50%".into(),
        FieldType::Time => "2026-01-02T03:04:05Z".into(),
        FieldType::MicroTime => "2026-01-02T03:04:05.678901Z".into(),
        FieldType::FieldsV1 | FieldType::Raw | FieldType::Json => json!({"a": [1, "b"]}),
        FieldType::Object(_) if depth == 0 => Value::Null,
        FieldType::Object(id) => full(kinds().schema().get(*id), depth - 1),
        FieldType::List(of) => match sample(of, depth) {
            Value::Null => Value::Null,
            item => json!([item.clone(), item]),
        },
        FieldType::Map(of) => match sample(of, depth) {
            Value::Null => Value::Null,
            item => json!({"a": item.clone(), "b/c": item}),
        },
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            names.into_iter().map(|name| (name.clone(), sorted(&fields[name]))).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[track_caller]
fn comes_back(resource: &Resource, object: &Value) {
    let written = encode(object).expect("it has a form");
    let read = decode(&resource.schema, &written).expect("it can be read");
    let (read, object) = (sorted(&read), sorted(object));
    assert_eq!(read.to_string(), object.to_string(), "{}", resource.kind);
}

#[test]
fn every_field_of_every_kind_comes_back() {
    let mut fields = 0;
    for resource in kinds().all() {
        let mut object = full(resource.schema.root(), 6);
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.to_string().into();
        assert!(has_form(resource), "{}", resource.kind);
        comes_back(resource, &object);
        fields += object.to_string().matches(':').count();
    }
    assert!(fields > 20_000, "only {fields} fields were written");
}

#[test]
fn both_shapes_of_a_choice_come_back() {
    let resource = kinds()
        .by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
        .expect("a built-in kind");
    let schema = json!({
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}}},
        "additionalProperties": {"type": "integer", "enum": [1, 2]},
        "dependencies": {"a": {"required": ["b"]}},
        "default": {"a": []},
    });
    comes_back(
        resource,
        &json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]},
        }),
    );
}

#[test]
fn zero_is_kept_where_it_was_said() {
    let resource = kinds().by_kind("apps", "v1", "Deployment").expect("a built-in kind");
    assert_eq!(
        resource.schema.root().field("metadata").map(|field| field.presence),
        Some(Presence::Struct)
    );
    comes_back(
        resource,
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "annotations": {"empty": ""}},
            "spec": {"replicas": 0, "paused": false, "strategy": {"rollingUpdate": {"maxSurge": 0}}},
        }),
    );
}

/// Field numbers and wire types by hand, from the published definition of the messages.
#[test]
fn a_list_is_its_metadata_and_bare_items() {
    let list = json!({
        "apiVersion": "v1", "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "7"},
        "items": [{"metadata": {"name": "a"}, "data": {"k": "v"}}],
    });
    let mut expected = b"k8s\0".to_vec();
    expected.extend(b"\x0a\x13\x0a\x02v1\x12\x0dConfigMapList");
    expected.extend(b"\x12\x14");
    expected.extend(b"\x0a\x03\x12\x017");
    expected.extend(b"\x12\x0d\x0a\x03\x0a\x01a\x12\x06\x0a\x01k\x12\x01v");
    expected.extend(b"\x1a\0\x22\0");
    assert_eq!(encode(&list).as_deref(), Some(expected.as_slice()));
}

#[test]
fn failures_and_metadata_have_a_form() {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "no", "reason": "NotFound", "code": 404,
    });
    let written = encode(&status).expect("a form");
    assert!(written.windows(3).any(|part| part == [0x30, 0x94, 0x03]), "code is field 6: 404");
    let partial = json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}],
    });
    let partial = encode(&partial).expect("a form");
    assert!(partial.ends_with(b"\x12\x05\x0a\x03\x0a\x01a\x1a\0\x22\0"));
    assert_eq!(encode(&json!({"apiVersion": "example.org/v1", "kind": "Thing"})), None);
}

#[test]
fn a_frame_says_its_length() {
    assert_eq!(frame("ADDED", b"xy"), b"\0\0\0\x0d\x0a\x05ADDED\x12\x04\x0a\x02xy");
}
