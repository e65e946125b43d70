//! DaemonSet: one pod on every node that it is meant for.
//!
//! The pod of a node is bound to it by a required affinity to the node's name, so that the
//! scheduler still checks ports and room. [`nodes`] says which nodes a set is meant for,
//! [`rollout`] which pods make way for the next template.

mod nodes;
mod rollout;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use minik_client::{ApiErrorExt, Level};
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue, labels,
};

use crate::daemon_set::nodes::{Meant, meant, node_of, pod_for};
use crate::history;
use crate::owned;
use crate::pod_control::PodControl;
use crate::pods::{self, Availability};
use crate::wiring::{
    Running, Wiring, enqueue_adopters, enqueue_controller, enqueue_each, name_of, now,
};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "daemon-set-controller";

/// Most pods made or deleted in one go.
const BURST_MAX: usize = 250;
/// Revisions kept when the set does not say how many.
const HISTORY_LIMIT_DEFAULT: i32 = 10;

#[derive(Clone)]
struct Context {
    control: PodControl,
    sets: Cache<DaemonSet>,
    nodes: Cache<Node>,
    revisions: Cache<ControllerRevision>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        control: wiring.pod_control(NAME),
        sets: wiring.caches.watch(),
        nodes: wiring.caches.watch(),
        revisions: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.sets, &queue);
    enqueue_controller(&context.control.pods, "DaemonSet", &queue);
    enqueue_controller(&context.revisions, "DaemonSet", &queue);
    enqueue_adopters(&context.control.pods, &context.sets, &queue, |set, pod| {
        labels::selects(&spec(set).selector, pod.metadata.labels.as_ref())
    });
    let (sets, wake) = (context.sets.clone(), queue.clone());
    context.nodes.on_change(move |seen| {
        let matters = match seen {
            Seen::Applied { old: Some(old), new } => {
                old.metadata.labels != new.metadata.labels || old.spec != new.spec
            }
            Seen::Applied { old: None, .. } | Seen::Deleted { .. } => true,
        };
        if matters {
            sets.list().iter().for_each(|set| wake.add(set.key()));
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

fn spec(set: &DaemonSet) -> &DaemonSetSpec {
    static NONE: std::sync::LazyLock<DaemonSetSpec> =
        std::sync::LazyLock::new(DaemonSetSpec::default);
    set.spec.as_ref().unwrap_or(&NONE)
}

/// Pods of a set by the node they are on or meant for.
type ByNode<'a> = BTreeMap<&'a str, Vec<&'a Arc<Pod>>>;

fn by_node(mine: &[Arc<Pod>]) -> ByNode<'_> {
    let mut by_node = ByNode::new();
    for pod in mine {
        if let Some(node) = node_of(pod) {
            by_node.entry(node).or_default().push(pod);
        }
    }
    by_node
}

/// What a DaemonSet needs done to its pods, given the hash of the current template.
fn plan(
    set: &DaemonSet,
    mine: &[Arc<Pod>],
    nodes: &[Arc<Node>],
    hash: &str,
    now: Timestamp,
) -> Vec<Change<Pod>> {
    if set.is_terminating() {
        return Vec::new(); // The garbage collector takes the pods.
    }
    let there = by_node(mine);
    let mut delete: Vec<&Arc<Pod>> = Vec::new();
    let mut create = Vec::new();
    for node in nodes {
        let pods = there.get(name_of(&**node)).map(Vec::as_slice).unwrap_or_default();
        match meant(set, node) {
            Meant { runs: false, stays: false } => delete.extend(pods.iter().copied()),
            Meant { runs: false, stays: true } => {}
            Meant { runs: true, .. } => {
                let alive = rollout::settle(set, pods, hash, now, &mut delete);
                if alive == 0 {
                    create.push(Change::create(pod_for(set, name_of(&**node), hash)));
                }
            }
        }
    }
    let surging = rollout::surging(set, nodes, &there, hash, now);
    create.extend(surging.into_iter().map(|node| Change::create(pod_for(set, node, hash))));
    // Pods of nodes that are gone are left to the pod garbage collector.
    if !spec_is_on_delete(set) {
        delete.extend(rollout::make_way(set, nodes, &there, hash, now));
    }
    let doomed = delete.into_iter().filter(|pod| !pod.is_terminating());
    let changes = create.into_iter().chain(doomed.map(|pod| Change::delete(&**pod)));
    changes.take(BURST_MAX).collect()
}

fn spec_is_on_delete(set: &DaemonSet) -> bool {
    let strategy = spec(set).update_strategy.as_ref();
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete")
}

/// The status that pods and nodes amount to, and when it changes by time alone.
fn status(
    set: &DaemonSet,
    mine: &[Arc<Pod>],
    nodes: &[Arc<Node>],
    hash: &str,
    now: Timestamp,
) -> (DaemonSetStatus, Requeue) {
    let there = by_node(mine);
    let min_ready = spec(set).min_ready_seconds.unwrap_or(0);
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: set.status.as_ref().and_then(|status| status.collision_count),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    let mut requeue = Requeue::WhenChanged;
    for node in nodes {
        let pods = there.get(name_of(&**node)).map(Vec::as_slice).unwrap_or_default();
        if !meant(set, node).runs {
            status.number_misscheduled += i32::from(!pods.is_empty());
            continue;
        }
        status.desired_number_scheduled += 1;
        let oldest = pods.iter().min_by_key(|pod| {
            (!pods::is_ready(pod), pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
        });
        let Some(pod) = oldest else { continue };
        status.current_number_scheduled += 1;
        updated += i32::from(pod.label(history::HASH) == Some(hash));
        match pods::availability(pod, min_ready, now) {
            Availability::NotReady => {}
            Availability::In(rest) => {
                status.number_ready += 1;
                requeue = requeue.or_sooner(Requeue::After(rest + Duration::from_millis(50)));
            }
            Availability::Available => {
                status.number_ready += 1;
                available += 1;
            }
        }
    }
    let unavailable = status.desired_number_scheduled - available;
    let some = |count: i32| (count != 0).then_some(count);
    status.updated_number_scheduled = some(updated);
    status.number_available = some(available);
    status.number_unavailable = some(unavailable);
    (status, requeue)
}

/// Reconciles one DaemonSet.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(set) = ctx.sets.get(&key) else { return Ok(Requeue::WhenChanged) };
    if labels::is_empty(&spec(&set).selector) {
        let message = "This daemon set is selecting all pods. A non-empty selector is required.";
        ctx.control.events.record(&*set, Level::Warning, "SelectingAll", message);
        return Ok(Requeue::WhenChanged);
    }
    ctx.control.claim(&*set, &spec(&set).selector, |_| true).await?;
    let Some(hash) = current_hash(&ctx, &set).await? else { return Ok(Requeue::WhenChanged) };
    let nodes = ctx.nodes.list();
    let changes = plan(&set, &ctx.control.owned_by(&*set), &nodes, &hash, now());
    let failure = ctx.control.carry_out(&*set, changes).await?;
    let (status, requeue) = status(&set, &ctx.control.owned_by(&*set), &nodes, &hash, now());
    if set.status.as_ref() != Some(&status) {
        let mut written = (*set).clone();
        written.status = Some(status);
        match Change::ReplaceStatus(Box::new(written)).apply(&ctx.control.client).await {
            Err(gone) if gone.error.is_not_found() => return Ok(Requeue::WhenChanged),
            answer => ctx.sets.caught_up(&answer?.unwrap_or_default()).await?,
        }
    }
    forget_revisions(&ctx, &set, &hash).await?;
    match failure {
        Some(refused) => Err(refused.error.into()),
        None => Ok(requeue),
    }
}

/// The hash of the template as it is now, after its revision has been written.
async fn current_hash(ctx: &Context, set: &DaemonSet) -> Result<Option<String>, ReconcileError> {
    let mut there = ctx.revisions.owned_by(set.uid_str());
    there.retain(|one| owned::is_controlled_by(&**one, set.uid_str()));
    let collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let current = history::current(set, &spec(set).template, history::HASH, collisions, &there);
    let hash = current.revision.label(history::HASH).unwrap_or_default().to_owned();
    let Some(change) = current.change.filter(|_| !set.is_terminating()) else {
        return Ok(Some(hash));
    };
    match change.apply(&ctx.control.client).await {
        Ok(written) => {
            if let Some(written) = written {
                ctx.revisions.caught_up(&written).await?;
            }
            Ok(Some(hash))
        }
        Err(refused) if refused.error.is_namespace_terminating() => Ok(None),
        Err(refused) if refused.error.is_already_exists() => {
            let mut written = set.clone();
            written.status.get_or_insert_default().collision_count = Some(collisions + 1);
            Change::ReplaceStatus(Box::new(written)).apply(&ctx.control.client).await?;
            Err(refused.into())
        }
        Err(refused) => Err(refused.into()),
    }
}

async fn forget_revisions(
    ctx: &Context,
    set: &DaemonSet,
    hash: &str,
) -> Result<(), ReconcileError> {
    let there = ctx.revisions.owned_by(set.uid_str());
    let pods = ctx.control.owned_by(set);
    let in_use = |revision: &ControllerRevision| {
        let label = revision.label(history::HASH);
        label == Some(hash) || pods.iter().any(|pod| pod.label(history::HASH) == label)
    };
    let limit = spec(set).revision_history_limit.unwrap_or(HISTORY_LIMIT_DEFAULT);
    for change in history::outdated(&there, &in_use, limit) {
        change.apply(&ctx.control.client).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn set(extra: Value) -> DaemonSet {
        let mut spec = json!({
            "selector": { "matchLabels": { "app": "log" } },
            "template": {
                "metadata": { "labels": { "app": "log" } },
                "spec": { "containers": [{ "name": "c", "image": "log" }] },
            },
        });
        for (name, value) in extra.as_object().expect("an object") {
            spec[name] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": { "name": "log", "namespace": "default", "uid": "ds", "generation": 1 },
            "spec": spec,
        }))
        .expect("a daemon set")
    }

    fn some_nodes(names: &str) -> Vec<Arc<Node>> {
        let parse = |name: &str| {
            let taints: Vec<Value> = name
                .ends_with('!')
                .then(|| json!({ "key": "dedicated", "effect": "NoSchedule" }))
                .into_iter()
                .collect();
            serde_json::from_value(json!({
                "metadata": { "name": name.trim_end_matches('!') }, "spec": { "taints": taints },
            }))
            .map(Arc::new)
            .expect("a node")
        };
        names.split_whitespace().map(parse).collect()
    }

    /// `n1=h` is a ready pod of template `h` on n1; `n1=h!` is not ready, `n1=h-` is terminating,
    /// `n1=h$` has failed.
    fn some_pods(words: &str) -> Vec<Arc<Pod>> {
        let parse = |(index, word): (usize, &str)| {
            let (node, hash) = word.split_once('=').expect("node=hash");
            let mark = hash.trim_start_matches(char::is_alphanumeric);
            let deleted = (mark == "-").then_some("2026-01-01T00:00:00Z");
            serde_json::from_value(json!({
                "metadata": { "name": format!("log-{index}"), "uid": index.to_string(),
                    "namespace": "default", "deletionTimestamp": deleted,
                    "creationTimestamp": format!("2026-01-01T00:00:{index:02}Z"),
                    "labels": { "controller-revision-hash": hash.trim_end_matches(mark) } },
                "spec": { "nodeName": node, "containers": [] },
                "status": { "phase": if mark == "$" { "Failed" } else { "Running" },
                    "conditions": [{ "type": "Ready",
                        "status": if mark.is_empty() { "True" } else { "False" } }] },
            }))
            .map(Arc::new)
            .expect("a pod")
        };
        words.split_whitespace().enumerate().map(parse).collect()
    }

    fn check(extra: Value, nodes: &str, pods: &str, expected: &Expect) {
        let changes =
            plan(&set(extra), &some_pods(pods), &some_nodes(nodes), "b", Timestamp::UNIX_EPOCH);
        let lines: Vec<String> = changes
            .iter()
            .map(|change| match change {
                Change::Create(pod) => format!("create on {}", node_of(pod).unwrap_or("?")),
                Change::Delete { key, .. } => format!("delete {}", key.name),
                other => format!("{other:?}"),
            })
            .collect();
        expected.assert_eq(&lines.join(", "));
    }

    #[test]
    fn one_on_each_node() {
        check(json!({}), "n1 n2 n3!", "n1=b", &expect!["create on n2"]);
        check(json!({}), "n1", "n1=b n1=b", &expect!["delete log-1"]);
        check(json!({}), "n1", "n1=b$", &expect!["delete log-0"]);
        check(json!({}), "n1", "n1=b-", &expect![""]);
        check(json!({}), "n1!", "n1=b", &expect![""]);
    }

    #[test]
    fn the_next_template_comes_one_by_one() {
        check(json!({}), "n1 n2", "n1=a n2=a", &expect!["delete log-0"]);
        check(json!({}), "n1 n2", "n1=a! n2=a", &expect!["delete log-0"]);
        check(json!({}), "n1 n2", "n1=b! n2=a", &expect![""]);
        let two = json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": 2 } } });
        check(two, "n1 n2 n3", "n1=a n2=a n3=a", &expect!["delete log-0, delete log-1"]);
        let on_delete = json!({ "updateStrategy": { "type": "OnDelete" } });
        check(on_delete, "n1 n2", "n1=a n2=a", &expect![""]);
        let surge = json!({ "updateStrategy": { "rollingUpdate": {
            "maxUnavailable": 0, "maxSurge": 1 } } });
        check(surge.clone(), "n1 n2", "n1=a n2=a", &expect!["create on n1"]);
        check(surge.clone(), "n1 n2", "n1=a n1=b! n2=a", &expect![""]);
        check(surge, "n1 n2", "n1=a n1=b n2=a", &expect!["create on n2, delete log-0"]);
    }

    #[test]
    fn the_status_counts() {
        let (status, _) = status(
            &set(json!({})),
            &some_pods("n1=b n2=a! n3=b"),
            &some_nodes("n1 n2 n3! n4"),
            "b",
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(status.desired_number_scheduled, 3);
        assert_eq!(status.current_number_scheduled, 2);
        assert_eq!(status.number_misscheduled, 1);
        assert_eq!(status.number_ready, 1);
        assert_eq!(status.updated_number_scheduled, Some(1));
        assert_eq!(status.number_unavailable, Some(2));
    }
}
