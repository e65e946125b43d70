//! Expressions in CEL: parsed, checked and evaluated.

use std::sync::{Arc, OnceLock};

use minik_cel::{Bindings, Budget, Decl, Environment, Program, Value};
use serde_json::{Value as Json, json};

/// Enough for a slow loop, little enough for thousands of inputs a second.
const COST_MAX: u64 = 20_000;

/// Every text is an expression with a result or an error, after a bounded time.
pub fn cel(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let own = declared();
    let environment = Environment::new()
        .with("self", Arc::clone(&own))
        .with("oldSelf", Arc::clone(&own))
        .with("request", minik_cel::admission::request())
        .with_dyn("object");
    let Ok(program) = Program::compile(&environment, text) else { return };
    let _ = (program.cost_max(), program.ty().to_string());
    let bindings = Bindings::new()
        .with("self", Value::of_json(object(), &own))
        .with("oldSelf", Value::of_json(object(), &own))
        .with("request", Value::of_json(object(), &Decl::json()))
        .with("object", Value::of_json(object(), &Decl::json()));
    let mut budget = Budget::new(COST_MAX, COST_MAX);
    if let Ok(value) = program.evaluate(&bindings, &mut budget) {
        let _ = value.to_json();
    }
}

fn declared() -> Arc<Decl> {
    static DECL: OnceLock<Arc<Decl>> = OnceLock::new();
    let decl = DECL.get_or_init(|| Decl::structural(&schema(), false).expect("a schema"));
    Arc::clone(decl)
}

fn schema() -> Json {
    json!({"type": "object", "properties": {
        "name": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "on": {"type": "boolean"},
        "data": {"type": "string", "format": "byte"},
        "at": {"type": "string", "format": "date-time"},
        "wait": {"type": "string", "format": "duration"},
        "port": {"x-kubernetes-int-or-string": true},
        "names": {"type": "array", "items": {"type": "string"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "maybe": {"type": "string", "nullable": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }})
}

fn object() -> &'static Json {
    static OBJECT: OnceLock<Json> = OnceLock::new();
    OBJECT.get_or_init(|| {
        json!({
            "name": "web", "count": 3, "ratio": 0.5, "on": true, "data": "aGVsbG8=",
            "at": "2024-02-29T12:30:45.5Z", "wait": "1h30m", "port": "50%",
            "names": ["b", "a", "c"], "set": ["x", "y"],
            "keyed": [{"k": "1", "v": 1}, {"k": "2", "v": 2}],
            "labels": {"app": "web", "a/b": "c"}, "maybe": null, "free": {"known": 1},
        })
    })
}
