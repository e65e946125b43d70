//! Deletes finished Jobs that say after how long they may go.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue};

use crate::job;
use crate::wiring::{Running, Wiring, enqueue_each, now};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "ttl-after-finished-controller";

#[derive(Clone)]
struct Context {
    client: Client,
    jobs: Cache<Job>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context { client: wiring.client(NAME), jobs: wiring.caches.watch() };
    let queue = WorkQueue::new();
    enqueue_each(&context.jobs, &queue);
    wiring.work(NAME, queue, context, reconcile)
}

/// How long the Job may still stay; `None` if for ever.
fn plan(job: &Job, now: Timestamp) -> Option<Duration> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    if job.is_terminating() || !job::is_finished(job) {
        return None;
    }
    let end = job::finished_at(job)? + SignedDuration::from_secs(i64::from(seconds));
    Some(Duration::try_from(end.duration_since(now)).unwrap_or_default())
}

/// Looks at one Job.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(job) = ctx.jobs.get(&key) else { return Ok(Requeue::WhenChanged) };
    match plan(&job, now()) {
        None => return Ok(Requeue::WhenChanged),
        Some(left) if !left.is_zero() => return Ok(Requeue::After(left)),
        Some(_) => {}
    }
    let how = DeleteParams::foreground()
        .preconditions(Preconditions { uid: job.metadata.uid.clone(), resource_version: None });
    let jobs: Api<Job> = Api::namespaced(ctx.client.clone(), &key.namespace);
    match jobs.delete(&key.name, &how).await {
        Err(error) if error.is_not_found() => Ok(Requeue::WhenChanged),
        answer => Ok(answer.map(|_| Requeue::WhenChanged)?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use test_case::test_case;

    use super::*;

    #[test_case(json!(60), "True", "00:00:30", Some(30); "not yet")]
    #[test_case(json!(60), "True", "00:02:00", Some(0); "now")]
    #[test_case(json!(60), "False", "00:02:00", None; "not finished")]
    #[test_case(json!(null), "True", "00:02:00", None; "kept")]
    fn time_left(ttl: Value, complete: &str, at: &str, seconds: Option<u64>) {
        let job: Job = serde_json::from_value(json!({
            "metadata": { "name": "a" },
            "spec": { "ttlSecondsAfterFinished": ttl, "template": {} },
            "status": { "conditions": [{ "type": "Complete", "status": complete,
                "lastTransitionTime": "2026-01-01T00:00:00Z" }] },
        }))
        .expect("a job");
        let now = format!("2026-01-01T{at}Z").parse().expect("a time");
        assert_eq!(plan(&job, now), seconds.map(Duration::from_secs));
    }
}
