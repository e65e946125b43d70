//! Asks the validating policies: what they do not like is denied, warned about or noted.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use minik_api::admission::Objects;
use minik_cel::Value as Outcome;
use minik_cel::{Bindings, Budget};
use minik_meta::status::Cause;
use minik_meta::{Reason, Status};
use serde_json::json;

use super::policy::{Action, Binding, Compiled, Policy, Validation};
use super::{Invocation, Misconfigured, PolicyList, facts, invocations, is_excluded, namespace};
use crate::admission::expressions::{Failure, Rights};
use crate::admission::question::Question;

/// The longest message that an expression may make, in bytes.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
/// The longest value for the audit log, in bytes.
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;

/// A reason to deny a request.
struct Denial<'p> {
    policy: &'p Policy,
    binding: Option<&'p Binding>,
    message: String,
    /// Empty for the usual one.
    reason: String,
}

/// What an evaluation came to.
#[derive(Default)]
struct Findings {
    /// Messages and reasons of what was not so, with the place of its validation.
    wrong: Vec<(usize, String, String)>,
    /// Validations that could not be evaluated.
    failed: BTreeSet<usize>,
    /// Its conditions say that it is not about this request.
    skipped: bool,
    /// For the audit log.
    annotations: Vec<(String, String)>,
    /// Values for the audit log that could not be made.
    broken: Vec<String>,
}

/// Asks all of them; the first that denies is heard.
pub(in crate::admission) async fn validate(
    question: &Question<'_>,
    policies: &PolicyList,
    objects: Objects<'_>,
) -> Result<(), Status> {
    if is_excluded(&question.attributes) {
        return Ok(());
    }
    let mut denials: Vec<Denial<'_>> = Vec::new();
    for found in invocations(question, policies, objects).await {
        match found {
            Ok(invocation) => {
                denials.extend(ask(question, &invocation, objects).await?);
            }
            Err(Misconfigured { policy, binding, why }) if !policy.ignores_failures => {
                denials.push(Denial { policy, binding, message: why, reason: String::new() });
            }
            Err(_) => {}
        }
    }
    match denials.first() {
        None => Ok(()),
        Some(first) => Err(denied(question, objects, first)),
    }
}

/// What one policy says with one binding, for all its parameters.
async fn ask<'p>(
    question: &Question<'_>,
    invocation: &Invocation<'p>,
    objects: Objects<'_>,
) -> Result<Vec<Denial<'p>>, Status> {
    let Invocation { policy, binding, matched, params } = invocation;
    let (policy, binding): (&'p Policy, &'p Binding) = (policy, binding);
    let shown = question.show(matched, objects).await?;
    let namespace = namespace(question)?;
    let mut denials = Vec::new();
    for param in params {
        let shown = shown.objects();
        let facts = facts(question, policy, matched, shown, &namespace, param.as_ref());
        let rights = Rights(question.call);
        let began = Instant::now();
        let findings = evaluate(policy, facts.bindings(&rights));
        count(question, policy, binding, &findings, began.elapsed());
        for (index, message, reason) in findings.wrong {
            let told = Told { question, policy, binding, index, message: &message };
            if told.tell() {
                denials.push(Denial { policy, binding: Some(binding), message, reason });
            }
        }
        for message in findings.broken {
            let reason = String::new();
            denials.push(Denial { policy, binding: Some(binding), message, reason });
        }
        for (key, value) in findings.annotations {
            question.call.trail.annotate_more(format!("{}/{key}", policy.name), &value);
        }
    }
    Ok(denials)
}

/// Counts what came of the validations of a policy.
fn count(
    question: &Question<'_>,
    policy: &Policy,
    binding: &Binding,
    findings: &Findings,
    took: Duration,
) {
    if findings.skipped {
        return;
    }
    let metrics = &question.call.core.metrics;
    let all = policy.compiled().validations.len();
    let each = took / u32::try_from(all.max(1)).unwrap_or(u32::MAX);
    let wrong: BTreeSet<usize> = findings.wrong.iter().map(|(index, ..)| *index).collect();
    for index in 0..all.max(wrong.len()) {
        let failed = findings.failed.contains(&index);
        let noted = |action| metrics.validated(&policy.name, &binding.name, failed, action, each);
        if !wrong.contains(&index) {
            noted("allow");
            continue;
        }
        for action in &binding.actions {
            noted(match action {
                Action::Deny => "deny",
                Action::Warn => "warn",
                Action::Audit => "audit",
            });
        }
    }
}

