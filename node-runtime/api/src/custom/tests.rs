//! Schemas and objects side by side: what is dropped, filled in, refused.

use bytes::Bytes;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::decode::{ContentType, FieldValidation, decode};
use crate::strategy;

/// A definition with one version and this schema of `spec`.
pub(super) fn definition(spec: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": spec,
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
            }],
            "conversion": {"strategy": "None"},
        },
        "status": {
            "acceptedNames": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "conditions": [{"type": "Established", "status": "True"}],
            "storedVersions": ["v1"],
        },
    })
}

fn resource(spec: Value) -> Resource {
    resource_of(&definition(spec))
}

fn resource_of(definition: &Value) -> Resource {
    let source = Bytes::from(definition.to_string());
    resources(definition, &source, 1).remove(0)
}

/// The object after decoding and defaults, its warnings, and what is wrong with it.
fn say(resource: &Resource, spec: Value, old: Option<Value>) -> String {
    let object = |spec: Value| json!({"metadata": {"name": "w", "namespace": "d"}, "spec": spec});
    let bytes = object(spec).to_string();
    let decoded = decode(resource, bytes.as_bytes(), ContentType::Json, FieldValidation::Warn);
    let (mut value, warnings) = match decoded {
        Ok(decoded) => decoded,
        Err(status) => return status.message,
    };
    crate::default(resource, &mut value);
    let judged = match old {
        None => strategy::validate(resource, &value),
        Some(old) => strategy::validate_update(resource, &value, &object(old)),
    };
    let mut lines = vec![value["spec"].to_string()];
    lines.extend(warnings);
    if let Err(status) = judged {
        let details = status.details.unwrap_or_default();
        let causes = details.causes.iter();
        lines.extend(causes.map(|cause| format!("{}: {}", cause.field, cause.message)));
    }
    lines.join("\n")
}

#[track_caller]
fn check(schema: Value, spec: Value, expected: Expect) {
    expected.assert_eq(&say(&resource(schema), spec, None));
}

