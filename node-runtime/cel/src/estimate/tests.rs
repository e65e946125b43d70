//! Estimates, counted by hand.

use serde_json::json;

use crate::{Decl, Environment, Program};

fn estimate(text: &str) -> u64 {
    let schema = json!({"type": "object", "properties": {
        "name": {"type": "string", "maxLength": 10},
        "open": {"type": "string"},
        "count": {"type": "integer"},
        "names": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 2}},
        "rows": {"type": "array", "maxItems": 4, "items": {"type": "object", "properties": {
            "cells": {"type": "array", "maxItems": 3, "items": {"type": "integer"}}}}},
        "map": {"type": "object", "maxProperties": 7, "additionalProperties": {"type": "string", "maxLength": 1}},
    }});
    let decl = Decl::structural(&schema, false).unwrap();
    let environment = Environment::new().with("self", decl);
    match Program::compile(&environment, text) {
        Ok(program) => program.cost_max(),
        Err(errors) => panic!("{text}: {}", errors[0]),
    }
}

#[test]
fn estimates() {
    let cases = [
        ("true", 0),
        ("self.count == 3", 2),
        ("self.count + 1 > 3", 4),
        // The shorter text decides: 40 bytes for 10 characters.
        ("self.name == 'abc'", 2 + 1),
        ("self.name == self.open", 4 + 4),
        ("self.name.startsWith('abcdefghijk')", 2 + 2),
        ("self.name.contains('abc')", 2 + 4),
        ("self.name.matches('^abc$')", 2 + 5 * 2),
        ("self.names.all(x, x == 'a')", 2 + 1 + 5 * (3 + 1 + 1)),
        ("self.names.exists(x, x == 'a')", 2 + 1 + 5 * (4 + 1 + 1)),
        ("self.names.exists_one(x, x == 'a')", 2 + 2 + 5 * (2 + 2)),
        ("self.names.map(x, x)", 2 + 11 + 5 * (12 + 1)),
        ("self.names.filter(x, x == 'a')", 2 + 11 + 5 * (13 + 2)),
        ("self.rows.all(r, r.cells.all(c, c > 0))", 2 + 1 + 4 * (3 + (2 + 1 + 3 * (3 + 2)))),
        ("self.map.all(k, self.map[k] == 'x')", 2 + 1 + 7 * (3 + 2 + 1 + 1 + 1)),
        ("'a' in self.names", 2 + 5),
        ("has(self.name)", 1),
        ("has(self.name) && self.count > 1", 1 + 3),
        ("self.count > 1 ? self.name : 'a'", 3 + 2),
        ("[1, 2, 3]", 10),
        ("{'a': 1}", 30),
        ("self.name + self.name", 4 + 8),
        ("self.names.isSorted()", 2 + 5 * (1 + 1)),
        ("self.names.join(',')", 2 + 5),
        ("cel.bind(x, self.name, x == x)", 10 + 2 + 2 + 4),
        ("size(self.names) < 3", 4),
    ];
    let found: Vec<_> = cases.iter().map(|(text, _)| (*text, estimate(text))).collect();
    assert_eq!(found, cases);
}

#[test]
fn what_has_no_bound_costs_too_much() {
    for text in ["self.open.matches('a*b*c*')", "self.open.contains(self.open)"] {
        assert!(estimate(text) > 300_000, "{text}");
    }
    let nested = "self.open.split(',').all(a, self.open.split(',').all(b, a != b))";
    assert!(estimate(nested) > 1_000_000_000_000);
}