/// Something that was not so, and whom to tell.
struct Told<'a> {
    question: &'a Question<'a>,
    policy: &'a Policy,
    binding: &'a Binding,
    index: usize,
    message: &'a str,
}

impl Told<'_> {
    /// Warns and notes, as the binding says; returns whether it is to be denied.
    fn tell(&self) -> bool {
        let Told { question, policy, binding, index, message } = self;
        let call = question.call;
        if binding.actions.contains(&Action::Warn) {
            call.warn(format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                policy.name, binding.name
            ));
        }
        if binding.actions.contains(&Action::Audit) {
            let actions: Vec<&str> = binding
                .actions
                .iter()
                .map(|action| match action {
                    Action::Deny => "Deny",
                    Action::Warn => "Warn",
                    Action::Audit => "Audit",
                })
                .collect();
            let noted = json!([{
                "message": message, "policy": policy.name, "binding": binding.name,
                "expressionIndex": index, "validationActions": actions,
            }]);
            let key = "validation.policy.admission.k8s.io/validation_failure".to_owned();
            call.trail.annotate(key, noted.to_string());
        }
        binding.actions.contains(&Action::Deny)
    }
}

/// 422 or what the validation's reason says, in the words of upstream.
fn denied(question: &Question<'_>, objects: Objects<'_>, denial: &Denial<'_>) -> Status {
    let Denial { policy, binding, message, reason } = denial;
    let with = binding.map_or_else(String::new, |one| format!(" with binding '{}'", one.name));
    let why =
        format!("ValidatingAdmissionPolicy '{}'{with} denied request: {message}", policy.name);
    let mut status = question.forbidden(objects, &why);
    status.reason = match reason.as_str() {
        "Forbidden" => Reason::Forbidden,
        "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
        _ => Reason::Invalid,
    };
    status.code = status.reason.code();
    let cause = Cause { message: why, ..Cause::default() };
    status.details.get_or_insert_default().causes.push(cause);
    status
}

/// Evaluates all that a policy has to say. Pure, but for rights.
fn evaluate<'a>(policy: &'a Policy, bindings: Bindings<'a>) -> Findings {
    let compiled = policy.compiled();
    let bindings = compiled.compose(bindings);
    let mut findings = Findings::default();
    let failed = |index: usize, why: String| (index, why, String::new());
    match compiled.conditions.hold(&bindings) {
        Ok(true) => {}
        Ok(false) => {
            findings.skipped = true;
            return findings;
        }
        Err(why) => {
            if !policy.ignores_failures {
                findings.failed.insert(0);
                findings.wrong.push(failed(0, why));
            }
            return findings;
        }
    }
    let mut budget = Budget::per_request();
    for (index, validation) in compiled.validations.iter().enumerate() {
        match validation.expression.evaluate(&bindings, &mut budget) {
            Ok(value) if value.as_bool() == Some(true) => {}
            Ok(_) => {
                let message = message(validation, &bindings, &mut budget);
                findings.wrong.push((index, message, validation.reason.clone()));
            }
            Err(_) if policy.ignores_failures => {
                findings.failed.insert(index);
            }
            Err(Failure::Budget(why)) => {
                findings.failed.insert(index);
                findings.wrong.push(failed(index, why));
                break;
            }
            Err(Failure::Expression(why)) => {
                findings.failed.insert(index);
                findings.wrong.push(failed(index, why));
            }
        }
    }
    annotate(policy, compiled, &bindings, &mut findings);
    findings
}

