//! What controllers ask about pods: are they up, since when, and which is the least loss.

use std::cmp::Ordering;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use minik_reconcile::KeyOf;

/// Lower cost means: deleted earlier.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The phase, `Pending` before there is one.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether all containers have ended for good.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod counts as a replica: neither finished nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !pod.is_terminating()
}

/// The condition of that type.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the pod says it is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Since when the pod is ready.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    Some(ready.last_transition_time.as_ref()?.0)
}

/// How ready a pod is, given the seconds it must stay ready to count as available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    NotReady,
    /// Ready, and available after this time if it stays so.
    In(Duration),
    Available,
}

/// Whether the pod is available at `now`, or when it will be.
pub(crate) fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::NotReady;
    }
    if min_ready_seconds <= 0 {
        return Availability::Available;
    }
    let wanted = Duration::from_secs(u64::from(min_ready_seconds.unsigned_abs()));
    let Some(since) = ready_since(pod) else { return Availability::In(wanted) };
    let for_long = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    match wanted.checked_sub(for_long) {
        None | Some(Duration::ZERO) => Availability::Available,
        Some(rest) => Availability::In(rest),
    }
}

/// A pod as `template` describes it, owned by `owner`. The name is left to the caller.
pub(crate) fn from_template(
    namespace: &str,
    template: &PodTemplateSpec,
    owner: OwnerReference,
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// `Less` if `a` should be deleted before `b`. `neighbours` tells how many related pods run on the
/// same node as the pod of that index. The uid breaks ties, so that two looks choose alike.
pub(crate) fn deletion_order(a: (&Pod, usize), b: (&Pod, usize)) -> Ordering {
    let (pod_a, near_a) = a;
    let (pod_b, near_b) = b;
    let least_first = Loss::of(pod_a).cmp(&Loss::of(pod_b));
    least_first
        // Where many of the same run, one is missed least.
        .then_with(|| near_b.cmp(&near_a))
        .then_with(|| newer_first(ready_since(pod_a), ready_since(pod_b)))
        .then_with(|| restarts(pod_b).cmp(&restarts(pod_a)))
        .then_with(|| newer_first(created(pod_a), created(pod_b)))
        .then_with(|| pod_a.uid_str().cmp(pod_b.uid_str()))
}

/// What is lost with a pod, least first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Loss {
    assigned: bool,
    phase: u8,
    ready: bool,
    cost: i32,
}

impl Loss {
    fn of(pod: &Pod) -> Loss {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        Loss {
            assigned: node.is_some_and(|node| !node.is_empty()),
            phase: match phase(pod) {
                "Pending" => 0,
                "Unknown" => 1,
                _ => 2,
            },
            ready: is_ready(pod),
            cost: pod.annotation(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0),
        }
    }
}

/// The later time first; a pod without one before all others.
fn newer_first(a: Option<Timestamp>, b: Option<Timestamp>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.cmp(&a),
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
    }
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    containers.into_iter().flatten().map(|one| one.restart_count).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, node: &str, phase: &str, ready: Option<&str>, extra: Value) -> Pod {
        let conditions: Vec<_> = ready
            .map(|since| json!({ "type": "Ready", "status": "True", "lastTransitionTime": since }))
            .into_iter()
            .collect();
        let mut pod = json!({
            "metadata": { "name": name, "uid": name, "annotations": extra["annotations"],
                          "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "nodeName": node, "containers": [] },
            "status": { "phase": phase, "conditions": conditions },
        });
        if let Some(restarts) = extra["restarts"].as_i64() {
            pod["status"]["containerStatuses"] = json!([{ "name": "c", "image": "", "imageID": "",
                "ready": true, "restartCount": restarts }]);
        }
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn the_least_loss_goes_first() {
        let old = Some("2026-01-01T00:00:10Z");
        let new = Some("2026-01-01T01:00:00Z");
        let mut pods = [
            (pod("ready-long", "n1", "Running", old, json!({})), 0),
            (pod("ready-lately", "n1", "Running", new, json!({})), 0),
            (pod("ready-crowded", "n2", "Running", old, json!({})), 3),
            (pod("restarted", "n1", "Running", old, json!({ "restarts": 4 })), 0),
            (pod("not-ready", "n1", "Running", None, json!({})), 0),
            (pod("pending", "n1", "Pending", None, json!({})), 0),
            (pod("unassigned", "", "Pending", None, json!({})), 0),
            (
                pod(
                    "cheap",
                    "n1",
                    "Running",
                    old,
                    json!({ "annotations": {
                    "controller.kubernetes.io/pod-deletion-cost": "-5" } }),
                ),
                0,
            ),
        ];
        pods.sort_by(|a, b| deletion_order((&a.0, a.1), (&b.0, b.1)));
        let order: Vec<_> = pods.iter().map(|(pod, _)| pod.uid_str()).collect();
        assert_eq!(
            order,
            [
                "unassigned",
                "pending",
                "not-ready",
                "cheap",
                "ready-crowded",
                "ready-lately",
                "restarted",
                "ready-long"
            ]
        );
    }

    #[test]
    fn available_after_the_ready_time() {
        let since = Some("2026-01-01T00:00:00Z");
        let pod = pod("a", "n1", "Running", since, json!({}));
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let check = |min_ready: i32, now: &str, expected: Availability| {
            assert_eq!(availability(&pod, min_ready, at(now)), expected, "{min_ready} {now}");
        };
        check(0, "2026-01-01T00:00:00Z", Availability::Available);
        check(30, "2026-01-01T00:00:10Z", Availability::In(Duration::from_secs(20)));
        check(30, "2026-01-01T00:00:30Z", Availability::Available);
    }
}
