//! Admission policies: expressions in the cluster that judge or change what is written.
//!
//! `registry` follows policies and their bindings, `policy` is one with its expressions, `params`
//! finds what a binding gives it, `validating` and `mutating` ask them, `check` judges those that
//! are written, `type_check` tells what does not fit the kinds they are about.

pub(crate) mod check;
pub(super) mod mutating;
mod params;
mod policy;
pub(crate) mod registry;
pub(crate) mod type_check;
pub(super) mod validating;

use minik_api::admission::{Attributes, Matched, Objects};
use minik_meta::{GroupVersionKind, Status};
use serde_json::Value;

use super::expressions::{Facts, namespace_facts};
use super::question::Question;
use policy::{Binding, Policy};

pub(super) use registry::PolicyList;

/// Kinds that policies are not asked about: they are never stored, and a cluster that cannot
/// answer them cannot be repaired.
fn is_excluded(attributes: &Attributes) -> bool {
    attributes.is_exempt()
        || matches!(
            (attributes.resource.group.as_str(), attributes.resource.resource.as_str()),
            ("authentication.k8s.io", "selfsubjectreviews" | "tokenreviews")
                | (
                    "authorization.k8s.io",
                    "localsubjectaccessreviews"
                        | "selfsubjectaccessreviews"
                        | "selfsubjectrulesreviews"
                        | "subjectaccessreviews"
                )
        )
}

/// One policy, as one binding applies it to a request.
struct Invocation<'p> {
    policy: &'p Policy,
    binding: &'p Binding,
    matched: Matched,
    /// What the binding gives it; several parameters are several evaluations.
    params: Vec<Option<Value>>,
}

/// What keeps a policy, or one binding of it, from being asked.
struct Misconfigured<'p> {
    policy: &'p Policy,
    binding: Option<&'p Binding>,
    why: String,
}

/// The policies that match a request, with what they are given, in order.
async fn invocations<'p>(
    question: &Question<'_>,
    policies: &'p PolicyList,
    objects: Objects<'_>,
) -> Vec<Result<Invocation<'p>, Misconfigured<'p>>> {
    let mut found = Vec::new();
    for (policy, bindings) in policies.iter() {
        let matched = match matches(question, &policy.constraints, objects) {
            Ok(Some(matched)) => matched,
            Ok(None) => continue,
            Err(status) => {
                let why = format!("failed to configure policy: {}", status.message);
                found.push(Err(Misconfigured { policy, binding: None, why }));
                continue;
            }
        };
        let kind = match params::kind(question, policy) {
            Ok(kind) => kind,
            Err(why) => {
                let why = format!("failed to configure policy: {why}");
                found.push(Err(Misconfigured { policy, binding: None, why }));
                continue;
            }
        };
        for binding in bindings.iter() {
            let failed = |why: String| {
                let why = format!("failed to configure binding: {why}");
                Misconfigured { policy, binding: Some(binding), why }
            };
            match matches(question, &binding.constraints, objects) {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                Err(status) => {
                    found.push(Err(failed(status.message)));
                    continue;
                }
            }
            let matched = matched.clone();
            let params = params::collect(question, kind.as_ref(), binding).await;
            found.push(match params {
                Ok(params) => Ok(Invocation { policy, binding, matched, params }),
                Err(why) => Err(failed(why)),
            });
        }
    }
    found
}

fn matches(
    question: &Question<'_>,
    constraints: &minik_api::admission::Constraints,
    objects: Objects<'_>,
) -> Result<Option<Matched>, Status> {
    let labels = || question.namespace_labels();
    constraints.matches(&question.attributes, objects, labels, || question.equivalents())
}

/// What of the request's namespace expressions may see; null for cluster-scoped objects.
fn namespace(question: &Question<'_>) -> Result<Value, Status> {
    let attributes = &question.attributes;
    let itself = attributes.kind == GroupVersionKind::new("", "v1", "Namespace");
    if itself || attributes.namespace.is_empty() {
        return Ok(Value::Null);
    }
    question.namespace_object().map(|namespace| namespace_facts(&namespace))
}

/// The facts of an invocation with one of its parameters.
fn facts(
    question: &Question<'_>,
    policy: &Policy,
    matched: &Matched,
    objects: Objects<'_>,
    namespace: &Value,
    param: Option<&Value>,
) -> Facts {
    let mut facts = Facts::of(question, matched, objects);
    facts.namespace = namespace.clone();
    facts.params = policy.param_kind.as_ref().map(|_| param.cloned().unwrap_or_default());
    facts
}
