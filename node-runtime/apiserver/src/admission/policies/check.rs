//! Judges the expressions of policies and webhooks when they are written.

use minik_api::Resource;
use minik_meta::{FieldError, Path, object};
use serde_json::Value;

use super::policy::mistakes;
use crate::admission::expressions::{Conditions, environment};

const GROUP: &str = "admissionregistration.k8s.io";

/// What is wrong with the expressions of an object. Those that are stored already may stay.
pub(crate) fn check(kind: &Resource, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    if kind.group != GROUP {
        return Vec::new();
    }
    match kind.kind.as_ref() {
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
            if old.is_some_and(|old| old["spec"] == new["spec"]) {
                return Vec::new();
            }
            let found = mistakes(&new["spec"]).into_iter();
            found.map(|(at, text, why)| FieldError::invalid(&Path::new(at), text, why)).collect()
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => webhooks(new, old),
        _ => Vec::new(),
    }
}

fn webhooks(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let kept: Vec<&str> = old.into_iter().flat_map(conditions).map(|(_, text)| text).collect();
    let mut errors = Vec::new();
    for (at, text) in conditions(new) {
        if kept.contains(&text) || text.trim().is_empty() {
            continue;
        }
        let compiled = Conditions::compile(&environment(false), [text]);
        for expression in compiled.0 {
            if let Err(why) = expression.program {
                errors.push(FieldError::invalid(&Path::new(at.clone()), text, why));
            }
        }
    }
    errors
}

/// The conditions of all webhooks, with their places.
fn conditions(configuration: &Value) -> impl Iterator<Item = (String, &str)> {
    let webhooks = object::list(configuration, &["webhooks"]).iter().enumerate();
    webhooks.flat_map(|(hook, webhook)| {
        let conditions = object::list(webhook, &["matchConditions"]).iter().enumerate();
        conditions.map(move |(index, condition)| {
            let at = format!("webhooks[{hook}].matchConditions[{index}].expression");
            (at, object::text(condition, &["expression"]))
        })
    })
}
