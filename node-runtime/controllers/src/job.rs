//! Job: pods until enough of them have succeeded, or too many have failed.
//!
//! No end of a pod is counted twice or forgotten, whatever crashes in between: a pod carries a
//! finalizer until its end is in the status. A round notes ended pods in
//! `status.uncountedTerminatedPods`, lets them go, and in the next round, when the finalizer is
//! seen to be gone, counts them.
//!
//! [`facts`] is what a look at the pods says, [`plan`] what follows, [`policy`] the user's own
//! rules about failure and success, [`indexes`] lists like `1,3-5`.

mod facts;
mod indexes;
mod plan;
mod policy;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use minik_client::{ApiErrorExt, EventRecorder, Level, said};
use minik_reconcile::{
    Cache, Change, ChangeError, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue, labels,
    slow_start,
};
use serde_json::json;

pub(crate) use crate::job::status::{finished_at, is_complete, is_finished};

use crate::job::facts::Facts;
use crate::job::plan::{Plan, plan};
use crate::owned::{self, Claim, controller_of};
use crate::wiring::{
    Running, Wiring, enqueue_adopters, enqueue_controller, enqueue_each, name_of, namespace_of, now,
};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "job-controller";

/// Keeps a pod until its end is counted.
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Who looks after a Job, if it names somebody.
const US: &str = "kubernetes.io/job-controller";

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    jobs: Cache<Job>,
    pods: Cache<Pod>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(NAME);
    let context = Context {
        events: wiring.events(&client, NAME),
        client,
        jobs: wiring.caches.watch(),
        pods: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.jobs, &queue);
    enqueue_controller(&context.pods, "Job", &queue);
    enqueue_adopters(&context.pods, &context.jobs, &queue, |job, pod| {
        let selector = spec(job).selector.as_ref();
        selector.is_some_and(|selector| labels::selects(selector, pod.metadata.labels.as_ref()))
    });
    wiring.work(NAME, queue, context, reconcile)
}

fn spec(job: &Job) -> &JobSpec {
    static NONE: std::sync::LazyLock<JobSpec> = std::sync::LazyLock::new(JobSpec::default);
    job.spec.as_ref().unwrap_or(&NONE)
}

fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

/// The change that lets an ended pod go.
fn let_go(pod: &Pod) -> Change<Pod> {
    let mut left = pod.metadata.finalizers.clone().unwrap_or_default();
    left.retain(|name| name != FINALIZER);
    Change::Patch {
        key: pod.key(),
        fields: json!({ "metadata": {
            "uid": pod.metadata.uid,
            "resourceVersion": pod.metadata.resource_version,
            "finalizers": (!left.is_empty()).then_some(left),
        }}),
    }
}

/// Reconciles one Job.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let job = ctx.jobs.get(&key);
    let_go_of_strays(&ctx, &key, job.as_deref()).await?;
    let Some(job) = job else { return Ok(Requeue::WhenChanged) };
    let managed_elsewhere = spec(&job).managed_by.as_deref().is_some_and(|name| name != US);
    if managed_elsewhere || job.is_terminating() {
        // The pods of a Job that is being deleted only need to be let go.
        return end_tracking(&ctx, &job, managed_elsewhere).await;
    }
    claim_pods(&ctx, &job).await?;
    let facts = Facts::of(&job, &mine(&ctx, &job));
    let plan = plan(&job, &facts, now());
    carry_out(&ctx, job, plan).await
}

fn mine(ctx: &Context, job: &Job) -> Vec<Arc<Pod>> {
    let mut owned = ctx.pods.owned_by(job.uid_str());
    owned.retain(|pod| owned::is_controlled_by(&**pod, job.uid_str()));
    owned
}

