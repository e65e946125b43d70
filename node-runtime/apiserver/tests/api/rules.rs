//! Rules in CEL of custom resources: with definitions, with objects, with what was there before.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::custom::{DEFINITIONS, Running, WIDGETS, definition, version};

/// A spec with rules of its own and one field.
fn spec(rules: Value) -> Value {
    json!({"type": "object", "x-kubernetes-validations": rules, "properties": {
        "color": {"type": "string", "maxLength": 20},
        "replicas": {"type": "integer"},
        "size": {"type": "string", "enum": ["s", "m"]},
        "ports": {"type": "array", "items": {"type": "integer"}},
    }})
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn defined(rules: Value) -> Running {
    let running = Running::new().await;
    running.define(definition(json!([version("v1", true, spec(rules))]))).await;
    running
}

#[tokio::test]
async fn objects_that_break_a_rule_are_refused() {
    let running = defined(json!([
        {"rule": "self.replicas <= 5", "message": "too many"},
        {"rule": "!has(self.color) || self.color.matches('^[a-z]+$')", "fieldPath": ".color",
         "messageExpression": "'no color: ' + self.color"},
    ]))
    .await;
    let api = &running.api;
    api.post(WIDGETS, widget("fine", json!({"replicas": 5, "color": "red"}))).await.ok();
    let refused = api.post(WIDGETS, widget("a", json!({"replicas": 6, "color": "RED"}))).await;
    assert_eq!(refused.code, 422);
    expect![[r#"422 Invalid: Widget.example.com "a" is invalid: [spec: Invalid value: too many, spec.color: Invalid value: no color: RED]"#]]
        .assert_eq(&refused.failure());
    let unset = api.post(WIDGETS, widget("b", json!({}))).await;
    expect![[r#"422 Invalid: Widget.example.com "b" is invalid: spec: Invalid value: "object": no such key: replicas evaluating rule: too many"#]]
        .assert_eq(&unset.failure());
    let patch = api.patch(&format!("{WIDGETS}/fine"), json!({"spec": {"replicas": 7}})).await;
    expect![[
        r#"422 Invalid: Widget.example.com "fine" is invalid: spec: Invalid value: too many"#
    ]]
    .assert_eq(&patch.failure());
    let wrong = api.post(WIDGETS, widget("c", json!({"replicas": 6, "size": "x"}))).await;
    expect![[r#"422 Invalid: Widget.example.com "c" is invalid: [spec.size: Unsupported value: "x": supported values: "s", "m", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]"#]]
        .assert_eq(&wrong.failure());
    running.stop().await;
}

#[tokio::test]
async fn changes_are_compared_with_what_was_there() {
    let running = defined(json!([
        {"rule": "self.color == oldSelf.color", "message": "color is immutable"},
    ]))
    .await;
    let api = &running.api;
    api.post(WIDGETS, widget("a", json!({"color": "red"}))).await.ok();
    let path = format!("{WIDGETS}/a");
    api.patch(&path, json!({"spec": {"replicas": 1}})).await.ok();
    let refused = api.patch(&path, json!({"spec": {"color": "blue"}})).await;
    expect![[
        r#"422 Invalid: Widget.example.com "a" is invalid: spec: Invalid value: color is immutable"#
    ]]
    .assert_eq(&refused.failure());
    api.delete(&path).await.ok();
    running.stop().await;
}

#[tokio::test]
async fn what_broke_a_newer_rule_before_may_stay() {
    let running = defined(json!([])).await;
    let api = &running.api;
    api.post(WIDGETS, widget("a", json!({"replicas": 9}))).await.ok();
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let mut newer = api.get(&path).await.ok();
    newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
        json!([{"rule": "self.replicas < 5"}]);
    api.put(&path, newer).await.ok();
    let path = format!("{WIDGETS}/a");
    assert_eq!(api.post(WIDGETS, widget("b", json!({"replicas": 9}))).await.code, 422);
    let kept = api.patch(&path, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(kept.warnings(), ["299 - \"spec: Invalid value: failed rule: self.replicas < 5\""]);
    let refused = api.patch(&path, json!({"spec": {"replicas": 8}})).await;
    expect![[r#"422 Invalid: Widget.example.com "a" is invalid: spec: Invalid value: failed rule: self.replicas < 5"#]]
    .assert_eq(&refused.failure());
    api.patch(&path, json!({"spec": {"replicas": 4}})).await.ok();
    running.stop().await;
}

#[tokio::test]
async fn definitions_with_rules_that_cannot_be_are_refused() {
    let running = Running::new().await;
    let api = &running.api;
    let refused = async |rules: Value, expected: Expect| {
        let definition = definition(json!([version("v1", true, spec(rules))]));
        expected.assert_eq(&api.post(DEFINITIONS, definition).await.failure());
    };
    refused(
        json!([{"rule": "self.nope > 1"}]),
        expect![[r#"
            422 Invalid: CustomResourceDefinition.apiextensions.k8s.io "widgets.example.com" is invalid: spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {"rule":"self.nope > 1"}: compilation failed: ERROR: <input>:1:5: undefined field 'nope'
             | self.nope > 1
             | ....^"#]],
    )
    .await;
    refused(
        json!([{"rule": "self.ports.all(x, self.ports.all(y, x == y))"}]),
        expect![[r#"422 Invalid: CustomResourceDefinition.apiextensions.k8s.io "widgets.example.com" is invalid: [spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared), spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule & messageExpression cost total exceeding cost limit for entire OpenAPIv3 schema, spec.validation.openAPIV3Schema: Forbidden: estimated rule & messageExpression cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)]"#]],
    )
    .await;
    running.stop().await;
}
