//! What is wrong with the rules of a definition.

use expect_test::{Expect, expect};
use minik_cel::rules::Rules;
use minik_meta::Path;
use serde_json::{Value, json};

fn check(schema: Value, expected: Expect) {
    let errors = match Rules::compile(&schema, &Path::new("spec.validation.openAPIV3Schema")) {
        Ok(_) => Vec::new(),
        Err(errors) => errors,
    };
    let lines: Vec<String> = errors
        .iter()
        .map(|error| error.to_string().replace("spec.validation.openAPIV3Schema", "*"))
        .collect();
    expected.assert_eq(&lines.join("\n"));
}

fn with_rule(rule: Value) -> Value {
    json!({"type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": [rule]})
}

#[test]
fn expressions() {
    check(with_rule(json!({"rule": "self.a > 0"})), expect![[""]]);
    check(
        with_rule(json!({"rule": "self.b > 0"})),
        expect![[r#"
            *.x-kubernetes-validations[0].rule: Invalid value: {"rule":"self.b > 0"}: compilation failed: ERROR: <input>:1:5: undefined field 'b'
             | self.b > 0
             | ....^"#]],
    );
    check(
        with_rule(json!({"rule": "self.a"})),
        expect![[
            r#"*.x-kubernetes-validations[0].rule: Invalid value: {"rule":"self.a"}: cel expression must evaluate to a bool"#
        ]],
    );
    check(
        with_rule(json!({"rule": "self.a > 0", "messageExpression": "self.a"})),
        expect![[
            r#"*.x-kubernetes-validations[0].messageExpression: Invalid value: {"rule":"self.a > 0","messageExpression":"self.a"}: messageExpression must evaluate to a string"#
        ]],
    );
    check(
        with_rule(json!({"rule": "self.a > 0", "messageExpression": "nope"})),
        expect![[r#"
            *.x-kubernetes-validations[0].messageExpression: Invalid value: {"rule":"self.a > 0","messageExpression":"nope"}: messageExpression compilation failed: ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')
             | nope
             | ^"#]],
    );
    check(
        with_rule(json!({"rule": "self.a > 0", "messageExpression": "  "})),
        expect![
            "*.x-kubernetes-validations[0].messageExpression: Required value: messageExpression must be non-empty if specified"
        ],
    );
    check(
        with_rule(json!({"rule": "self.a > 0", "fieldPath": ".nope"})),
        expect![[
            r#"*.x-kubernetes-validations[0].fieldPath: Invalid value: ".nope": fieldPath must be a valid path"#
        ]],
    );
    check(
        with_rule(json!({"rule": "self.a > 0", "optionalOldSelf": true})),
        expect![
            "*.x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
        ],
    );
    check(
        json!({"type": "object", "properties": {"x": {
            "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-validations": [{"rule": "true"}]}}}),
        expect![
            "*.properties[x].x-kubernetes-validations: Internal error: internal error: failed to construct type information for x-kubernetes-validations rules: failed to convert to declType for CEL validation rules"
        ],
    );
}

#[test]
fn changes_of_what_cannot_be_found_again() {
    let list = |kind: &str, rule: &str| {
        json!({"type": "object", "properties": {"l": {"type": "array", "maxItems": 3,
            "x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string", "maxLength": 3}},
                "x-kubernetes-validations": [{"rule": rule}]}}}})
    };
    check(list("map", "self.k == oldSelf.k"), expect![[""]]);
    check(list("atomic", "self.k == 'a'"), expect![[""]]);
    check(
        list("atomic", "self.k == oldSelf.k"),
        expect![[
            r#"*.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: "self.k == oldSelf.k": oldSelf cannot be used on the uncorrelatable portion of the schema within *.properties[l]"#
        ]],
    );
}

#[test]
fn costs() {
    let text = |length: Option<u64>, items: Option<u64>| {
        let mut schema = json!({"type": "object", "properties": {"l": {"type": "array",
            "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self.contains('abc')"}]}}}});
        if let Some(length) = length {
            schema["properties"]["l"]["items"]["maxLength"] = length.into();
        }
        if let Some(items) = items {
            schema["properties"]["l"]["maxItems"] = items.into();
        }
        schema
    };
    check(text(Some(100), Some(100)), expect![[""]]);
    check(
        text(None, None),
        expect![[r#"
            *.properties[l].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
            *.properties[l].items.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule & messageExpression cost total exceeding cost limit for entire OpenAPIv3 schema
            *: Forbidden: estimated rule & messageExpression cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"#]],
    );
    check(
        text(Some(1000), Some(60_000)),
        expect![
            "*.properties[l].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of 2.4x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
        ],
    );
    check(
        json!({"type": "object", "properties": {"l": {"type": "array", "items": {"type": "array", "items": {"type": "string"}},
            "x-kubernetes-validations": [{"rule": "self.all(x, x.all(y, y == 'a'))"}]}}}),
        expect![[r#"
            *.properties[l].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
            *.properties[l].x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule & messageExpression cost total exceeding cost limit for entire OpenAPIv3 schema
            *: Forbidden: estimated rule & messageExpression cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"#]],
    );
}
