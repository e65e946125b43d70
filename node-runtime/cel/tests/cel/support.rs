//! What the tables are run with.

use minik_cel::{Bindings, Budget, Decl, Environment, Program, Value};
use serde_json::{Value as Json, json};

/// A schema with a field of every kind.
pub(crate) fn schema() -> Json {
    json!({"type": "object", "properties": {
        "name": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "on": {"type": "boolean"},
        "data": {"type": "string", "format": "byte"},
        "at": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "wait": {"type": "string", "format": "duration"},
        "port": {"x-kubernetes-int-or-string": true},
        "names": {"type": "array", "items": {"type": "string"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "nested": {"type": "object", "properties": {
            "a-b": {"type": "integer"}, "c.d": {"type": "integer"}, "e/f": {"type": "integer"},
            "namespace": {"type": "string"}, "in": {"type": "integer"}, "x__y": {"type": "integer"},
            "absent": {"type": "string"}}},
        "maybe": {"type": "string", "nullable": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"known": {"type": "integer"}}},
        "opaque": {"x-kubernetes-preserve-unknown-fields": true},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true},
    }})
}

/// An object of it.
pub(crate) fn object() -> Json {
    json!({
        "name": "web", "count": 3, "ratio": 0.5, "on": true, "data": "aGVsbG8=",
        "at": "2024-02-29T12:30:45.5Z", "day": "2024-02-29", "wait": "1h30m", "port": "50%",
        "names": ["b", "a", "c"], "set": ["x", "y"],
        "keyed": [{"k": "1", "v": 1}, {"k": "2", "v": 2}],
        "labels": {"app": "web", "a/b": "c"},
        "nested": {"a-b": 1, "c.d": 2, "e/f": 3, "namespace": "ns", "in": 4, "x__y": 5},
        "maybe": null, "free": {"known": 1, "unknown": 2}, "opaque": {"a": 1},
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}},
    })
}

/// The result as JSON, or as upstream prints what JSON does not have; errors after `ERROR`.
pub(crate) fn evaluate(text: &str) -> String {
    let any = json!({"spec": {"replicas": 3, "ports": [80, 443], "name": "n"}, "big": 18446744073709551615_u64,
        "float": 1.5, "none": null, "text": "t"});
    let decl = Decl::structural(&schema(), false).expect("a schema");
    let environment = Environment::new()
        .with("self", decl.clone())
        .with("oldSelf", decl.clone())
        .with_dyn("object");
    let program = match Program::compile(&environment, text) {
        Ok(program) => program,
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            return errors.join("\n");
        }
    };
    let (own, mut old) = (object(), object());
    for list in ["set", "keyed"] {
        old[list].as_array_mut().expect("a list").reverse();
    }
    let bindings = Bindings::new()
        .with("self", Value::of_json(&own, &decl))
        .with("oldSelf", Value::of_json(&old, &decl))
        .with("object", Value::of_json(&any, &Decl::json()));
    match program.evaluate(&bindings, &mut Budget::per_request()) {
        Ok(Value::Type(ty)) => format!("type {ty}"),
        Ok(Value::Uint(number)) => format!("{number}u"),
        Ok(Value::Double(number)) => format!("{number:?}"),
        Ok(Value::Optional(None)) => "none".to_owned(),
        Ok(Value::Optional(Some(value))) => {
            format!("some({})", value.to_json().unwrap_or_default())
        }
        Ok(value) => match value.to_json() {
            Ok(json) => json.to_string(),
            Err(why) => why,
        },
        Err(error) => format!("ERROR {error}"),
    }
}

/// Each expression with what it comes to; an error may be told in part.
pub(crate) fn check(cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let found = evaluate(text);
        let fine = match expected.strip_prefix("ERROR") {
            Some(_) => found.starts_with(expected),
            None => found == *expected,
        };
        if !fine {
            wrong.push(format!("{text}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
