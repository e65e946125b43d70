//! Lets the mutating policies change an object, one after the other.

use minik_api::admission::Objects;
use minik_api::patch::json::Mistake;
use minik_api::{apply, patch};
use minik_cel::Budget;
use minik_meta::status::Cause;
use minik_meta::{Reason, Status, gvk, object};
use serde_json::Value;

use super::policy::{Binding, Mutation, Policy};
use super::{Invocation, Misconfigured, PolicyList, facts, invocations, is_excluded, namespace};
use crate::admission::expressions::{Facts, Rights};
use crate::admission::question::{Question, Shown};

/// What is known of an invocation by: policy, binding and parameter.
type Key = (String, String, String);

/// The policies, while a request is asked about.
pub(in crate::admission) struct Mutators {
    policies: Option<PolicyList>,
    /// Asked before, and want to be asked again after changes.
    asked: Vec<Key>,
    /// To be asked again.
    due: Vec<Key>,
}

/// Why a request is refused.
struct Refusal<'p> {
    policy: &'p Policy,
    binding: Option<&'p Binding>,
    why: String,
    is_invalid: bool,
}

impl Mutators {
    pub(in crate::admission) fn new(policies: Option<PolicyList>) -> Mutators {
        Mutators { policies, asked: Vec::new(), due: Vec::new() }
    }

    /// Something changed: those who were asked before want to see it.
    pub(in crate::admission) fn require(&mut self) {
        self.due.append(&mut self.asked);
    }

    /// Asks all in the first round, and those who are due in the second. Returns whether one of
    /// them changed the object.
    pub(in crate::admission) async fn run(
        &mut self,
        question: &Question<'_>,
        round: usize,
        object: &mut Option<Value>,
        old: Option<&Value>,
    ) -> Result<bool, Status> {
        let Some(policies) = self.policies.clone() else { return Ok(false) };
        if is_excluded(&question.attributes) || object.is_none() {
            return Ok(false);
        }
        let given = object.clone();
        let objects = Objects { new: given.as_ref(), old };
        let mut refusals = Vec::new();
        let mut changed = false;
        for found in invocations(question, &policies, objects).await {
            match found {
                Ok(invocation) => {
                    changed |= self
                        .invoke(question, round, &invocation, object, old, &mut refusals)
                        .await?;
                }
                Err(Misconfigured { policy, binding, why }) => {
                    refusals.push(Refusal { policy, binding, why, is_invalid: false });
                }
            }
        }
        refusals.retain(|one| !one.policy.ignores_failures);
        match refusals.is_empty() {
            true => Ok(changed),
            false => Err(refused(question, objects, &refusals)),
        }
    }

    /// One policy with one binding, for all its parameters.
    async fn invoke<'p>(
        &mut self,
        question: &Question<'_>,
        round: usize,
        invocation: &Invocation<'p>,
        object: &mut Option<Value>,
        old: Option<&Value>,
        refusals: &mut Vec<Refusal<'p>>,
    ) -> Result<bool, Status> {
        let Invocation { policy, binding, matched, params } = invocation;
        let (policy, binding): (&'p Policy, &'p Binding) = (policy, binding);
        let namespace = namespace(question)?;
        let mut changed = false;
        for param in params {
            let param_name = param.as_ref().map_or_else(String::new, |param| {
                format!("{}/{}", object::namespace(param), object::name(param))
            });
            let key = (policy.name.clone(), binding.name.clone(), param_name);
            if round > 0 && !self.due.contains(&key) {
                continue;
            }
            let given = Objects { new: object.as_ref(), old };
            let mut shown = question.show(matched, given).await?;
            let facts_of = |shown: &Shown| {
                facts(question, policy, matched, shown.objects(), &namespace, param.as_ref())
            };
            let mut outcome = conditions(question, policy, &facts_of(&shown));
            let mut new = None;
            if let Ok(true) = outcome {
                for mutation in &policy.compiled().mutations {
                    let facts = facts_of(&shown);
                    match step(question, policy, mutation, &facts, matched) {
                        Ok(Some(mut stepped)) => {
                            question.complete(matched, &mut stepped)?;
                            shown.new = Some(stepped.clone());
                            new = Some(stepped);
                        }
                        Ok(None) => {}
                        Err(why) => outcome = Err(why),
                    }
                }
            }
            match outcome {
                Ok(false) => continue,
                Ok(true) => {}
                Err(why) => {
                    let binding = Some(binding);
                    refusals.push(Refusal { policy, binding, why, is_invalid: true });
                }
            }
            if let Some(new) = new {
                let new = Some(question.back(matched, new).await?);
                if *object != new {
                    *object = new;
                    changed = true;
                    self.require();
                }
            }
            if policy.reinvoked {
                self.asked.push(key);
            }
        }
        Ok(changed)
    }
}

fn conditions(question: &Question<'_>, policy: &Policy, facts: &Facts) -> Result<bool, String> {
    let rights = Rights(question.call);
    let compiled = policy.compiled();
    compiled.conditions.hold(&compiled.compose(facts.bindings(&rights)))
}

/// What one mutation makes of the object; nothing if a test in it fails.
fn step(
    question: &Question<'_>,
    policy: &Policy,
    mutation: &Mutation,
    facts: &Facts,
    matched: &minik_api::admission::Matched,
) -> Result<Option<Value>, String> {
    let rights = Rights(question.call);
    let bindings = policy.compiled().compose(facts.bindings(&rights));
    let mut budget = Budget::per_request();
    let value = mutation.expression().evaluate(&bindings, &mut budget);
    let mut made = value.map_err(|failure| failure.into_message())?.to_json()?;
    match mutation {
        Mutation::Apply(_) => {
            let kind = question.schema(&matched.kind);
            let kind = kind.ok_or_else(|| format!("Resource kind {} not found", matched.kind))?;
            let version = gvk::api_version(&matched.kind.group, &matched.kind.version);
            object::set(&mut made, &["apiVersion"], version);
            object::set(&mut made, &["kind"], matched.kind.kind.clone());
            apply::overlay(&kind, &facts.object, &made)
                .map(Some)
                .map_err(|why| format!("error applying patch: {why}"))
        }
        Mutation::JsonPatch(_) => {
            let mut patched = facts.object.clone();
            let operations = made.as_array().map_or(&[][..], Vec::as_slice);
            match patch::json::run(&mut patched, operations) {
                Ok(()) => Ok(Some(patched)),
                // Whose test fails wants nothing changed.
                Err(Mistake::Test(_)) => Ok(None),
                Err(Mistake::Other(why)) => Err(format!("JSONPath: {why}")),
            }
        }
    }
}

/// 403 in the words of the first that refuses, with all of them as causes.
fn refused(question: &Question<'_>, objects: Objects<'_>, refusals: &[Refusal<'_>]) -> Status {
    let mut status = question.forbidden(objects, "admission request denied by policy");
    for (index, Refusal { policy, binding, why, is_invalid }) in refusals.iter().enumerate() {
        let name = &policy.name;
        let message = match binding {
            Some(binding) => {
                format!("policy '{name}' with binding '{}' denied request: {why}", binding.name)
            }
            None => format!("policy {name:?} denied request: {why}"),
        };
        if index == 0 {
            status.message.clone_from(&message);
            if *is_invalid {
                status.reason = Reason::Invalid;
            }
        }
        let cause = Cause { message, ..Cause::default() };
        status.details.get_or_insert_default().causes.push(cause);
    }
    status
}