/// Pods of a Job of this name that is gone: nobody will count them.
async fn let_go_of_strays(
    ctx: &Context,
    key: &ObjectKey,
    job: Option<&Job>,
) -> Result<(), ReconcileError> {
    for pod in ctx.pods.in_namespace(&key.namespace) {
        let owner = controller_of(&*pod).filter(|owner| owner.kind == "Job");
        let is_stray = owner.is_some_and(|owner| {
            owner.name == key.name && job.is_none_or(|job| job.uid_str() != owner.uid)
        });
        if is_stray && is_tracked(&pod) {
            write(ctx, &let_go(&pod)).await?;
        }
    }
    Ok(())
}

async fn end_tracking(
    ctx: &Context,
    job: &Job,
    managed_elsewhere: bool,
) -> Result<Requeue, ReconcileError> {
    if !managed_elsewhere {
        for pod in mine(ctx, job) {
            if is_tracked(&pod) {
                write(ctx, &let_go(&pod)).await?;
            }
        }
    }
    Ok(Requeue::WhenChanged)
}

/// Writes a change to a pod and waits until the cache shows it.
async fn write(ctx: &Context, change: &Change<Pod>) -> Result<(), ReconcileError> {
    match change.apply(&ctx.client).await {
        Ok(Some(pod)) => ctx.pods.caught_up(&pod).await,
        Ok(None) => Ok(()),
        Err(gone) if gone.error.is_not_found() => Ok(()),
        Err(refused) => Err(refused.into()),
    }
}

async fn claim_pods(ctx: &Context, job: &Job) -> Result<(), ReconcileError> {
    let Some(selector) = &spec(job).selector else { return Ok(()) };
    for pod in ctx.pods.in_namespace(namespace_of(job)) {
        match owned::claim(job, selector, &*pod) {
            Claim::Keep | Claim::Ignore => {}
            Claim::Adopt => write(ctx, &owned::adopt(job, &*pod)).await?,
            Claim::Release => write(ctx, &owned::release(job, &*pod)).await?,
        }
    }
    Ok(())
}

/// Writes the status first: an end that is not noted must not be let go.
async fn carry_out(ctx: &Context, job: Arc<Job>, plan: Plan) -> Result<Requeue, ReconcileError> {
    let failure = make_and_delete(ctx, &job, plan.pods).await?;
    if job.status.as_ref() != Some(&plan.status) {
        let mut written = (*job).clone();
        written.status = Some(plan.status);
        match Change::ReplaceStatus(Box::new(written)).apply(&ctx.client).await {
            Err(gone) if gone.error.is_not_found() => return Ok(Requeue::WhenChanged),
            answer => ctx.jobs.caught_up(&answer?.unwrap_or_default()).await?,
        }
    }
    for (level, reason, message) in plan.events {
        ctx.events.record(&*job, level, reason, message);
    }
    for change in &plan.let_go {
        write(ctx, change).await?;
    }
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(plan.requeue),
    }
}

async fn make_and_delete(
    ctx: &Context,
    job: &Job,
    changes: Vec<Change<Pod>>,
) -> Result<Option<ChangeError>, ReconcileError> {
    let (done, refused) = slow_start(changes, async |change| {
        let pod = change.apply(&ctx.client).await?;
        match (&change, &pod) {
            (Change::Delete { key, .. }, _) => {
                let message = format!("Deleted pod: {}", key.name);
                ctx.events.record(job, Level::Normal, "SuccessfulDelete", message);
            }
            (Change::Create(_), Some(pod)) => {
                let message = format!("Created pod: {}", name_of(pod));
                ctx.events.record(job, Level::Normal, "SuccessfulCreate", message);
            }
            _ => {}
        }
        Ok::<_, ChangeError>(pod)
    })
    .await;
    for pod in done.iter().flatten() {
        ctx.pods.caught_up(pod).await?;
    }
    let Some(refused) = refused else { return Ok(None) };
    if refused.error.is_namespace_terminating() {
        return Ok(None);
    }
    let message = format!("Error creating: {}", said(&refused.error));
    ctx.events.record(job, Level::Warning, "FailedCreate", message);
    Ok(Some(refused))
}
