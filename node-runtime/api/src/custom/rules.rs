//! `x-kubernetes-validations`: rules in CEL, kept with the schema they belong to.
//!
//! This is the seam for their evaluation. A [`Rule`] holds all that a definition says about it;
//! `custom::check` has the place where rules are evaluated, with the new and the old object at
//! hand. Until something is put there they are not evaluated, and [`unevaluated`] makes whoever
//! writes a definition know.

use serde_json::{Map, Value};

use minik_meta::object;

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The expression.
    pub rule: Box<str>,
    /// What to say when it does not hold, may be empty.
    pub message: Box<str>,
    /// An expression that makes the message, may be empty.
    pub message_expression: Box<str>,
    /// `FieldValueInvalid` and the like, may be empty.
    pub reason: Box<str>,
    /// Which field the failure is about, relative to the rule's own, may be empty.
    pub field_path: Box<str>,
    /// Whether `oldSelf` is an optional, so that the rule holds for new objects, too.
    pub optional_old_self: bool,
}

impl Rule {
    /// The rules of a schema.
    pub(super) fn all(schema: &Map<String, Value>) -> Box<[Rule]> {
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        rules.into_iter().flatten().map(Rule::of).collect()
    }

    fn of(rule: &Value) -> Rule {
        let text = |key: &str| object::text(rule, &[key]).into();
        Rule {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old_self: object::boolean(rule, &["optionalOldSelf"]),
        }
    }
}

/// What to tell whoever writes a definition with rules.
pub(super) fn unevaluated(definition: &Value) -> Option<String> {
    fn count(schema: &Value) -> usize {
        match schema {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| match (key.as_str(), value) {
                    ("x-kubernetes-validations", Value::Array(rules)) => rules.len(),
                    // Values, not schemas.
                    ("default" | "example" | "enum", _) => 0,
                    (_, value) => count(value),
                })
                .sum(),
            Value::Array(list) => list.iter().map(count).sum(),
            _ => 0,
        }
    }
    let versions = object::list(definition, &["spec", "versions"]);
    let rules: usize = versions.iter().filter_map(|one| one.get("schema")).map(count).sum();
    (rules > 0).then(|| {
        "x-kubernetes-validations are kept but not evaluated yet: objects that break a rule of \
         this definition are accepted"
            .to_owned()
    })
}
