//! Asks the webhooks that match a request: those that change objects one after the other, those
//! that only judge all at once.

use std::sync::Arc;

use futures::future::join_all;
use minik_api::admission::review::{self, Answer, Asked};
use minik_api::admission::{Hook, Matched, Objects, SideEffects};
use minik_api::{FieldValidation, apply, conform, default, patch};
use minik_meta::{Status, names, object};
use serde_json::{Value, json};
use tracing::warn;

use super::conditions;
use super::question::Question;
use crate::webhook;

/// Why a webhook did not let a request pass.
enum Refusal {
    /// It could not be asked: what happens then is in its configuration.
    Unasked(String),
    /// It, or what it said, makes the request fail.
    Failed(Status),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal::Failed(status)
    }
}

/// What is done again after a webhook changed an object: the plug-ins before the webhooks.
pub(super) type Again<'a> = &'a (dyn Fn(&mut Value) -> Result<(), Status> + Send + Sync);

/// Lets the webhooks change `object` (nothing for deletions).
pub(super) async fn mutate(
    question: &Question<'_>,
    hooks: &[Arc<Hook>],
    object: &mut Option<Value>,
    old: Option<&Value>,
    again: Again<'_>,
) -> Result<(), Status> {
    let owners = object.as_ref().map(|object| object["metadata"]["managedFields"].clone());
    let mut round =
        Round { number: 0, asked: vec![false; hooks.len()], due: vec![false; hooks.len()] };
    let mut changed = false;
    for (index, hook) in hooks.iter().enumerate() {
        changed |= round.ask(question, index, hook, object, old).await?;
    }
    if changed {
        round.number = 1;
        if let Some(object) = object {
            let before = object.clone();
            again(object)?;
            if *object != before {
                round.require();
            }
        }
        for (index, hook) in hooks.iter().enumerate() {
            if round.due[index] {
                round.ask(question, index, hook, object, old).await?;
            }
        }
    }
    if let (Some(object), Some(owners)) = (object, owners) {
        keep_valid_owners(question, object, owners);
    }
    Ok(())
}

/// Owners of fields that a webhook broke are what they were before.
fn keep_valid_owners(question: &Question<'_>, object: &mut Value, before: Value) {
    let entries = object::list(object, &["metadata", "managedFields"]);
    let Err(why) = apply::check_managers(entries) else { return };
    question.call.warn(format!(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by \
         an outdated mutating admission controller; please fix your requests: {why}"
    ));
    match before {
        Value::Null => {
            object::remove(object, &["metadata", "managedFields"]);
        }
        before => object::set(object, &["metadata", "managedFields"], before),
    }
}

/// Where the webhooks are asked once, and some of them again after others changed something.
struct Round {
    number: usize,
    /// Asked before, and wants to be asked again after changes.
    asked: Vec<bool>,
    /// To be asked again.
    due: Vec<bool>,
}

impl Round {
    /// Something changed: those who were asked before want to see it.
    fn require(&mut self) {
        for (asked, due) in self.asked.iter_mut().zip(&mut self.due) {
            *due |= std::mem::take(asked);
        }
    }

    /// Asks one webhook, if it wants to be. Returns whether it changed the object.
    async fn ask(
        &mut self,
        question: &Question<'_>,
        index: usize,
        hook: &Hook,
        object: &mut Option<Value>,
        old: Option<&Value>,
    ) -> Result<bool, Status> {
        let Some(matched) = wants(question, hook, Objects { new: object.as_ref(), old })? else {
            return Ok(false);
        };
        let place = format!("round_{}_index_{index}", self.number);
        let result = change(question, hook, &matched, object.as_ref(), old).await;
        let changed = match result {
            Ok(None) => false,
            Ok(Some(new)) => {
                let changed = object.as_ref() != Some(&new);
                *object = Some(new);
                changed
            }
            Err(refusal) => {
                pass_over(question, hook, &place, refusal)?;
                false
            }
        };
        let noted = json!({
            "configuration": hook.configuration, "webhook": hook.name, "mutated": changed,
        });
        let key = format!("mutation.webhook.admission.k8s.io/{place}");
        question.call.annotate(key, noted.to_string());
        if changed {
            self.require();
        }
        self.asked[index] |= hook.reinvoked;
        Ok(changed)
    }
}

/// Goes on without a webhook that could not be asked, if its configuration says so.
fn pass_over(
    question: &Question<'_>,
    hook: &Hook,
    place: &str,
    refusal: Refusal,
) -> Result<(), Status> {
    match refusal {
        Refusal::Unasked(why) if hook.ignores_failures => {
            warn!(webhook = hook.name, why, "a webhook could not be asked; going on without it");
            let kind = if hook.mutating { "mutating" } else { "validating" };
            let key = format!("failed-open.{kind}.webhook.admission.k8s.io/{place}");
            question.call.annotate(key, hook.name.clone());
            Ok(())
        }
        Refusal::Unasked(why) => Err(review::failed(&hook.name, &why)),
        Refusal::Failed(status) => Err(status),
    }
}

