//! Rules of custom resources over objects, new and changed.

use expect_test::{Expect, expect};
use minik_cel::Budget;
use minik_cel::rules::Rules;
use minik_meta::Path;
use serde_json::{Value, json};

/// A definition's schema with these rules and properties of its spec.
fn schema(rules: Value, properties: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {
        "type": "object", "x-kubernetes-validations": rules, "properties": properties}}})
}

fn outcome(schema: &Value, new: Value, old: Option<Value>) -> String {
    let rules = match Rules::compile(schema, &Path::root()) {
        Ok(rules) => rules,
        Err(errors) => panic!("{}", errors[0]),
    };
    let old = old.map(|spec| json!({"spec": spec}));
    let found = rules.validate(&json!({"spec": new}), old.as_ref(), &mut Budget::per_request());
    let mut lines: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    lines.extend(found.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}

fn check(rules: Value, properties: Value, new: Value, old: Option<Value>, expected: Expect) {
    expected.assert_eq(&outcome(&schema(rules, properties), new, old));
}

fn numbers() -> Value {
    json!({"min": {"type": "integer"}, "max": {"type": "integer"}})
}

#[test]
fn a_rule_and_its_messages() {
    let new = || json!({"min": 5, "max": 3});
    let run =
        |rule: Value, expected: Expect| check(json!([rule]), numbers(), new(), None, expected);
    run(json!({"rule": "self.min >= self.max"}), expect![[""]]);
    run(
        json!({"rule": " self.min <= self.max "}),
        expect!["spec: Invalid value: failed rule: self.min <= self.max"],
    );
    run(
        json!({"rule": "self.min <= self.max", "message": "min too large "}),
        expect!["spec: Invalid value: min too large"],
    );
    run(
        json!({"rule": "self.min <= self.max", "messageExpression": "'%d is more than %d'.format([self.min, self.max])"}),
        expect!["spec: Invalid value: 5 is more than 3"],
    );
    run(
        json!({"rule": "self.min <= self.max", "message": "m", "messageExpression": "string(self.min / 0)"}),
        expect!["spec: Invalid value: m"],
    );
    run(
        json!({"rule": "self.min <= self.max", "message": "m", "messageExpression": "'a\\nb'"}),
        expect!["spec: Invalid value: m"],
    );
    run(
        json!({"rule": "self.min <= self.max", "messageExpression": "' '"}),
        expect!["spec: Invalid value: failed rule: self.min <= self.max"],
    );
    run(
        json!({"rule": "self.min <= self.max", "message": "m", "fieldPath": ".min"}),
        expect!["spec.min: Invalid value: m"],
    );
    run(
        json!({"rule": "self.min <= self.max", "message": "m", "reason": "FieldValueForbidden"}),
        expect!["spec: Forbidden: m"],
    );
    run(
        json!({"rule": "self.min <= self.max", "message": "m", "reason": "FieldValueRequired", "fieldPath": ".max"}),
        expect!["spec.max: Required value: m"],
    );
    run(
        json!({"rule": "self.min <= self.max", "message": "m", "reason": "FieldValueDuplicate"}),
        expect![[r#"spec: Duplicate value: "object""#]],
    );
    run(
        json!({"rule": "self.min / (self.max - 3) > 1", "message": "m"}),
        expect![[r#"spec: Invalid value: "object": division by zero evaluating rule: m"#]],
    );
}

#[test]
fn rules_stand_anywhere() {
    let rule = |rule: &str| json!([{"rule": rule}]);
    let properties = json!({
        "name": {"type": "string", "x-kubernetes-validations": rule("self.startsWith('a')")},
        "n": {"type": "integer", "x-kubernetes-validations": rule("self < 5")},
        "list": {"type": "array", "maxItems": 10, "x-kubernetes-validations": rule("self.size() < 3"),
            "items": {"type": "string", "maxLength": 9, "x-kubernetes-validations": rule("self != 'x'")}},
        "map": {"type": "object", "maxProperties": 10,
            "additionalProperties": {"type": "integer", "x-kubernetes-validations": rule("self > 0")}},
        "deep": {"type": "object", "properties": {"in": {"type": "boolean", "x-kubernetes-validations": rule("self")}}},
        "$odd": {"type": "integer", "x-kubernetes-validations": rule("self == 1")},
        "maybe": {"type": "string", "nullable": true, "x-kubernetes-validations": rule("self == 'set'")},
        "port": {"x-kubernetes-int-or-string": true, "x-kubernetes-validations": rule("type(self) == int ? self > 0 : self.endsWith('%')")},
    });
    let fine = json!({"name": "ab", "n": 4, "list": ["y"], "map": {"k": 1}, "deep": {"in": true}, "$odd": 1, "maybe": null, "port": "5%"});
    check(json!([]), properties.clone(), fine, None, expect![[""]]);
    let wrong = json!({"name": "b", "n": 5, "list": ["x", "y", "x"], "map": {"k": 0}, "deep": {"in": false}, "$odd": 2, "maybe": "x", "port": 0});
    check(
        json!([]),
        properties,
        wrong,
        None,
        expect![[r#"
            spec.name: Invalid value: "b": failed rule: self.startsWith('a')
            spec.n: Invalid value: 5: failed rule: self < 5
            spec.list: Invalid value: failed rule: self.size() < 3
            spec.list[0]: Invalid value: "x": failed rule: self != 'x'
            spec.list[2]: Invalid value: "x": failed rule: self != 'x'
            spec.map[k]: Invalid value: 0: failed rule: self > 0
            spec.deep.in: Invalid value: false: failed rule: self
            spec.$odd: Invalid value: 2: failed rule: self == 1
            spec.maybe: Invalid value: "x": failed rule: self == 'set'
            spec.port: Invalid value: 0: failed rule: type(self) == int ? self > 0 : self.endsWith('%')"#]],
    );
}

#[test]
fn rules_of_all_of() {
    let schema = json!({"type": "object", "properties": {"spec": {
        "type": "object", "properties": {"a": {"type": "integer"}},
        "allOf": [{"x-kubernetes-validations": [{"rule": "self.a > 1"}],
            "properties": {"a": {"x-kubernetes-validations": [{"rule": "self < 9"}]}}}]}}});
    expect![[r#"
        spec: Invalid value: failed rule: self.a > 1"#]]
    .assert_eq(&outcome(&schema, json!({"a": 1}), None));
    expect![[r#"
        spec.a: Invalid value: 9: failed rule: self < 9"#]]
    .assert_eq(&outcome(&schema, json!({"a": 9}), None));
}

#[test]
fn rules_about_changes() {
    let immutable = json!([{"rule": "self.min == oldSelf.min", "message": "min is immutable"}]);
    let run = |new: Value, old: Option<Value>, expected: Expect| {
        check(immutable.clone(), numbers(), new, old, expected);
    };
    run(json!({"min": 1}), None, expect![[""]]);
    run(json!({"min": 1}), Some(json!({"min": 1})), expect![[""]]);
    run(
        json!({"min": 2}),
        Some(json!({"min": 1})),
        expect!["spec: Invalid value: min is immutable"],
    );
    let keyed = json!({"list": {"type": "array", "maxItems": 9, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v"}]}}});
    check(
        json!([]),
        keyed,
        json!({"list": [{"k": "b", "v": 1}, {"k": "new", "v": 0}, {"k": "a", "v": 5}]}),
        Some(json!({"list": [{"k": "a", "v": 4}, {"k": "b", "v": 2}]})),
        expect!["spec.list[0]: Invalid value: failed rule: self.v >= oldSelf.v"],
    );
}

#[test]
fn optional_old_values() {
    let rule = json!([{"rule": "oldSelf.hasValue() || self.min == 0", "optionalOldSelf": true, "message": "starts at 0"}]);
    check(
        rule.clone(),
        numbers(),
        json!({"min": 1}),
        None,
        expect!["spec: Invalid value: starts at 0"],
    );
    check(rule.clone(), numbers(), json!({"min": 0}), None, expect![[""]]);
    check(rule, numbers(), json!({"min": 1}), Some(json!({"min": 0})), expect![[""]]);
    let grows = json!([{"rule": "oldSelf.optMap(o, self.min >= o.min).orValue(true)", "optionalOldSelf": true}]);
    check(
        grows,
        numbers(),
        json!({"min": 1}),
        Some(json!({"min": 2})),
        expect![
            "spec: Invalid value: failed rule: oldSelf.optMap(o, self.min >= o.min).orValue(true)"
        ],
    );
}

#[test]
fn what_was_wrong_before_may_stay() {
    let properties = json!({"a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 5"}]}, "b": {"type": "integer"},
        "set": {"type": "array", "maxItems": 9, "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 5"}]}}});
    let run = |new: Value, old: Value, expected: Expect| {
        check(json!([]), properties.clone(), new, Some(old), expected);
    };
    run(
        json!({"a": 9, "b": 1}),
        json!({"a": 9, "b": 2}),
        expect!["warning: spec.a: Invalid value: 9: failed rule: self < 5"],
    );
    run(
        json!({"a": 8}),
        json!({"a": 9}),
        expect!["spec.a: Invalid value: 8: failed rule: self < 5"],
    );
    run(json!({"a": 9}), json!({}), expect!["spec.a: Invalid value: 9: failed rule: self < 5"]);
    // Items of plain lists cannot be told apart; the list as a whole can.
    run(
        json!({"set": [9], "b": 1}),
        json!({"set": [9]}),
        expect!["warning: spec.set[0]: Invalid value: 9: failed rule: self < 5"],
    );
    run(
        json!({"set": [9, 1]}),
        json!({"set": [9]}),
        expect!["spec.set[0]: Invalid value: 9: failed rule: self < 5"],
    );
}

#[test]
fn the_root_knows_its_name() {
    let schema = json!({"type": "object", "x-kubernetes-validations": [
        {"rule": "self.metadata.name.startsWith(self.kind.lowerAscii())"}]});
    let rules = Rules::compile(&schema, &Path::root()).expect("fine rules");
    let run = |name: &str| {
        let object = json!({"apiVersion": "a/v1", "kind": "Widget", "metadata": {"name": name}});
        rules.validate(&object, None, &mut Budget::per_request()).errors.len()
    };
    assert_eq!((run("widget-1"), run("other")), (0, 1));
    assert!(Rules::compile(&json!({"type": "object"}), &Path::root()).expect("none").is_empty());
}

#[test]
fn limits() {
    let list = json!({"list": {"type": "array", "items": {"type": "integer"}}});
    let stored = |rules: Value| Rules::of(&schema(rules, list.clone()));
    let items: Vec<u32> = (0..2_000).collect();
    let object = json!({"spec": {"list": items}});
    let slow = "self.list.all(x, self.list.all(y, x + y >= 0))";
    let run = |rules: Value, mut budget: Budget| {
        let found = stored(rules).validate(&object, None, &mut budget);
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        errors.join("\n")
    };
    expect![[r#"spec: Invalid value: "object": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.list.all(x, self.list.all(y, x + y >= 0))"#]]
    .assert_eq(&run(json!([{"rule": slow}, {"rule": "false"}]), Budget::per_request()));
    let cheap = json!([{"rule": "self.list.all(x, x >= 0)"}, {"rule": "self.list.all(x, x >= 0)"}]);
    expect![[""]].assert_eq(&run(cheap.clone(), Budget::per_request()));
    expect![[r#"spec: Invalid value: "object": validation failed due to running out of cost budget, no further validation rules will be run"#]]
    .assert_eq(&run(cheap, Budget::new(15_000, 1_000_000)));
    let message = json!([{"rule": "false", "messageExpression": format!("{slow} ? 'a' : 'b'")}, {"rule": "false"}]);
    expect![[r#"spec: Invalid value: "object": no further validation rules will be run due to call cost exceeds limit for messageExpression: "self.list.all(x, self.list.all(y, x + y >= 0)) ? 'a' : 'b'""#]]
    .assert_eq(&run(message, Budget::per_request()));
}

#[test]
fn a_stored_rule_that_does_not_compile_fails() {
    let rules = Rules::of(&schema(json!([{"rule": "self.nope"}]), numbers()));
    let found = rules.validate(&json!({"spec": {}}), None, &mut Budget::per_request());
    expect![[r#"
        spec: Invalid value: "object": rule compile error: compilation failed: ERROR: <input>:1:5: undefined field 'nope'
         | self.nope
         | ....^"#]]
    .assert_eq(&found.errors[0].to_string().replace("\\n", "\n"));
}
