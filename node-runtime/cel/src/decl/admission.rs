//! Declarations of what admission expressions are given besides objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Decl, DeclKind, FieldDecl, Fields, ObjectDecl, structural};

/// `request`: the attributes of an admission request.
pub fn request() -> Arc<Decl> {
    let schema = json!({"type": "object", "properties": {
        "kind": names(&["group", "version", "kind"]),
        "resource": names(&["group", "version", "resource"]),
        "subResource": text(),
        "requestKind": names(&["group", "version", "kind"]),
        "requestResource": names(&["group", "version", "resource"]),
        "requestSubResource": text(),
        "name": text(),
        "namespace": text(),
        "operation": text(),
        "userInfo": user_schema(),
        "dryRun": {"type": "boolean"},
    }});
    declared(&schema, "kubernetes.AdmissionRequest", &["options"])
}

/// `user`: whom a token is to stand for.
pub fn user_info() -> Arc<Decl> {
    declared(&user_schema(), "kubernetes.UserInfo", &[])
}

fn user_schema() -> Value {
    json!({"type": "object", "properties": {
        "username": text(),
        "uid": text(),
        "groups": {"type": "array", "items": text()},
        "extra": {"type": "object", "additionalProperties": {"type": "array", "items": text()}},
    }})
}

/// `namespaceObject`: what of a namespace may be asked.
pub fn namespace_object() -> Arc<Decl> {
    let texts = json!({"type": "array", "items": text()});
    let map = json!({"type": "object", "additionalProperties": text()});
    let time = json!({"type": "string", "format": "date-time"});
    let schema = json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {
            "name": text(),
            "generateName": text(),
            "namespace": text(),
            "labels": map,
            "annotations": map,
            "UID": text(),
            "creationTimestamp": time,
            "deletionGracePeriodSeconds": {"type": "integer"},
            "deletionTimestamp": time,
            "generation": {"type": "integer"},
            "resourceVersion": text(),
            "finalizers": texts,
        }},
        "spec": {"type": "object", "properties": {"finalizers": texts}},
        "status": {"type": "object", "properties": {"phase": text()}},
    }});
    declared(&schema, "kubernetes.Namespace", &[])
}

fn text() -> Value {
    json!({"type": "string"})
}

fn names(of: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> =
        of.iter().map(|name| ((*name).to_owned(), text())).collect();
    json!({"type": "object", "properties": properties})
}

/// Fields under their own names: only schemas of custom resources are escaped. `any` are fields of
/// any type.
fn declared(schema: &Value, name: &str, any: &[&str]) -> Arc<Decl> {
    let Some(decl) = structural::of(schema, false, name) else { return Decl::json() };
    let plain = with_plain_names(&decl);
    let DeclKind::Object(object) = &plain.kind else { return plain };
    let mut fields = object.fields().clone();
    for one in any {
        fields.insert((*one).into(), FieldDecl { json: (*one).into(), decl: Decl::json() });
    }
    Decl::new(DeclKind::Object(ObjectDecl::new(name, fields)), 0, 2)
}

fn with_plain_names(decl: &Arc<Decl>) -> Arc<Decl> {
    let DeclKind::Object(object) = &decl.kind else { return Arc::clone(decl) };
    let fields: Fields = object
        .fields()
        .values()
        .map(|field| {
            let decl = with_plain_names(&field.decl);
            (field.json.clone(), FieldDecl { json: field.json.clone(), decl })
        })
        .collect();
    Decl::new(DeclKind::Object(ObjectDecl::new(object.name(), fields)), 0, decl.bytes_min)
}
