//! Rules of the schema of a version: what is supported, what makes it structural, defaults.

mod combined;
mod lists;

use minik_meta::{FieldError, Path, object};
use serde_json::{Map, Value};

use crate::custom::structural::Node;
use crate::custom::{conform, pattern, values};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
/// Most errors of one schema that are told.
const ERRORS_MAX: usize = 100;

/// Where in the structure a schema is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

/// What is wrong with a schema.
pub(super) fn check(schema: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let mut found = Vec::new();
    if schema.get("nullable") == Some(&Value::Bool(true)) {
        found.push(FieldError::forbidden(
            &at.child("nullable"),
            "nullable cannot be true at the root",
        ));
    }
    structure(schema, Level::Root, false, at, &mut found);
    let root = schema.as_object();
    combined::check(root, at, &mut found);
    if found.is_empty() {
        defaults(schema, at, &mut found);
    }
    found.truncate(ERRORS_MAX);
    errors.append(&mut found);
}

/// One level of the structure and all below.
fn structure(
    schema: &Value,
    level: Level,
    in_metadata: bool,
    at: &Path,
    errors: &mut Vec<FieldError>,
) {
    if errors.len() > ERRORS_MAX {
        return;
    }
    let Value::Object(map) = schema else {
        errors.push(FieldError::invalid(at, schema.clone(), "must be a schema object"));
        return;
    };
    unsupported(map, at, errors);
    kind(map, level, at, errors);
    extensions(map, at, errors);
    lists::check(map, at, errors);
    rules(map, at, errors);
    own_fields(map, level, at, errors);
    if in_metadata && map.get("default").is_some_and(|one| !one.is_null()) {
        errors.push(FieldError::forbidden(&at.child("default"), "must not be set inside metadata"));
    }
    for (name, schema) in object::map(schema, &["properties"]).into_iter().flatten() {
        let own = level == Level::Root || flag(map, "x-kubernetes-embedded-resource");
        let metadata = in_metadata || (own && name == "metadata");
        structure(schema, Level::Field, metadata, &at.child("properties").key(name), errors);
    }
    if let Some(items) = map.get("items").filter(|items| items.is_object()) {
        structure(items, Level::Item, in_metadata, &at.child("items"), errors);
    }
    if let Some(others) = map.get("additionalProperties").filter(|others| others.is_object()) {
        structure(others, Level::Field, in_metadata, &at.child("additionalProperties"), errors);
    }
}

fn flag(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Parts of JSON schema that have no meaning here.
fn unsupported(map: &Map<String, Value>, at: &Path, errors: &mut Vec<FieldError>) {
    for key in ["$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id"]
    {
        let empty = match map.get(key) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(_) => false,
        };
        if !empty {
            errors.push(FieldError::forbidden(&at.child(key), format!("{key} is not supported")));
        }
    }
    if flag(map, "uniqueItems") {
        let why =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(&at.child("uniqueItems"), why));
    }
    let has_properties =
        map.get("properties").and_then(Value::as_object).is_some_and(|one| !one.is_empty());
    let others = at.child("additionalProperties");
    match map.get("additionalProperties") {
        Some(Value::Bool(false)) => {
            let why = "additionalProperties cannot be set to false";
            errors.push(FieldError::forbidden(&others, why));
        }
        Some(value) if !value.is_null() && has_properties => {
            let why = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(&others, why));
        }
        _ => {}
    }
    if map.get("items").is_some_and(Value::is_array) {
        let why = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(&at.child("items"), why));
    }
    let expression = text(map, "pattern");
    if !expression.is_empty()
        && let Err(why) = pattern::compile(expression)
    {
        let why = format!("must be a valid regular expression, but isn't: {why}");
        errors.push(FieldError::invalid(&at.child("pattern"), expression, why));
    }
}

fn kind(map: &Map<String, Value>, level: Level, at: &Path, errors: &mut Vec<FieldError>) {
    let kind = text(map, "type");
    let path = at.child("type");
    let int_or_string = flag(map, "x-kubernetes-int-or-string");
    let preserve = flag(map, "x-kubernetes-preserve-unknown-fields");
    match (kind, level) {
        ("", Level::Root) => {
            errors.push(FieldError::required(&path, "must not be empty at the root"));
        }
        ("", _) if int_or_string || preserve => {}
        ("", Level::Field) => {
            let why = "must not be empty for specified object fields";
            errors.push(FieldError::required(&path, why));
        }
        ("", Level::Item) => {
            let why = "must not be empty for specified array items";
            errors.push(FieldError::required(&path, why));
        }
        ("null", _) => {
            let why = "type cannot be set to null, use nullable as an alternative";
            errors.push(FieldError::forbidden(&path, why));
        }
        (kind, _) if !TYPES.contains(&kind) => {
            errors.push(FieldError::not_supported(&path, kind, TYPES));
        }
        (kind, Level::Root) if kind != "object" => {
            errors.push(FieldError::invalid(&path, kind, "must be object at the root"));
        }
        (kind, _) if int_or_string => {
            let why = "must be empty if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(&path, kind, why));
        }
        ("array", _) if map.get("items").is_none_or(Value::is_null) => {
            errors.push(FieldError::required(&at.child("items"), "must be specified"));
        }
        _ => {}
    }
}

