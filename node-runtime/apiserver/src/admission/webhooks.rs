//! Asks the webhooks that match a request: those that change objects one after the other, those
//! that only judge all at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use minik_api::admission::review::{self, Answer};
use minik_api::admission::{Hook, Matched, Objects, SideEffects};
use minik_api::patch;
use minik_meta::{Status, names};
use serde_json::{Value, json};
use tracing::warn;

use super::expressions::{Facts, Rights};
use super::hooks::{Asked, HookList};
use super::question::{Question, Shown};
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

/// The webhooks that may change an object, while a request is asked about.
pub(super) struct Changers {
    pub(super) hooks: HookList,
    /// Asked before, and wants to be asked again after changes.
    asked: Vec<bool>,
    /// To be asked again.
    due: Vec<bool>,
}

impl Changers {
    pub(super) fn new(hooks: HookList) -> Changers {
        let count = hooks.len();
        Changers { hooks, asked: vec![false; count], due: vec![false; count] }
    }

    /// Something changed: those who were asked before want to see it.
    pub(super) fn require(&mut self) {
        for (asked, due) in self.asked.iter_mut().zip(&mut self.due) {
            *due |= std::mem::take(asked);
        }
    }

    /// Asks all in the first round, and those who are due in the second. Returns whether one of
    /// them changed the object.
    pub(super) async fn run(
        &mut self,
        question: &Question<'_>,
        round: usize,
        object: &mut Option<Value>,
        old: Option<&Value>,
    ) -> Result<bool, Status> {
        let hooks = Arc::clone(&self.hooks);
        let mut changed = false;
        for (index, hook) in hooks.iter().enumerate() {
            if round > 0 && !self.due[index] {
                continue;
            }
            let Some(matched) =
                wants(question, hook, Objects { new: object.as_ref(), old }).await?
            else {
                continue;
            };
            if self.ask(question, (round, index), hook, &matched, object, old).await? {
                self.require();
                changed = true;
            }
            self.asked[index] |= hook.reinvoked;
        }
        Ok(changed)
    }

    /// Asks one webhook. Returns whether it changed the object.
    async fn ask(
        &mut self,
        question: &Question<'_>,
        (round, index): (usize, usize),
        hook: &Hook,
        matched: &Matched,
        object: &mut Option<Value>,
        old: Option<&Value>,
    ) -> Result<bool, Status> {
        let place = format!("round_{round}_index_{index}");
        let result = change(question, hook, matched, object.as_ref(), old).await;
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
        question.call.trail.annotate(key, noted.to_string());
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
            question.call.trail.annotate(key, hook.name.clone());
            Ok(())
        }
        Refusal::Unasked(why) => Err(review::failed(&hook.name, &why)),
        Refusal::Failed(status) => Err(status),
    }
}

/// Whether a webhook is to be asked, and about which version of the object.
async fn wants(
    question: &Question<'_>,
    hook: &Asked,
    objects: Objects<'_>,
) -> Result<Option<Matched>, Status> {
    let labels = || question.namespace_labels();
    let found = hook.wants(&question.attributes, objects, labels, || question.equivalents())?;
    let Some(found) = found else { return Ok(None) };
    if hook.hook.conditions.is_empty() {
        return Ok(Some(found));
    }
    let shown = question.show(&found, objects).await?;
    match holds(question, hook, &found, shown.objects()) {
        Ok(true) => Ok(Some(found)),
        Ok(false) => Ok(None),
        Err(why) if hook.ignores_failures => {
            warn!(webhook = hook.name, why, "conditions of a webhook failed; it is not asked");
            Ok(None)
        }
        Err(why) => Err(question.forbidden(objects, why)),
    }
}

/// Whether the conditions of a webhook hold.
fn holds(
    question: &Question<'_>,
    hook: &Asked,
    matched: &Matched,
    objects: Objects<'_>,
) -> Result<bool, String> {
    let facts = Facts::of(question, matched, objects);
    let rights = Rights(question.call);
    hook.conditions().hold(&facts.bindings(&rights))
}

/// What a webhook makes of an object, if it changes it.
async fn change(
    question: &Question<'_>,
    hook: &Hook,
    matched: &Matched,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<Option<Value>, Refusal> {
    let shown = question.show(matched, Objects { new: object, old }).await?;
    let answer = ask(question, hook, matched, &shown).await?;
    let Some(mut new) = patched(hook, &answer, shown.new.as_ref())? else { return Ok(None) };
    question.complete(matched, &mut new)?;
    Ok(Some(question.back(matched, new).await?))
}

/// The object after the answer's patch, if there is one.
fn patched(hook: &Hook, answer: &Answer, object: Option<&Value>) -> Result<Option<Value>, Refusal> {
    if answer.patch.is_empty() {
        return Ok(None);
    }
    let operations: Vec<Value> = serde_json::from_slice(&answer.patch).map_err(Status::internal)?;
    if operations.is_empty() {
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
    patch::json::run(&mut patched, &operations).map_err(Status::internal)?;
    Ok(Some(patched))
}

/// Asks a webhook; the answer allows the request.
async fn ask(
    question: &Question<'_>,
    hook: &Hook,
    matched: &Matched,
    shown: &Shown,
) -> Result<Answer, Refusal> {
    let began = Instant::now();
    let answer = ask_once(question, hook, matched, shown).await;
    note(question, hook, &answer, began.elapsed());
    answer
}

/// Counts how a webhook answered.
fn note(question: &Question<'_>, hook: &Hook, answer: &Result<Answer, Refusal>, took: Duration) {
    let metrics = &question.call.core.metrics;
    let (name, operation) = (&hook.name, question.attributes.operation.as_str());
    let kind = if hook.mutating { "admit" } else { "validating" };
    let rejected = match answer {
        Ok(_) => None,
        Err(Refusal::Unasked(_)) if hook.ignores_failures => {
            metrics.webhook_passed_over(name, kind);
            None
        }
        Err(Refusal::Unasked(_)) => Some(("calling_webhook_error", 500)),
        Err(Refusal::Failed(status)) => Some(("no_error", status.code)),
    };
    metrics.webhook(name, kind, operation, rejected.is_some(), took);
    if let Some((error, code)) = rejected {
        metrics.webhook_rejected(name, kind, operation, error, code);
    }
}

async fn ask_once(
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
    let asked = review::Asked {
        uid: &uid,
        version,
        matched,
        objects: shown.objects(),
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
        call.trail.annotate(format!("{}/{key}", hook.name), value.clone());
    }
    match answer.allowed {
        true => Ok(answer),
        false => Err(Refusal::Failed(review::denied(&hook.name, answer.result.as_ref()))),
    }
}

/// Asks all webhooks that judge, at the same time. The first of them that denies is heard.
pub(super) async fn validate(
    question: &Question<'_>,
    hooks: &[Arc<Asked>],
    objects: Objects<'_>,
) -> Result<(), Status> {
    let mut wanted = Vec::new();
    for (index, hook) in hooks.iter().enumerate() {
        if let Some(matched) = wants(question, hook, objects).await? {
            wanted.push((index, hook, matched));
        }
    }
    let asking = wanted.iter().map(|(_, hook, matched)| async move {
        let shown = question.show(matched, objects).await?;
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
