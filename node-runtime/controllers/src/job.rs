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
use minik_client::ApiErrorExt;
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue, labels,
};
use serde_json::json;

pub(crate) use crate::job::status::{finished_at, is_complete, is_finished};

use crate::job::facts::Facts;
use crate::job::plan::{Plan, plan};
use crate::owned::controller_of;
use crate::pod_control::PodControl;
use crate::wiring::{Running, Wiring, enqueue_adopters, enqueue_controller, enqueue_each, now};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "job-controller";

/// Keeps a pod until its end is counted.
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Who looks after a Job, if it names somebody.
const US: &str = "kubernetes.io/job-controller";

#[derive(Clone)]
struct Context {
    control: PodControl,
    jobs: Cache<Job>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context { control: wiring.pod_control(NAME), jobs: wiring.caches.watch() };
    let queue = WorkQueue::new();
    enqueue_each(&context.jobs, &queue);
    enqueue_controller(&context.control.pods, "Job", &queue);
    enqueue_adopters(&context.control.pods, &context.jobs, &queue, |job, pod| {
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
    if let Some(selector) = &spec(&job).selector {
        ctx.control.claim(&*job, selector, |_| true).await?;
    }
    let facts = Facts::of(&job, &ctx.control.owned_by(&*job));
    let plan = plan(&job, &facts, now());
    carry_out(&ctx, job, plan).await
}

/// Pods of a Job of this name that is gone: nobody will count them.
async fn let_go_of_strays(
    ctx: &Context,
    key: &ObjectKey,
    job: Option<&Job>,
) -> Result<(), ReconcileError> {
    for pod in ctx.control.pods.in_namespace(&key.namespace) {
        let owner = controller_of(&*pod).filter(|owner| owner.kind == "Job");
        let is_stray = owner.is_some_and(|owner| {
            owner.name == key.name && job.is_none_or(|job| job.uid_str() != owner.uid)
        });
        if is_stray && is_tracked(&pod) {
            ctx.control.write(&let_go(&pod)).await?;
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
        for pod in ctx.control.owned_by(job) {
            if is_tracked(&pod) {
                ctx.control.write(&let_go(&pod)).await?;
            }
        }
    }
    Ok(Requeue::WhenChanged)
}

/// Writes the status first: an end that is not noted must not be let go.
async fn carry_out(ctx: &Context, job: Arc<Job>, plan: Plan) -> Result<Requeue, ReconcileError> {
    let failure = ctx.control.carry_out(&*job, plan.pods).await?;
    if job.status.as_ref() != Some(&plan.status) {
        let mut written = (*job).clone();
        written.status = Some(plan.status);
        match Change::ReplaceStatus(Box::new(written)).apply(&ctx.control.client).await {
            Err(gone) if gone.error.is_not_found() => return Ok(Requeue::WhenChanged),
            answer => ctx.jobs.caught_up(&answer?.unwrap_or_default()).await?,
        }
    }
    for (level, reason, message) in plan.events {
        ctx.control.events.record(&*job, level, reason, message);
    }
    for change in &plan.let_go {
        ctx.control.write(change).await?;
    }
    match failure {
        Some(refused) => Err(refused.error.into()),
        None => Ok(plan.requeue),
    }
}