/// What is said of something that is not so: what an expression makes, else what is written, else
/// the expression itself.
fn message(validation: &Validation, bindings: &Bindings<'_>, budget: &mut Budget) -> String {
    let made = validation.message_expression.as_ref().and_then(|expression| {
        let value = expression.evaluate(bindings, budget).ok()?;
        let text = value.as_str()?.trim().to_owned();
        let usable = !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n');
        usable.then_some(text)
    });
    let written = || Some(validation.message.clone()).filter(|text| !text.is_empty());
    made.or_else(written)
        .unwrap_or_else(|| format!("failed expression: {}", validation.expression.text.trim()))
}

/// Makes the values for the audit log.
fn annotate(
    policy: &Policy,
    compiled: &Compiled,
    bindings: &Bindings<'_>,
    findings: &mut Findings,
) {
    let mut budget = Budget::per_request();
    for (key, expression) in &compiled.annotations {
        match expression.evaluate(bindings, &mut budget) {
            Ok(Outcome::Null) => {}
            Ok(value) => match value.as_str() {
                Some(text) => {
                    let mut text = text.trim().to_owned();
                    let end = (0..=ANNOTATION_BYTES_MAX.min(text.len()))
                        .rev()
                        .find(|end| text.is_char_boundary(*end));
                    text.truncate(end.unwrap_or(0));
                    if !text.is_empty() {
                        findings.annotations.push((key.clone(), text));
                    }
                }
                None if policy.ignores_failures => {}
                None => findings.broken.push(format!(
                    "valueExpression '{}' resulted in unsupported return type: {}. Return type \
                     must be either string or null.",
                    expression.text,
                    value.type_name()
                )),
            },
            Err(_) if policy.ignores_failures => {}
            Err(failure) => findings.broken.push(failure.into_message()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::expressions::Facts;
    use expect_test::{Expect, expect};
    use serde_json::Value;

    fn check(spec: Value, object: Value, expected: Expect) {
        let policy = Policy::parse(&json!({"metadata": {"name": "p"}, "spec": spec}));
        let mut facts = Facts::default();
        facts.object = object;
        let findings = evaluate(&policy, facts.plain_bindings());
        let lines: Vec<String> = findings
            .wrong
            .iter()
            .map(|(index, message, reason)| format!("{index} {reason}: {message}"))
            .chain(findings.annotations.iter().map(|(key, value)| format!("{key}={value}")))
            .chain(findings.broken.iter().map(|why| format!("broken {why}")))
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn validations_and_their_messages() {
        let object = json!({"spec": {"replicas": 7}});
        check(
            json!({
                "variables": [{"name": "n", "expression": "object.spec.replicas"}],
                "validations": [
                    {"expression": "variables.n < 10"},
                    {"expression": "variables.n < 5"},
                    {"expression": "variables.n < 5", "message": " too many ", "reason": "Forbidden"},
                    {"expression": "variables.n < 5", "message": "m", "messageExpression": "'have ' + string(variables.n)"},
                    {"expression": "variables.n < 5", "message": "m", "messageExpression": "string(object.absent)"},
                    {"expression": "object.absent == 1"},
                ],
                "auditAnnotations": [
                    {"key": "a", "valueExpression": "'n is ' + string(variables.n)"},
                    {"key": "b", "valueExpression": "null"},
                    {"key": "c", "valueExpression": "string(object.absent)"},
                ],
            }),
            object.clone(),
            expect![[r#"
                1 : failed expression: variables.n < 5
                2 Forbidden: too many
                3 : have 7
                4 : m
                5 : expression 'object.absent == 1' resulted in error: no such key: absent
                a=n is 7
                broken expression 'string(object.absent)' resulted in error: no such key: absent"#]],
        );
        let ignoring = json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.absent == 1"}, {"expression": "false"}]});
        check(ignoring, object.clone(), expect!["1 : failed expression: false"]);
        let conditional = json!({
            "matchConditions": [{"name": "few", "expression": "object.spec.replicas < 5"}, {"name": "broken", "expression": "object.absent"}],
            "validations": [{"expression": "false"}],
        });
        check(conditional, object.clone(), expect![""]);
        let broken = json!({
            "matchConditions": [{"name": "broken", "expression": "object.absent == 1"}],
            "validations": [{"expression": "false"}],
        });
        check(
            broken,
            object,
            expect!["0 : expression 'object.absent == 1' resulted in error: no such key: absent"],
        );
    }
}