#[test]
fn unknown_fields_go() {
    check(
        json!({"type": "object", "properties": {
            "a": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "integer"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": {"type": "boolean"}}}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                     "properties": {"known": {"type": "object", "properties": {"d": {"type": "string"}}}}},
        }}),
        json!({
            "a": "x", "z": 1, "list": [{"b": 1, "z": 2}], "map": {"k": {"c": true, "z": 3}},
            "open": {"any": {"thing": 1}, "known": {"d": "y", "z": 4}},
        }),
        expect![[r#"
            {"a":"x","list":[{"b":1}],"map":{"k":{"c":true}},"open":{"any":{"thing":1},"known":{"d":"y"}}}
            unknown field "spec.list[0].z"
            unknown field "spec.map.k.z"
            unknown field "spec.open.known.z"
            unknown field "spec.z""#]],
    );
}

#[test]
fn defaults_and_nulls() {
    check(
        json!({"type": "object", "properties": {
            "a": {"type": "string", "default": "A"},
            "b": {"type": "string", "nullable": true, "default": "B"},
            "c": {"type": "string"},
            "d": {"type": "object", "default": {}, "properties": {"e": {"type": "integer", "default": 5}}},
            "f": {"type": "array", "items": {"type": "object", "properties": {"g": {"type": "string", "default": "G"}}}},
            "h": {"type": "object", "additionalProperties": {"type": "string", "default": "H"}},
        }}),
        json!({"a": null, "b": null, "c": null, "f": [{}, {"g": "x"}], "h": {"k": null}}),
        expect![[r#"{"a":"A","b":null,"f":[{"g":"G"},{"g":"x"}],"h":{"k":"H"},"d":{"e":5}}"#]],
    );
}

#[test]
fn types() {
    check(
        json!({"type": "object", "properties": {
            "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"},
            "b": {"type": "boolean"}, "o": {"type": "object"}, "a": {"type": "array", "items": {"type": "string"}},
            "x": {"x-kubernetes-int-or-string": true}, "t": {"type": "string", "format": "date-time"},
            "nulls": {"type": "array", "items": {"type": "string"}},
        }}),
        json!({"s": 1, "i": "3", "n": true, "b": {}, "o": [], "a": "a", "x": 1.5, "t": 5, "nulls": [null]}),
        expect![[r#"
            {"s":1,"i":"3","n":true,"b":{},"o":[],"a":"a","x":1.5,"t":5,"nulls":[null]}
            spec.s: Invalid value: "integer": spec.s in body must be of type string: "integer"
            spec.i: Invalid value: "string": spec.i in body must be of type integer: "string"
            spec.n: Invalid value: "boolean": spec.n in body must be of type number: "boolean"
            spec.b: Invalid value: "object": spec.b in body must be of type boolean: "object"
            spec.o: Invalid value: "array": spec.o in body must be of type object: "array"
            spec.a: Invalid value: "string": spec.a in body must be of type array: "string"
            spec.x: Invalid value: "number": spec.x in body must be of type integer,string: "number"
            spec.t: Invalid value: "int64": spec.t in body must be of type date-time: "int64"
            spec.nulls[0]: Invalid value: "null": spec.nulls[0] in body must be of type string: "null""#]],
    );
}

#[test]
fn limits() {
    check(
        json!({"type": "object", "required": ["r"], "properties": {
            "r": {"type": "string"},
            "s": {"type": "string", "minLength": 3, "pattern": "^[a-z]+$"},
            "l": {"type": "string", "maxLength": 2},
            "e": {"type": "string", "enum": ["a", "b"]},
            "lo": {"type": "integer", "minimum": 1},
            "hi": {"type": "number", "maximum": 10, "exclusiveMaximum": true},
            "m": {"type": "integer", "multipleOf": 5},
            "few": {"type": "array", "minItems": 2, "items": {"type": "integer"}},
            "many": {"type": "array", "maxItems": 1, "items": {"type": "integer"}},
            "keys": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "integer"}},
            "f": {"type": "string", "format": "ipv4"},
        }}),
        json!({
            "s": "A", "l": "abc", "e": "c", "lo": 0, "hi": 10, "m": 7, "few": [1], "many": [1, 2],
            "keys": {"a": 1, "b": 2}, "f": "x",
        }),
        expect![[r#"
            {"s":"A","l":"abc","e":"c","lo":0,"hi":10,"m":7,"few":[1],"many":[1,2],"keys":{"a":1,"b":2},"f":"x"}
            spec.r: Required value
            spec.s: Invalid value: "A": spec.s in body should be at least 3 chars long
            spec.s: Invalid value: "A": spec.s in body should match '^[a-z]+$'
            spec.l: Too long: may not be more than 2 bytes
            spec.e: Unsupported value: "c": supported values: "a", "b"
            spec.lo: Invalid value: 0: spec.lo in body should be greater than or equal to 1
            spec.hi: Invalid value: 10: spec.hi in body should be less than 10
            spec.m: Invalid value: 7: spec.m in body should be a multiple of 5
            spec.few: Invalid value: 1: spec.few in body should have at least 2 items
            spec.many: Too many: 2: must have at most 1 item
            spec.keys: Too many: 2: must have at most 1 item
            spec.f: Invalid value: "x": spec.f in body must be of type ipv4: "x""#]],
    );
}

#[test]
fn combinations() {
    let schema = json!({"type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "n": {"type": "integer",
            "allOf": [{"minimum": 1}, {"maximum": 5}], "not": {"enum": [3]}}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    });
    check(schema.clone(), json!({"a": "x", "n": 2}), expect![[r#"{"a":"x","n":2}"#]]);
    check(
        schema.clone(),
        json!({"n": 9}),
        expect![[r#"
            {"n":9}
            <nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)
            spec.a: Required value
            <nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid
            spec.a: Required value
            spec.n: Invalid value: 9: spec.n in body should be less than or equal to 5
            <nil>: Invalid value: "": "spec.n" must validate all the schemas (allOf)"#]],
    );
    check(
        schema,
        json!({"a": "x", "b": "y", "n": 3}),
        expect![[r#"
            {"a":"x","b":"y","n":3}
            <nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives
            <nil>: Invalid value: "": "spec.n" must not validate the schema (not)"#]],
    );
}

#[test]
fn identified_items_come_once() {
    check(
        json!({"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "p"],
                    "items": {"type": "object", "required": ["k"], "properties": {
                        "k": {"type": "string"}, "p": {"type": "string", "default": "TCP"}, "v": {"type": "integer"}}}},
        }}),
        json!({"set": ["a", "b", "a"], "map": [{"k": "x", "v": 1}, {"k": "x", "p": "TCP", "v": 2}, {"k": "x", "p": "UDP"}]}),
        expect![[r#"
            {"set":["a","b","a"],"map":[{"k":"x","v":1,"p":"TCP"},{"k":"x","p":"TCP","v":2},{"k":"x","p":"UDP"}]}
            spec.set[2]: Duplicate value: "a"
            spec.map[1]: Duplicate value: {"k":"x","p":"TCP"}"#]],
    );
}

#[test]
fn objects_inside_objects() {
    check(
        json!({"type": "object", "properties": {"o": {
            "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}),
        json!({"o": {"kind": "Pod", "metadata": {"name": "a", "labels": {"bad key!": "v"}, "foo": 1}, "spec": {"x": 1}}}),
        expect![[r#"
            {"o":{"kind":"Pod","metadata":{"name":"a","labels":{"bad key!":"v"}},"spec":{"x":1}}}
            unknown field "spec.o.metadata.foo"
            spec.o.apiVersion: Required value: must not be empty
            spec.o.metadata.labels: Invalid value: "bad key!": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"#]],
    );
}

#[test]
fn what_was_wrong_before_and_did_not_change_may_stay() {
    let resource = resource(json!({"type": "object", "properties": {
        "a": {"type": "integer", "maximum": 5}, "b": {"type": "string"},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                 "items": {"type": "object", "required": ["k"], "properties": {
                     "k": {"type": "string"}, "n": {"type": "integer", "maximum": 5}}}},
        "plain": {"type": "array", "items": {"type": "integer", "maximum": 5}},
    }}));
    let old = json!({"a": 9, "list": [{"k": "x", "n": 9}], "plain": [9]});
    let new = json!({"a": 9, "b": "new", "list": [{"k": "y"}, {"k": "x", "n": 9}], "plain": [9]});
    expect![[r#"{"a":9,"b":"new","list":[{"k":"y"},{"k":"x","n":9}],"plain":[9]}"#]]
        .assert_eq(&say(&resource, new, Some(old.clone())));
    let worse = json!({"a": 10, "list": [{"k": "x", "n": 10}], "plain": [1, 9]});
    expect![[r#"
        {"a":10,"list":[{"k":"x","n":10}],"plain":[1,9]}
        spec.a: Invalid value: 10: spec.a in body should be less than or equal to 5
        spec.list[0].n: Invalid value: 10: spec.list[0].n in body should be less than or equal to 5
        spec.plain[1]: Invalid value: 9: spec.plain[1] in body should be less than or equal to 5"#]]
    .assert_eq(&say(&resource, worse, Some(old)));
}

#[test]
fn the_schema_in_the_form_of_built_in_types() {
    let resource = resource(json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
                  "items": {"type": "object", "properties": {"port": {"type": "integer"}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
    }}));
    let (schema, root) = (resource.schema.schema(), resource.schema.root());
    assert_eq!(root.name, "com.example.v1.Widget");
    let names: Vec<&str> = root.fields.iter().map(|field| field.name.as_ref()).collect();
    assert_eq!(names, ["apiVersion", "kind", "metadata", "spec", "status"]);
    let crate::schema::FieldType::Object(spec) = root.field("spec").unwrap().kind else {
        panic!("an object")
    };
    let lines: Vec<String> = schema
        .get(spec)
        .fields
        .iter()
        .map(|field| format!("{} {:?} {:?}", field.name, field.list_kind(), field.map_atomic()))
        .collect();
    expect![[r#"
        any None false
        labels None false
        name None false
        ports Some(Map(["port"])) false
        whole None true"#]]
    .assert_eq(&lines.join("\n"));
    let metadata = root.field("metadata").unwrap();
    let crate::schema::FieldType::Object(metadata) = metadata.kind else { panic!("an object") };
    assert!(schema.get(metadata).field("ownerReferences").is_some());
}

/// The schema of Widgets in an OpenAPI document of version 2, without what all objects have.
fn published(root: Value) -> String {
    let mut definition = definition(json!({}));
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = root;
    let resource = resource_of(&definition);
    let (_, mut schema) = openapi::schemas(&resource, crate::openapi::Flavor::V2).remove(0);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|name, _| !["apiVersion", "kind", "metadata"].contains(&name.as_str()));
    }
    schema.as_object_mut().expect("a schema").shift_remove("x-kubernetes-group-version-kind");
    schema.to_string()
}

#[test]
fn openapi_2_says_what_kubectl_understands() {
    let check = |schema: Value, expected: Expect| expected.assert_eq(&published(schema));
    check(
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "d",
            "properties": {"spec": {"type": "object"}}}),
        expect![[r#"{"type":"object"}"#]],
    );
    check(
        json!({"type": "object", "required": ["a", "n"], "properties": {
            "a": {"type": "array", "items": {"type": "string"}},
            "n": {"type": "array", "nullable": true, "items": {"type": "string"}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"x": {"type": "string"}}},
            "not": {"type": "string", "not": {"enum": ["z"]}, "anyOf": [{"enum": ["y"]}]},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": true,
                "properties": {"spec": {"type": "object"}}},
        }}),
        expect![[
            r##"{"type":"object","required":["a"],"properties":{"a":{"type":"array","items":{"type":"string"}},"n":{},"open":{"x-kubernetes-preserve-unknown-fields":true},"not":{"type":"string"},"pod":{"type":"object","x-kubernetes-embedded-resource":true,"properties":{"spec":{"type":"object"},"apiVersion":{"type":"string","description":"APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"},"kind":{"type":"string","description":"Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"},"metadata":{"description":"Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata","$ref":"#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}},"required":["kind","apiVersion"]}}}"##
        ]],
    );
}
