//! Deployment: replaces the pods of a template by those of the next, at the pace the strategy
//! allows, one ReplicaSet for each template.
//!
//! A round looks at the caches, decides everything at once ([`plan`]) and writes it. What a round
//! wrote comes back through the watch and starts the next one, until nothing is left to do.
//!
//! [`revision`] finds and numbers the ReplicaSets, [`scaling`] says how large each should be,
//! [`status`] what the Deployment tells about itself.

mod revision;
mod scaling;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use minik_client::{ApiErrorExt, EventRecorder, Level, said};
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue, apply_each, labels,
};

use crate::deployment::revision::{New, Revisions};
use crate::owned::{self, Claim};
use crate::wiring::{
    Running, Wiring, enqueue_adopters, enqueue_controller, enqueue_each, name_of, namespace_of, now,
};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "deployment-controller";

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(NAME);
    let context = Context {
        events: wiring.events(&client, NAME),
        client,
        deployments: wiring.caches.watch(),
        sets: wiring.caches.watch(),
        pods: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.deployments, &queue);
    enqueue_controller(&context.sets, "Deployment", &queue);
    enqueue_adopters(&context.sets, &context.deployments, &queue, |deployment, set| {
        labels::selects(&spec(deployment).selector, set.metadata.labels.as_ref())
    });
    enqueue_when_pods_are_gone(&context, &queue);
    wiring.work(NAME, queue, context, reconcile)
}

/// A Deployment that recreates waits for the last old pod to be gone.
fn enqueue_when_pods_are_gone(context: &Context, queue: &WorkQueue<ObjectKey>) {
    let (sets, queue) = (context.sets.clone(), queue.clone());
    context.pods.on_change(move |seen| {
        let pod = seen.object();
        let Some(set) = owned::controller_of(&**pod).filter(|owner| owner.kind == "ReplicaSet")
        else {
            return;
        };
        let namespace = pod.key().namespace;
        let Some(set) = sets.get(&ObjectKey::new(&*namespace, &*set.name)) else { return };
        if let Some(owner) = owned::controller_of(&*set) {
            queue.add(ObjectKey::new(namespace, owner.name.clone()));
        }
    });
}

fn spec(deployment: &Deployment) -> &DeploymentSpec {
    static NONE: std::sync::LazyLock<DeploymentSpec> =
        std::sync::LazyLock::new(DeploymentSpec::default);
    deployment.spec.as_ref().unwrap_or(&NONE)
}

fn replicas(deployment: &Deployment) -> i32 {
    spec(deployment).replicas.unwrap_or(1)
}

fn set_replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = spec(deployment).strategy.as_ref();
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
}

fn is_paused(deployment: &Deployment) -> bool {
    spec(deployment).paused.unwrap_or(false)
}

/// Everything one round writes.
#[derive(Debug, Default)]
struct Plan {
    /// ReplicaSets to make, to resize, to renumber, to forget.
    sets: Vec<Change<ReplicaSet>>,
    /// The revision the Deployment should carry, if it carries another.
    revision: Option<i64>,
    /// The status, if it differs.
    status: Option<DeploymentStatus>,
    /// For the event log.
    events: Vec<(&'static str, String)>,
    requeue: Option<Duration>,
}

/// Decides one round. `old_pods_run` says whether pods of other templates are still there.
fn plan(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    old_pods_run: bool,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let revisions = Revisions::of(deployment, sets);
    if deployment.is_terminating() {
        plan.finish(deployment, &revisions, None, now);
        return plan;
    }
    let may_create = !is_paused(deployment)
        && !scaling::is_resized(deployment, sets)
        && (is_rolling(deployment) || scaling::all_scaled_down(&revisions) && !old_pods_run);
    let new = revisions.new_set(deployment, may_create);
    plan.revision = new.revision_of_deployment(deployment);

    let targets = scaling::targets(deployment, &revisions, &new, old_pods_run);
    plan.resize(deployment, &revisions, &new, targets);
    let settled = plan.sets.is_empty();
    plan.finish(deployment, &revisions, Some(&new), now);
    if settled && (is_paused(deployment) || status::is_complete(deployment, plan.status.as_ref())) {
        plan.sets.extend(revision::outdated(deployment, &revisions));
    }
    plan
}

impl Plan {
    fn resize(
        &mut self,
        deployment: &Deployment,
        revisions: &Revisions,
        new: &New,
        targets: scaling::Targets,
    ) {
        if let New::Create(set) = new {
            let size = set_replicas(set);
            if size > 0 {
                self.scaled(name_of(&**set), 0, size);
            }
            self.sets.push(Change::Create(set.clone()));
        }
        for set in revisions.all() {
            let mut wanted = new.with_annotations(set);
            let from = set_replicas(set);
            if let Some(to) = targets.of(set) {
                scaling::mark(&mut wanted, deployment);
                if to != from {
                    wanted.spec.get_or_insert_default().replicas = Some(to);
                    self.scaled(name_of(&**set), from, to);
                }
            }
            if wanted != **set {
                self.sets.push(Change::Replace(Box::new(wanted)));
            }
        }
    }