/// Whether a webhook is to be asked, and about which version of the object.
fn wants(
    question: &Question<'_>,
    hook: &Hook,
    objects: Objects<'_>,
) -> Result<Option<Matched>, Status> {
    let labels = || question.namespace_labels();
    let found = hook.wants(&question.attributes, objects, labels, || question.equivalents())?;
    let Some(found) = found else { return Ok(None) };
    match conditions::hold(hook, question, objects) {
        Ok(true) => Ok(Some(found)),
        Ok(false) => Ok(None),
        Err(why) if hook.ignores_failures => {
            warn!(webhook = hook.name, why, "conditions of a webhook failed; it is not asked");
            Ok(None)
        }
        Err(why) => Err(question.forbidden(why)),
    }
}

/// What a webhook makes of an object, if it changes it.
async fn change(
    question: &Question<'_>,
    hook: &Hook,
    matched: &Matched,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<Option<Value>, Refusal> {
    let shown = Shown::of(question, matched, Objects { new: object, old }).await?;
    let answer = ask(question, hook, matched, &shown).await?;
    let Some(mut new) = patched(hook, &answer, shown.new.as_ref())? else { return Ok(None) };
    if let Some(kind) = question.schema(&matched.kind) {
        conform(&kind, &mut new, FieldValidation::Ignore).map_err(Status::internal)?;
        default(&kind, &mut new);
    }
    Ok(Some(question.back(matched, new).await?))
}

/// The object after the answer's patch, if there is one.
fn patched(hook: &Hook, answer: &Answer, object: Option<&Value>) -> Result<Option<Value>, Refusal> {
    if answer.patch.is_empty() {
        return Ok(None);
    }
    let operations: Value = serde_json::from_slice(&answer.patch).map_err(Status::internal)?;
    if operations.as_array().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let Some(object) = object else {
        return Err(Refusal::Failed(Status::internal(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for \
             this operation",
            hook.name
        ))));
    };
    if answer.patch_type != "JSONPatch" {
        return Err(Refusal::Unasked(format!("unsupported patch type {:?}", answer.patch_type)));
    }
    let mut patched = object.clone();
    patch::json::apply(&mut patched, &operations).map_err(|status| {
        // What went wrong is in the cause; the message is for those who sent the patch.
        let cause = status.details.as_ref().and_then(|details| details.causes.first());
        Status::internal(cause.map_or(&status.message, |cause| &cause.message))
    })?;
    Ok(Some(patched))
}

/// The states of the object in the version that a webhook named.
struct Shown {
    new: Option<Value>,
    old: Option<Value>,
}

impl Shown {
    async fn of(
        question: &Question<'_>,
        matched: &Matched,
        objects: Objects<'_>,
    ) -> Result<Shown, Status> {
        let new = match objects.new {
            Some(object) => Some(question.shown(matched, object).await?),
            None => None,
        };
        let old = match objects.old {
            Some(object) => Some(question.shown(matched, object).await?),
            None => None,
        };
        Ok(Shown { new, old })
    }
}

/// Asks a webhook; the answer allows the request.
async fn ask(
    question: &Question<'_>,
    hook: &Hook,
    matched: &Matched,
    shown: &Shown,
) -> Result<Answer, Refusal> {
    if question.dry_run && hook.side_effects == SideEffects::Some {
        return Err(Refusal::Failed(review::no_dry_run(&hook.name)));
    }
    let Some(version) = hook.review_version else {
        return Err(Refusal::Unasked(
            "could not create admission objects: webhook does not accept known AdmissionReview \
             versions (v1, v1beta1)"
                .to_owned(),
        ));
    };
    let (call, uid, user) = (question.call, names::new_uid(), question.call.user.info());
    let asked = Asked {
        uid: &uid,
        version,
        matched,
        objects: Objects { new: shown.new.as_ref(), old: shown.old.as_ref() },
        user: &user,
        options: &question.options,
        dry_run: question.dry_run,
    };
    let request = review::request(&question.attributes, &asked);
    let timeout = call.time_left().map_or(hook.timeout, |left| left.min(hook.timeout));
    let answer = webhook::ask(&call.core, &hook.client, &request, timeout, true)
        .await
        .map_err(|error| Refusal::Unasked(format!("failed to call webhook: {error}")))?;
    let answer = review::answer(&answer, &asked, hook.mutating)
        .map_err(|why| Refusal::Unasked(format!("received invalid webhook response: {why}")))?;
    answer.warnings.iter().for_each(|text| call.warn(text.clone()));
    for (key, value) in &answer.annotations {
        call.annotate(format!("{}/{key}", hook.name), value.clone());
    }
    match answer.allowed {
        true => Ok(answer),
        false => Err(Refusal::Failed(review::denied(&hook.name, answer.result.as_ref()))),
    }
}

/// Asks all webhooks that judge, at the same time. The first of them that denies is heard.
pub(super) async fn validate(
    question: &Question<'_>,
    hooks: &[Arc<Hook>],
    objects: Objects<'_>,
) -> Result<(), Status> {
    let mut wanted = Vec::new();
    for (index, hook) in hooks.iter().enumerate() {
        if let Some(matched) = wants(question, hook, objects)? {
            wanted.push((index, hook, matched));
        }
    }
    let asking = wanted.iter().map(|(_, hook, matched)| async move {
        let shown = Shown::of(question, matched, objects).await?;
        ask(question, hook, matched, &shown).await
    });
    let answers = join_all(asking).await;
    for ((index, hook, _), answer) in wanted.iter().zip(answers) {
        if let Err(refusal) = answer {
            pass_over(question, hook, &format!("round_0_index_{index}"), refusal)?;
        }
    }
    Ok(())
}
