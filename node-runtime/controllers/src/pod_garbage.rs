//! Deletes pods that nobody else will: on nodes that no longer exist, deleted before they got a
//! node, and finished ones beyond the number that is kept.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue};
use tracing::debug;

use crate::node::eviction::disrupt;
use crate::pods;
use crate::wiring::{Running, Wiring, namespace_of};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "pod-garbage-collector";

/// Finished pods that are kept for looking at.
const FINISHED_MAX: usize = 12_500;

#[derive(Clone)]
struct Context {
    client: Client,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
}

/// Hooks the controller to its caches. The queue holds pods that may have to go.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        client: wiring.client(NAME),
        nodes: wiring.caches.watch(),
        pods: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    let wake = queue.clone();
    context.pods.on_change(move |seen| {
        if let Seen::Applied { new, .. } = seen {
            wake.add(new.key());
        }
    });
    let (pods, wake) = (context.pods.clone(), queue.clone());
    context.nodes.on_change(move |seen| {
        if let Seen::Deleted { last } = seen {
            pods.on_node(&last.key().name).iter().for_each(|pod| wake.add(pod.key()));
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

/// Why a pod is deleted without asking anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    NodeGone,
    NeverHadNode,
    TooManyFinished,
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Decides about one pod. `node_exists` is about its node, `finished` are all finished pods,
/// oldest first.
fn judge(pod: &Pod, node_exists: bool, finished: &[Arc<Pod>]) -> Option<Reason> {
    match node_of(pod) {
        Some(_) if !node_exists => return Some(Reason::NodeGone),
        None if pod.is_terminating() => return Some(Reason::NeverHadNode),
        _ => {}
    }
    let surplus = finished.len().saturating_sub(FINISHED_MAX);
    let is_surplus = finished[..surplus].iter().any(|other| other.uid_str() == pod.uid_str());
    is_surplus.then_some(Reason::TooManyFinished)
}

/// Looks at one pod.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(pod) = ctx.pods.get(&key) else { return Ok(Requeue::WhenChanged) };
    let node = node_of(&pod).map(ObjectKey::cluster);
    let node_exists = match &node {
        Some(node) if ctx.nodes.get(node).is_none() => {
            // The cache may be behind: ask before deleting.
            let nodes: Api<Node> = Api::all(ctx.client.clone());
            nodes.get_opt(&node.name).await?.is_some()
        }
        _ => true,
    };
    let finished = if pods::is_finished(&pod) && ctx.pods.len() > FINISHED_MAX {
        finished(&ctx.pods)
    } else {
        Vec::new()
    };
    let Some(reason) = judge(&pod, node_exists, &finished) else {
        return Ok(Requeue::WhenChanged);
    };
    debug!(pod = %key, ?reason, "deleting a pod that nobody else will");
    if reason == Reason::NodeGone && !pods::is_finished(&pod) {
        let message = "PodGC: node no longer exists";
        disrupt(&ctx.client, &pod, "DeletionByPodGC", message).await?;
    }
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace_of(&*pod));
    match api.delete(&key.name, &now).await {
        Err(error) if error.is_not_found() => Ok(Requeue::WhenChanged),
        answer => Ok(answer.map(|_| Requeue::WhenChanged)?),
    }
}

fn finished(pods: &Cache<Pod>) -> Vec<Arc<Pod>> {
    let mut finished = pods.list();
    finished.retain(|pod| pods::is_finished(pod));
    finished.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    finished
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case("n1", true, false, None; "running on a node")]
    #[test_case("n1", false, false, Some(Reason::NodeGone); "its node is gone")]
    #[test_case("", true, true, Some(Reason::NeverHadNode); "deleted while waiting")]
    #[test_case("n1", true, true, None; "the kubelet ends it")]
    #[test_case("", true, false, None; "waiting")]
    fn verdicts(node: &str, exists: bool, terminating: bool, expected: Option<Reason>) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "a", "uid": "u",
                "deletionTimestamp": terminating.then_some("2026-01-01T00:00:00Z") },
            "spec": { "nodeName": node, "containers": [] },
        }))
        .expect("a pod");
        assert_eq!(judge(&pod, exists, &[]), expected);
    }
}
