//! StatefulSet: pods with names and volumes of their own, made and replaced in order.
//!
//! [`identity`] says what makes the pod of an ordinal, [`plan`] what the next step is: one at a
//! time, each waiting for the one before, unless the set says that all may go at once.

mod identity;
mod plan;
mod volumes;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use minik_client::{ApiErrorExt, Level, said};
use minik_reconcile::{
    Cache, Change, ChangeError, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue, apply_each,
    labels,
};

use crate::history;
use crate::pod_control::PodControl;
use crate::stateful_set::identity::{HASH, is_member};
use crate::stateful_set::plan::{Plan, Revisions, plan};
use crate::wiring::{
    Running, Wiring, enqueue_adopters, enqueue_controller, enqueue_each, name_of, now,
};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "statefulset-controller";

/// Revisions kept when the set does not say how many.
const HISTORY_LIMIT_DEFAULT: i32 = 10;

#[derive(Clone)]
struct Context {
    control: PodControl,
    sets: Cache<StatefulSet>,
    claims: Cache<PersistentVolumeClaim>,
    revisions: Cache<ControllerRevision>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        control: wiring.pod_control(NAME),
        sets: wiring.caches.watch(),
        claims: wiring.caches.watch(),
        revisions: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.sets, &queue);
    enqueue_controller(&context.control.pods, "StatefulSet", &queue);
    enqueue_controller(&context.revisions, "StatefulSet", &queue);
    enqueue_adopters(&context.control.pods, &context.sets, &queue, |set, pod| {
        labels::selects(&spec(set).selector, pod.metadata.labels.as_ref()) && is_member(set, pod)
    });
    wiring.work(NAME, queue, context, reconcile)
}

fn spec(set: &StatefulSet) -> &StatefulSetSpec {
    static NONE: std::sync::LazyLock<StatefulSetSpec> =
        std::sync::LazyLock::new(StatefulSetSpec::default);
    set.spec.as_ref().unwrap_or(&NONE)
}

/// Reconciles one StatefulSet.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(set) = ctx.sets.get(&key) else { return Ok(Requeue::WhenChanged) };
    if labels::is_empty(&spec(&set).selector) {
        return Ok(Requeue::WhenChanged);
    }
    let is_member = |pod: &Pod| is_member(&set, pod);
    ctx.control.claim(&*set, &spec(&set).selector, is_member).await?;
    let Some(revisions) = revisions(&ctx, &set).await? else { return Ok(Requeue::WhenChanged) };
    let plan = plan(&set, &ctx.control.owned_by(&*set), &revisions, now());
    let requeue = plan.requeue;
    let failure = carry_out(&ctx, &set, &plan).await?;

    let claims = volumes::owners(&set, &ctx.claims, &ctx.control.owned_by(&*set));
    apply_each(&ctx.control.client, &claims).await?;
    if set.status.as_ref() != Some(&plan.status) {
        let mut written = (*set).clone();
        written.status = Some(plan.status);
        match Change::ReplaceStatus(Box::new(written)).apply(&ctx.control.client).await {
            Err(gone) if gone.error.is_not_found() => return Ok(Requeue::WhenChanged),
            answer => ctx.sets.caught_up(&answer?.unwrap_or_default()).await?,
        }
    }
    forget_revisions(&ctx, &set, &revisions).await?;
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(requeue),
    }
}

/// The revision of the template as it is now, and the one that pods are being moved from.
async fn revisions(ctx: &Context, set: &StatefulSet) -> Result<Option<Revisions>, ReconcileError> {
    let there = ctx.revisions.owned_by(set.uid_str());
    let status = set.status.clone().unwrap_or_default();
    let collisions = status.collision_count.unwrap_or(0);
    let update = history::current(set, &spec(set).template, HASH, collisions, &there);
    if let Some(change) = update.change.filter(|_| !set.is_terminating()) {
        match change.apply(&ctx.control.client).await {
            Ok(Some(written)) => ctx.revisions.caught_up(&written).await?,
            Ok(None) => {}
            Err(refused) if refused.error.is_namespace_terminating() => return Ok(None),
            Err(refused) if refused.error.is_already_exists() => {
                let mut written = set.clone();
                written.status.get_or_insert_default().collision_count = Some(collisions + 1);
                Change::ReplaceStatus(Box::new(written)).apply(&ctx.control.client).await?;
                return Err(refused.into());
            }
            Err(refused) => return Err(refused.into()),
        }
    }
    let named = |name: &str| there.iter().find(|one| one.metadata.name.as_deref() == Some(name));
    let current = status.current_revision.as_deref().and_then(named);
    let current = current.map_or_else(|| update.revision.clone(), |one| (**one).clone());
    Ok(Some(Revisions { current, update: update.revision }))
}

async fn forget_revisions(
    ctx: &Context,
    set: &StatefulSet,
    revisions: &Revisions,
) -> Result<(), ReconcileError> {
    let there = ctx.revisions.owned_by(set.uid_str());
    let pods = ctx.control.owned_by(set);
    let in_use = |revision: &ControllerRevision| {
        let name = name_of(revision);
        name == name_of(&revisions.current)
            || name == name_of(&revisions.update)
            || pods.iter().any(|pod| pod.label(history::HASH) == Some(name))
    };
    let limit = spec(set).revision_history_limit.unwrap_or(HISTORY_LIMIT_DEFAULT);
    for change in history::outdated(&there, &in_use, limit) {
        change.apply(&ctx.control.client).await?;
    }
    Ok(())
}

/// Writes what the plan asks for, in its order, until the API refuses something; that is returned.
async fn carry_out(
    ctx: &Context,
    set: &StatefulSet,
    plan: &Plan,
) -> Result<Option<ChangeError>, ReconcileError> {
    for change in &plan.pods {
        let answer = match change {
            Change::Create(pod) => {
                match volumes::make(&ctx.control.client, &ctx.claims, set, pod).await {
                    Ok(()) => change.apply(&ctx.control.client).await,
                    Err(refused) => Err(refused),
                }
            }
            _ => change.apply(&ctx.control.client).await,
        };
        match answer {
            Ok(written) => {
                note(ctx, set, change);
                if let Some(pod) = written {
                    ctx.control.pods.caught_up(&pod).await?;
                }
            }
            Err(refused) if refused.error.is_namespace_terminating() => return Ok(None),
            Err(refused) if refused.error.is_already_exists() => return Ok(Some(refused)),
            Err(refused) => {
                let message = format!("{} failed error: {}", refused.what, said(&refused.error));
                ctx.control.events.record(set, Level::Warning, "FailedCreate", message);
                return Ok(Some(refused));
            }
        }
    }
    Ok(None)
}

fn note(ctx: &Context, set: &StatefulSet, change: &Change<Pod>) {
    let owner = name_of(set);
    let (reason, message) = match change {
        Change::Create(pod) => {
            let pod = name_of(&**pod);
            let text = format!("create Pod {pod} in StatefulSet {owner} successful");
            ("SuccessfulCreate", text)
        }
        Change::Delete { key, .. } => {
            let text = format!("delete Pod {} in StatefulSet {owner} successful", key.name);
            ("SuccessfulDelete", text)
        }
        Change::Replace(_) | Change::ReplaceStatus(_) | Change::Patch { .. } => return,
    };
    ctx.control.events.record(set, Level::Normal, reason, message);
}
