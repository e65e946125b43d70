//! Watches the heartbeats of nodes: one that stays silent is marked unknown and tainted, and its
//! pods are marked not ready. Taints follow the conditions.
//!
//! Silence is measured on this process's own clock from the moment the last heartbeat was *seen*,
//! so neither a wrong clock on a node nor a suspended laptop makes a node look dead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use minik_client::{ApiErrorExt, EventRecorder, Level};
use minik_reconcile::{Cache, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue};
use serde_json::json;
use tokio::time::Instant;

use crate::node::taints;
use crate::pods;
use crate::wiring::{Running, Wiring, namespace_of, now};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "node-controller";

const LEASES: &str = "kube-node-lease";
/// Conditions the kubelet reports, and that nobody knows while it is silent.
const REPORTED: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    grace: Duration,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    heard: Heard,
}

/// When each node was last heard of.
#[derive(Clone, Default)]
struct Heard {
    at: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Heard {
    fn now(&self, node: &str) {
        self.lock().insert(node.to_owned(), Instant::now());
    }

    fn forget(&self, node: &str) {
        self.lock().remove(node);
    }

    fn silent_for(&self, node: &str) -> Duration {
        self.lock().get(node).map(Instant::elapsed).unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(NAME);
    let context = Context {
        events: wiring.events(&client, NAME),
        client,
        grace: wiring.config.node_grace,
        nodes: wiring.caches.watch(),
        pods: wiring.caches.watch(),
        heard: Heard::default(),
    };
    let queue = WorkQueue::new();
    let (heard, wake) = (context.heard.clone(), queue.clone());
    context.nodes.on_change(move |seen| {
        let node = seen.object();
        match seen {
            Seen::Deleted { .. } => heard.forget(&node.key().name),
            Seen::Applied { old, new } => {
                if old.is_none_or(|old| heartbeats(old) != heartbeats(new)) {
                    heard.now(&node.key().name);
                }
            }
        }
        wake.add(node.key());
    });
    let (heard, nodes, wake) = (context.heard.clone(), context.nodes.clone(), queue.clone());
    let leases: Cache<Lease> = wiring.caches.watch();
    leases.on_change(move |seen| {
        let Seen::Applied { old, new } = seen else { return };
        if namespace_of(&***new) != LEASES || old.is_some_and(|old| old.spec == new.spec) {
            return;
        }
        let key = ObjectKey::cluster(new.key().name);
        heard.now(&key.name);
        // Only a node that was given up needs to be looked at; the others have a timer.
        if nodes.get(&key).is_some_and(|node| is_unknown(&node)) {
            wake.add(key);
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

fn heartbeats(node: &Node) -> Vec<Option<Timestamp>> {
    let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let times = conditions.map(|condition| condition.last_heartbeat_time.as_ref());
    times.map(|time| time.map(|time| time.0)).collect()
}

fn is_unknown(node: &Node) -> bool {
    taints::condition(node, "Ready").is_none_or(|ready| ready.status == "Unknown")
}

/// What one look at a node decides.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    /// Conditions to write, because the node is silent.
    conditions: Option<Vec<NodeCondition>>,
    /// Mark the pods of the node not ready.
    pods_not_ready: bool,
    /// When silence would be too long.
    look_again: Option<Duration>,
}

fn plan(node: &Node, silent_for: Duration, grace: Duration, now: Timestamp) -> Plan {
    let ready = taints::condition(node, "Ready").map(|ready| ready.status.as_str());
    if silent_for < grace {
        return Plan {
            pods_not_ready: matches!(ready, Some("False" | "Unknown")),
            look_again: Some(grace - silent_for),
            ..Plan::default()
        };
    }
    let silent = silenced(node, now);
    Plan { conditions: silent, pods_not_ready: true, look_again: None }
}

/// The conditions of a silent node; `None` if they say so already.
fn silenced(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let old = node.status.clone().unwrap_or_default().conditions.unwrap_or_default();
    let mut conditions = old.clone();
    for kind in REPORTED {
        match conditions.iter_mut().find(|condition| condition.type_ == *kind) {
            Some(known) if known.status == "Unknown" => {}
            Some(known) => {
                "Unknown".clone_into(&mut known.status);
                known.reason = Some("NodeStatusUnknown".to_owned());
                known.message = Some("Kubelet stopped posting node status.".to_owned());
                known.last_transition_time = Some(Time(now));
            }
            None => conditions.push(NodeCondition {
                type_: (*kind).to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
    (conditions != old).then_some(conditions)
}

/// Reconciles one node.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(node) = ctx.nodes.get(&key) else { return Ok(Requeue::WhenChanged) };
    let mut node = (*node).clone();
    let plan = plan(&node, ctx.heard.silent_for(&key.name), ctx.grace, now());
    let api: Api<Node> = Api::all(ctx.client.clone());
    if let Some(conditions) = plan.conditions {
        node.status.get_or_insert_default().conditions = Some(conditions);
        node = match api.replace_status(&key.name, &PostParams::default(), &node).await {
            Err(error) if error.is_not_found() => return Ok(Requeue::WhenChanged),
            answer => answer?,
        };
        let message = format!("Node {key} status is now: NodeNotReady");
        ctx.events.record(&node, Level::Normal, "NodeNotReady", message);
    }
    if let Some(wanted) = taints::wanted(&node, now()) {
        let fields = json!({
            "metadata": { "resourceVersion": node.metadata.resource_version },
            "spec": { "taints": (!wanted.is_empty()).then_some(wanted) },
        });
        match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&fields)).await {
            Err(error) if error.is_not_found() => return Ok(Requeue::WhenChanged),
            answer => ctx.nodes.caught_up(&answer?).await?,
        }
    }
    if plan.pods_not_ready {
        mark_pods_not_ready(&ctx, &key.name).await?;
    }
    Ok(plan.look_again.map_or(Requeue::WhenChanged, Requeue::After))
}

/// Nobody on the node can say that its pods are up.
async fn mark_pods_not_ready(ctx: &Context, node: &str) -> Result<(), ReconcileError> {
    for pod in ctx.pods.on_node(node) {
        if !pods::is_ready(&pod) {
            continue;
        }
        let mut written = (*pod).clone();
        let conditions = written.status.get_or_insert_default().conditions.get_or_insert_default();
        for ready in conditions.iter_mut().filter(|condition| condition.type_ == "Ready") {
            "False".clone_into(&mut ready.status);
            ready.last_transition_time = Some(Time(now()));
        }
        let api: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace_of(&*pod));
        match api.replace_status(&pod.key().name, &PostParams::default(), &written).await {
            Err(error) if error.is_not_found() || error.is_conflict() => continue,
            answer => answer?,
        };
        ctx.events.record(&*pod, Level::Warning, "NodeNotReady", "Node is not ready");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": "minik", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "status": { "conditions": [{ "type": "Ready", "status": ready,
                "lastHeartbeatTime": "2026-01-01T00:00:05Z" }] },
        }))
        .expect("a node")
    }

    fn at(seconds: u64) -> Plan {
        let grace = Duration::from_secs(40);
        plan(&node("True"), Duration::from_secs(seconds), grace, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_node_that_speaks_is_left_alone() {
        let look_again = Some(Duration::from_secs(30));
        assert_eq!(at(10), Plan { look_again, ..Plan::default() });
    }

    #[test]
    fn a_silent_node_is_unknown() {
        let conditions = at(40).conditions.expect("they change");
        let lines: Vec<String> = conditions
            .iter()
            .map(|one| {
                format!("{}={} {}", one.type_, one.status, one.reason.as_deref().unwrap_or(""))
            })
            .collect();
        assert_eq!(
            lines,
            [
                "Ready=Unknown NodeStatusUnknown",
                "MemoryPressure=Unknown NodeStatusNeverUpdated",
                "DiskPressure=Unknown NodeStatusNeverUpdated",
                "PIDPressure=Unknown NodeStatusNeverUpdated"
            ]
        );
        let mut silent = node("True");
        silent.status.get_or_insert_default().conditions = Some(conditions);
        assert_eq!(silenced(&silent, Timestamp::UNIX_EPOCH), None);
    }
}