fn extensions(map: &Map<String, Value>, at: &Path, errors: &mut Vec<FieldError>) {
    const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
    if map.get(PRESERVE) == Some(&Value::Bool(false)) {
        errors.push(FieldError::invalid(&at.child(PRESERVE), false, "must be true or undefined"));
    }
    let kind = text(map, "type");
    if flag(map, "x-kubernetes-embedded-resource") {
        must_be("object", "x-kubernetes-embedded-resource is true", kind, at, errors);
        let empty = map.get("properties").and_then(Value::as_object).is_none_or(Map::is_empty);
        if empty && !flag(map, PRESERVE) {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                       x-kubernetes-preserve-unknown-fields";
            errors.push(FieldError::required(&at.child("properties"), why));
        }
    }
    let map_type = text(map, "x-kubernetes-map-type");
    if !map_type.is_empty() {
        must_be("object", "x-kubernetes-map-type is specified", kind, at, errors);
        if !matches!(map_type, "atomic" | "granular") {
            let path = at.child("x-kubernetes-map-type");
            errors.push(FieldError::not_supported(&path, map_type, &["atomic", "granular"]));
        }
    }
}

/// The type must be `wanted`, because of `reason`.
fn must_be(wanted: &str, reason: &str, kind: &str, at: &Path, errors: &mut Vec<FieldError>) {
    let why = format!("must be {wanted} if {reason}");
    match kind {
        kind if kind == wanted => {}
        "" => errors.push(FieldError::required(&at.child("type"), why)),
        kind => errors.push(FieldError::invalid(&at.child("type"), kind, why)),
    }
}

/// `apiVersion`, `kind` and `metadata` are what they are for all objects.
fn own_fields(map: &Map<String, Value>, level: Level, at: &Path, errors: &mut Vec<FieldError>) {
    if level != Level::Root && !flag(map, "x-kubernetes-embedded-resource") {
        return;
    }
    let properties = map.get("properties").and_then(Value::as_object);
    for (name, wanted) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
        let Some(schema) = properties.and_then(|all| all.get(name)).and_then(Value::as_object)
        else {
            continue;
        };
        let at = at.child("properties").key(name);
        let kind = text(schema, "type");
        if kind != wanted {
            let why = format!("must be {wanted}");
            errors.push(FieldError::invalid(&at.child("type"), kind, why));
        }
        let inner = schema.get("properties").and_then(Value::as_object);
        let foreign = inner
            .into_iter()
            .flat_map(Map::keys)
            .any(|key| !matches!(key.as_str(), "name" | "generateName"));
        if name == "metadata" && foreign {
            let why = "must not specify anything other than name and generateName, but metadata is \
                       implicitly specified";
            errors.push(FieldError::forbidden(&at, why));
        }
    }
}

/// `x-kubernetes-validations` must have an expression each; whether it is one is not known here.
fn rules(map: &Map<String, Value>, at: &Path, errors: &mut Vec<FieldError>) {
    const REASONS: &[&str] =
        &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    let rules = map.get("x-kubernetes-validations").and_then(Value::as_array);
    let at = at.child("x-kubernetes-validations");
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let at = at.index(index);
        let say = |key: &str| object::text(rule, &[key]);
        if say("rule").trim().is_empty() {
            errors.push(FieldError::required(&at.child("rule"), "rule is not specified"));
        }
        let message = rule.get("message").and_then(Value::as_str);
        if message.is_some_and(|text| !text.is_empty() && text.trim().is_empty()) {
            let why = "message must be non-empty if specified";
            errors.push(FieldError::invalid(&at.child("message"), say("message"), why));
        }
        if say("message").contains('\n') {
            let why = "message must not contain line breaks";
            errors.push(FieldError::invalid(&at.child("message"), say("message"), why));
        }
        if say("rule").contains('\n') && say("message").is_empty() {
            let why = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(&at.child("message"), why));
        }
        if !say("reason").is_empty() && !REASONS.contains(&say("reason")) {
            errors.push(FieldError::not_supported(&at.child("reason"), say("reason"), REASONS));
        }
    }
}

/// Defaults must be values that the schema itself lets pass.
fn defaults(schema: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let Value::Object(map) = schema else { return };
    if let Some(default) = map.get("default").filter(|one| !one.is_null()) {
        let node = Node::compile(schema);
        let at = at.child("default");
        if !conform::is_pruned(&node, default) {
            errors.push(FieldError::invalid(&at, default.clone(), "must not have unknown fields"));
        }
        for mut error in values::check(&node, default, None) {
            let inner = error.path.as_str().to_owned();
            error.path = match inner.is_empty() {
                true => at.clone(),
                false => Path::new(format!("{}.{inner}", at.as_str())),
            };
            if let Some(rest) = error.detail.strip_prefix(&format!("{inner} in body ")) {
                error.detail = format!("{} in body {rest}", error.path);
            }
            errors.push(error);
        }
    }
    for (name, schema) in object::map(schema, &["properties"]).into_iter().flatten() {
        defaults(schema, &at.child("properties").key(name), errors);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get(key) {
            defaults(inner, &at.child(key), errors);
        }
    }
}
