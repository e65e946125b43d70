//! Every built-in kind, with every field filled in, through every routine of the crate.

use std::collections::BTreeSet;

use minik_api::schema::{Field, FieldType, Schema, TypeId};
use minik_api::{ContentType, FieldValidation, Resource, decode, default, kinds, patch, strategy};
use minik_meta::object;
use serde_json::{Map, Value, json};

/// An object of a type with a value in every field; types that hold themselves stop at the second.
fn full(schema: &Schema, id: TypeId, inside: &mut Vec<TypeId>) -> Value {
    if inside.contains(&id) {
        return json!({});
    }
    inside.push(id);
    let fields = schema.get(id).fields.iter();
    let map: Map<String, Value> =
        fields.map(|field| (field.name.to_string(), sample(schema, id, field, inside))).collect();
    inside.pop();
    Value::Object(map)
}

fn sample(schema: &Schema, owner: TypeId, field: &Field, inside: &mut Vec<TypeId>) -> Value {
    if schema.get(owner).alternative(field).is_some() {
        let one = json!({"title": "a"});
        return if let FieldType::Map(_) = field.kind { json!({"key": one}) } else { one };
    }
    match field.allowed() {
        [first, ..] if field.kind == FieldType::String => first.as_ref().into(),
        [first, ..] => json!([first]),
        [] => of_kind(schema, &field.kind, inside),
    }
}

fn of_kind(schema: &Schema, kind: &FieldType, inside: &mut Vec<TypeId>) -> Value {
    match kind {
        FieldType::String => "a".into(),
        FieldType::Bool => true.into(),
        FieldType::Int32 | FieldType::Int64 => 1.into(),
        FieldType::Double => 0.5.into(),
        FieldType::Bytes => "YQ==".into(),
        FieldType::Quantity => "1".into(),
        FieldType::IntOrString => "1%".into(),
        FieldType::Time => "2026-01-01T00:00:00Z".into(),
        FieldType::MicroTime => "2026-01-01T00:00:00.000000Z".into(),
        FieldType::FieldsV1 | FieldType::Raw | FieldType::Json => json!({"any": ["thing", null]}),
        FieldType::Object(id) => full(schema, *id, inside),
        FieldType::List(item) => Value::Array(vec![of_kind(schema, item, inside)]),
        FieldType::Map(item) => json!({"key": of_kind(schema, item, inside)}),
    }
}

fn full_object(resource: &Resource) -> Value {
    let mut value = full(resource.schema.schema(), resource.schema.id(), &mut Vec::new());
    object::set(&mut value, &["apiVersion"], resource.api_version());
    object::set(&mut value, &["kind"], resource.kind.as_ref());
    object::set(&mut value, &["metadata", "name"], "a");
    value
}

#[test]
fn is_decoded_without_a_complaint() {
    for resource in kinds().all() {
        let value = full_object(resource);
        for content in [ContentType::Json, ContentType::Yaml] {
            // JSON is YAML.
            let bytes = value.to_string();
            let decoded = decode(resource, bytes.as_bytes(), content, FieldValidation::Strict);
            let (decoded, _) = decoded.unwrap_or_else(|status| panic!("{status}"));
            assert_eq!(decoded, value, "{content:?}");
        }
    }
}

#[test]
fn loses_nothing_to_defaults_and_takes_them_once() {
    // Ways to give the same thing that are stored in one of them, or exclude each other.
    let rewritten = ["stringData", "serviceAccount", "sessionAffinityConfig"];
    for resource in kinds().all() {
        let value = full_object(resource);
        let mut defaulted = value.clone();
        default(resource, &mut defaulted);
        let mut missing = BTreeSet::new();
        lost(&value, &defaulted, &mut String::new(), &mut missing);
        missing.retain(|path| !rewritten.iter().any(|name| path.contains(name)));
        assert!(missing.is_empty(), "{}: {missing:?}", resource.kind);

        let once = defaulted.clone();
        default(resource, &mut defaulted);
        assert_eq!(defaulted, once, "{}", resource.kind);
    }
}

/// Paths that are in `before` and not in `after`.
fn lost(before: &Value, after: &Value, path: &mut String, found: &mut BTreeSet<String>) {
    let Value::Object(map) = before else { return };
    for (key, value) in map {
        let length = path.len();
        path.push('.');
        path.push_str(key);
        match after.get(key) {
            None => {
                found.insert(path.clone());
            }
            Some(after) => lost(value, after, path, found),
        }
        path.truncate(length);
    }
}

#[test]
fn keeps_what_updates_may_not_touch() {
    for resource in kinds().all().iter().filter(|one| one.has_verb("update")) {
        let old = full_object(resource);
        let mut new = old.clone();
        object::set(&mut new, &["metadata", "uid"], "other");
        if resource.has_status() {
            object::set(&mut new, &["status"], json!({}));
        }
        strategy::prepare_update(resource, &mut new, &old);
        assert_eq!(object::uid(&new), object::uid(&old), "{}", resource.kind);
        assert_eq!(new.get("status"), old.get("status"), "{}", resource.kind);

        let mut status = old.clone();
        object::set(&mut status, &["spec"], json!({}));
        strategy::prepare_status_update(resource, &mut status, &old);
        assert_eq!(status.get("spec"), old.get("spec"), "{}", resource.kind);
    }
}

#[test]
fn is_validated_and_merged_without_panic() {
    for resource in kinds().all() {
        let value = full_object(resource);
        let _ = strategy::validate(resource, &value);
        let _ = strategy::validate_update(resource, &value, &value);
        let mut merged = value.clone();
        patch::strategic::apply(&resource.schema, &mut merged, &value)
            .unwrap_or_else(|status| panic!("{}: {status}", resource.kind));
        assert_eq!(merged, value, "{}: merging an object into itself", resource.kind);
        let mut emptied = value.clone();
        let nulls: Map<String, Value> = value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| (key.clone(), Value::Null))
            .collect();
        patch::strategic::apply(&resource.schema, &mut emptied, &Value::Object(nulls)).unwrap();
        assert_eq!(emptied, json!({}), "{}: null takes everything away", resource.kind);
    }
}
