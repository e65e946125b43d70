//! Rules of `allOf`, `anyOf`, `oneOf` and `not`: they may narrow the structure, not add to it.

use minik_meta::{FieldError, Path};
use serde_json::{Map, Value, json};

use super::{flag, text};

type Schema = Map<String, Value>;

/// Looks at the combinations of a part of the structure and of all parts below.
pub(super) fn check(schema: Option<&Schema>, at: &Path, errors: &mut Vec<FieldError>) {
    let Some(schema) = schema else { return };
    for key in ["allOf", "anyOf", "oneOf"] {
        let nested = schema.get(key).and_then(Value::as_array);
        for (index, one) in nested.into_iter().flatten().enumerate() {
            let at = at.child(key).index(index);
            if !says_int_or_string(schema, key, index, one) {
                narrowing(one, Some(schema), Rules::within(key), &at, errors);
            }
        }
    }
    if let Some(not) = schema.get("not") {
        narrowing(not, Some(schema), Rules::Refused, &at.child("not"), errors);
    }
    for (name, one) in fields(schema) {
        check(one.as_object(), &at.child("properties").key(name), errors);
    }
    for key in ["items", "additionalProperties"] {
        check(schema.get(key).and_then(Value::as_object), &at.child(key), errors);
    }
}

fn fields(schema: &Schema) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The one place where types are allowed: how older schemas say integer or string.
fn says_int_or_string(schema: &Schema, key: &str, index: usize, one: &Value) -> bool {
    let pattern = json!([{"type": "integer"}, {"type": "string"}]);
    flag(schema, "x-kubernetes-int-or-string")
        && match key {
            "anyOf" => schema.get("anyOf") == Some(&pattern),
            "allOf" => index == 0 && one == &json!({"anyOf": pattern}),
            _ => false,
        }
}

/// Whether there may be rules in CEL: where all of them must hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    Allowed,
    Refused,
}

impl Rules {
    fn within(combination: &str) -> Rules {
        if combination == "allOf" { Rules::Allowed } else { Rules::Refused }
    }

    fn and(self, inner: Rules) -> Rules {
        if self == Rules::Allowed { inner } else { Rules::Refused }
    }
}

/// A schema inside a combination; `structure` is the part of the structure it is about.
fn narrowing(
    schema: &Value,
    structure: Option<&Schema>,
    rules: Rules,
    at: &Path,
    errors: &mut Vec<FieldError>,
) {
    let Value::Object(schema) = schema else { return };
    for key in ["type", "title", "description", "x-kubernetes-map-type", "x-kubernetes-list-type"] {
        if !text(schema, key).is_empty() {
            let why = "must be empty to be structural";
            errors.push(FieldError::forbidden(&at.child(key), why));
        }
    }
    for key in ["default", "additionalProperties"] {
        if schema.get(key).is_some_and(|one| !one.is_null()) {
            let why = "must be undefined to be structural";
            errors.push(FieldError::forbidden(&at.child(key), why));
        }
    }
    for key in [
        "nullable",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ] {
        if flag(schema, key) {
            let why = "must be false to be structural";
            errors.push(FieldError::forbidden(&at.child(key), why));
        }
    }
    let list = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    if rules == Rules::Allowed {
        super::rules(schema, at, errors);
    } else if list.is_some_and(|list| !list.is_empty()) {
        let why = "must be empty to be structural";
        errors.push(FieldError::forbidden(&at.child("x-kubernetes-validations"), why));
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        let nested = schema.get(key).and_then(Value::as_array);
        for (index, one) in nested.into_iter().flatten().enumerate() {
            let rules = rules.and(Rules::within(key));
            narrowing(one, structure, rules, &at.child(key).index(index), errors);
        }
    }
    if let Some(not) = schema.get("not") {
        narrowing(not, structure, Rules::Refused, &at.child("not"), errors);
    }
    for (name, one) in fields(schema) {
        let path = at.child("properties").key(name);
        let named = structure.and_then(|structure| {
            let own = structure.get("properties").and_then(|all| all.get(name));
            own.or_else(|| structure.get("additionalProperties")).and_then(Value::as_object)
        });
        let open = structure.is_none_or(|one| flag(one, "x-kubernetes-preserve-unknown-fields"));
        if named.is_none() && !open {
            let why = format!("because it is defined in {path}");
            errors.push(FieldError::required(&structural_place(&path), why));
        }
        narrowing(one, named, rules, &path, errors);
    }
    if let Some(items) = schema.get("items") {
        let named = structure.and_then(|one| one.get("items")).and_then(Value::as_object);
        if named.is_none() && structure.is_some() {
            let why = format!("because it is defined in {}", at.child("items"));
            errors.push(FieldError::required(&structural_place(&at.child("items")), why));
        }
        narrowing(items, named, rules, &at.child("items"), errors);
    }
}

/// The path with the combinations left out: where the structure would have to be.
fn structural_place(at: &Path) -> Path {
    let is_combination = |step: &str| {
        ["allOf[", "anyOf[", "oneOf["].iter().any(|one| step.starts_with(one)) || step == "not"
    };
    let mut kept: Vec<&str> = Vec::new();
    let text = at.as_str();
    let (mut start, mut depth) = (0, 0);
    for (index, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            '.' if depth == 0 => {
                kept.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    kept.push(&text[start..]);
    kept.retain(|step| !is_combination(step));
    Path::new(kept.join("."))
}
