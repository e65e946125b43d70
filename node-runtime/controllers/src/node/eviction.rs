//! Deletes pods from nodes whose `NoExecute` taints they do not bear, or no longer bear.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use minik_client::{ApiErrorExt, EventRecorder, Level};
use minik_reconcile::nodes::tolerates;
use minik_reconcile::{Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue};
use serde_json::json;

use crate::node::taints::NO_EXECUTE;
use crate::pods;
use crate::wiring::{Running, Wiring, namespace_of, now};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "taint-eviction-controller";

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(NAME);
    let context = Context {
        events: wiring.events(&client, NAME),
        client,
        nodes: wiring.caches.watch(),
        pods: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    let (nodes, wake) = (context.nodes.clone(), queue.clone());
    context.pods.on_change(move |seen| {
        if let Seen::Applied { new, .. } = seen
            && let Some(node) = node_of(new).and_then(|node| nodes.get(&ObjectKey::cluster(node)))
            && !no_execute(&node).is_empty()
        {
            wake.add(new.key());
        }
    });
    let (pods, wake) = (context.pods.clone(), queue.clone());
    context.nodes.on_change(move |seen| {
        let Seen::Applied { old, new } = seen else { return };
        let before = old.map(|old| no_execute(old)).unwrap_or_default();
        if before != no_execute(new) {
            pods.on_node(&new.key().name).iter().for_each(|pod| wake.add(pod.key()));
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

fn no_execute(node: &Node) -> Vec<&Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.into_iter().flatten().filter(|taint| taint.effect == NO_EXECUTE).collect()
}

/// What becomes of a pod on a tainted node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Stays,
    Goes,
    GoesIn(Duration),
}

fn judge(pod: &Pod, taints: &[&Taint], now: Timestamp) -> Verdict {
    if taints.is_empty() || pod.is_terminating() || pods::is_finished(pod) {
        return Verdict::Stays;
    }
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
    let tolerations = tolerations.unwrap_or_default();
    let mut deadline: Option<Timestamp> = None;
    for taint in taints {
        let bearing: Vec<&Toleration> =
            tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
        if bearing.is_empty() {
            return Verdict::Goes;
        }
        let seconds = bearing.iter().filter_map(|toleration| toleration.toleration_seconds).min();
        if let Some(seconds) = seconds {
            let end = borne_since(pod, taint, now) + SignedDuration::from_secs(seconds.max(0));
            deadline = Some(deadline.map_or(end, |deadline| deadline.min(end)));
        }
    }
    let Some(deadline) = deadline else { return Verdict::Stays };
    match Duration::try_from(deadline.duration_since(now)) {
        Ok(left) if !left.is_zero() => Verdict::GoesIn(left),
        _ => Verdict::Goes,
    }
}

/// Since when the pod bears the taint: since it came, if the taint was there before.
fn borne_since(pod: &Pod, taint: &Taint, now: Timestamp) -> Timestamp {
    let added = taint.time_added.as_ref().map_or(now, |time| time.0);
    let scheduled = pods::condition(pod, "PodScheduled")
        .and_then(|condition| condition.last_transition_time.as_ref())
        .or(pod.metadata.creation_timestamp.as_ref());
    scheduled.map_or(added, |time| added.max(time.0))
}

/// Reconciles one pod.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(pod) = ctx.pods.get(&key) else { return Ok(Requeue::WhenChanged) };
    let node = node_of(&pod).and_then(|node| ctx.nodes.get(&ObjectKey::cluster(node)));
    let Some(node) = node else { return Ok(Requeue::WhenChanged) };
    match judge(&pod, &no_execute(&node), now()) {
        Verdict::Stays => Ok(Requeue::WhenChanged),
        Verdict::GoesIn(left) => Ok(Requeue::After(left)),
        Verdict::Goes => {
            let message = format!("Marking for deletion Pod {key}");
            ctx.events.record(&*pod, Level::Normal, "TaintManagerEviction", message);
            note_disruption(&ctx.client, &pod).await?;
            Change::delete(&*pod).apply(&ctx.client).await?;
            Ok(Requeue::WhenChanged)
        }
    }
}

/// Tells in the status why the pod goes, for whoever counts its failures.
async fn note_disruption(client: &Client, pod: &Arc<Pod>) -> Result<(), ReconcileError> {
    let message = "Taint manager: deleting due to NoExecute taint";
    disrupt(client, pod, "DeletionByTaintManager", message).await
}

/// Sets the condition `DisruptionTarget` of a pod that is about to be deleted.
pub(crate) async fn disrupt(
    client: &Client,
    pod: &Pod,
    reason: &str,
    message: &str,
) -> Result<(), ReconcileError> {
    let condition = PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(now())),
        ..PodCondition::default()
    };
    // Conditions are merged by type: the others stay as they are.
    let fields = json!({ "metadata": { "uid": pod.metadata.uid },
        "status": { "conditions": [condition] } });
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace_of(pod));
    let (how, patch) = (PatchParams::default(), Patch::Strategic(&fields));
    match api.patch_status(&pod.key().name, &how, &patch).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => Ok(answer.map(|_| ())?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use test_case::test_case;

    use super::*;

    fn verdict(tolerations: Value) -> Verdict {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "a", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "containers": [], "nodeName": "minik", "tolerations": tolerations },
        }))
        .expect("a pod");
        let taint: Taint = serde_json::from_value(json!({
            "key": "node.kubernetes.io/unreachable", "effect": "NoExecute",
            "timeAdded": "2026-01-01T00:10:00Z",
        }))
        .expect("a taint");
        judge(&pod, &[&taint], "2026-01-01T00:11:00Z".parse().expect("a time"))
    }

    #[test_case(json!([]), Verdict::Goes; "bears nothing")]
    #[test_case(json!([{ "operator": "Exists" }]), Verdict::Stays; "bears everything")]
    #[test_case(json!([{ "key": "node.kubernetes.io/unreachable", "operator": "Exists",
        "effect": "NoExecute", "tolerationSeconds": 300 }]),
        Verdict::GoesIn(Duration::from_secs(240)); "bears it for five minutes")]
    #[test_case(json!([{ "key": "node.kubernetes.io/unreachable", "operator": "Exists",
        "effect": "NoExecute", "tolerationSeconds": 30 }]), Verdict::Goes; "bore it long enough")]
    #[test_case(json!([{ "key": "node.kubernetes.io/not-ready", "operator": "Exists" }]),
        Verdict::Goes; "bears another")]
    fn pods_on_a_silent_node(tolerations: Value, expected: Verdict) {
        assert_eq!(verdict(tolerations), expected);
    }
}