    fn scaled(&mut self, name: &str, from: i32, to: i32) {
        let way = if to > from { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {name} from {from} to {to}");
        self.events.push(("ScalingReplicaSet", message));
    }

    fn finish(
        &mut self,
        deployment: &Deployment,
        revisions: &Revisions,
        new: Option<&New>,
        now: Timestamp,
    ) {
        let status = status::of(deployment, revisions, new, now);
        self.requeue = status::overdue_after(deployment, &status, now);
        if deployment.status.as_ref() != Some(&status) {
            self.status = Some(status);
        }
    }
}

/// Reconciles one Deployment.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(deployment) = ctx.deployments.get(&key) else {
        return Ok(Requeue::WhenChanged); // Deleted: the garbage collector takes the sets.
    };
    if labels::is_empty(&spec(&deployment).selector) {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        ctx.events.record(&*deployment, Level::Warning, "SelectingAll", message);
        return Ok(Requeue::WhenChanged);
    }
    claim_sets(&ctx, &deployment).await?;
    let mut sets = ctx.sets.owned_by(deployment.uid_str());
    sets.retain(|set| owned::is_controlled_by(&**set, deployment.uid_str()));

    let old_pods_run = old_pods_run(&ctx, &deployment, &sets);
    let plan = plan(&deployment, &sets, old_pods_run, now());
    carry_out(&ctx, deployment, plan).await
}

async fn claim_sets(ctx: &Context, deployment: &Deployment) -> Result<(), ReconcileError> {
    for set in ctx.sets.in_namespace(namespace_of(deployment)) {
        let change = match owned::claim(deployment, &spec(deployment).selector, &*set) {
            Claim::Keep | Claim::Ignore => continue,
            Claim::Adopt => owned::adopt(deployment, &*set),
            Claim::Release => owned::release(deployment, &*set),
        };
        match change.apply(&ctx.client).await {
            Ok(Some(set)) => ctx.sets.caught_up(&set).await?,
            Ok(None) => {}
            Err(gone) if gone.error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn old_pods_run(ctx: &Context, deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> bool {
    let new = revision::matching(deployment, sets);
    let old = sets.iter().filter(|set| new.is_none_or(|new| new.uid_str() != set.uid_str()));
    old.into_iter()
        .flat_map(|set| ctx.pods.owned_by(set.uid_str()))
        .any(|pod| !crate::pods::is_finished(&pod))
}

async fn carry_out(
    ctx: &Context,
    deployment: Arc<Deployment>,
    plan: Plan,
) -> Result<Requeue, ReconcileError> {
    let mut deployment = deployment;
    if let Some(revision) = plan.revision {
        let mut numbered = (*deployment).clone();
        let annotations = numbered.metadata.annotations.get_or_insert_default();
        annotations.insert(revision::REVISION.to_owned(), revision.to_string());
        match Change::Replace(Box::new(numbered)).apply(&ctx.client).await {
            Ok(Some(written)) => deployment = Arc::new(written),
            Ok(None) => {}
            Err(gone) if gone.error.is_not_found() => return Ok(Requeue::WhenChanged),
            Err(error) => return Err(error.into()),
        }
    }
    let (create, rest): (Vec<_>, Vec<_>) =
        plan.sets.into_iter().partition(|change| matches!(change, Change::Create(_)));
    for change in create {
        match change.apply(&ctx.client).await {
            Ok(Some(set)) => ctx.sets.caught_up(&set).await?,
            Ok(None) => {}
            Err(refused) => return create_failed(ctx, &deployment, &change, refused).await,
        }
    }
    for set in apply_each(&ctx.client, &rest).await? {
        ctx.sets.caught_up(&set).await?;
    }
    for (reason, message) in plan.events {
        ctx.events.record(&*deployment, Level::Normal, reason, message);
    }
    if let Some(status) = plan.status {
        write_status(ctx, &deployment, status).await?;
    }
    Ok(plan.requeue.map_or(Requeue::WhenChanged, Requeue::After))
}

async fn write_status(
    ctx: &Context,
    deployment: &Deployment,
    status: DeploymentStatus,
) -> Result<(), ReconcileError> {
    let mut written = deployment.clone();
    written.status = Some(status);
    match Change::ReplaceStatus(Box::new(written)).apply(&ctx.client).await {
        Err(gone) if gone.error.is_not_found() => Ok(()),
        answer => Ok(ctx.deployments.caught_up(&answer?.unwrap_or_default()).await?),
    }
}

/// The name is taken, or the API refuses the set: both are told in the status.
async fn create_failed(
    ctx: &Context,
    deployment: &Deployment,
    change: &Change<ReplicaSet>,
    refused: minik_reconcile::ChangeError,
) -> Result<Requeue, ReconcileError> {
    if refused.error.is_namespace_terminating() {
        return Ok(Requeue::WhenChanged);
    }
    let mut status = deployment.status.clone().unwrap_or_default();
    if refused.error.is_already_exists() {
        let Change::Create(wanted) = change else { return Err(refused.into()) };
        let there = ctx.sets.get(&wanted.key());
        if there.is_some_and(|set| owned::is_controlled_by(&*set, deployment.uid_str())) {
            return Err(refused.into()); // Ours after all: the next round sees it.
        }
        // Another template has this hash: take the next one.
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
    } else {
        let message = said(&refused.error);
        ctx.events.record(deployment, Level::Warning, "ReplicaSetCreateError", &*message);
        status::set_progressing(&mut status, "False", "ReplicaSetCreateError", &message, now());
    }
    write_status(ctx, deployment, status).await?;
    Err(refused.into())
}
