//! ReplicaSet: as many pods as asked for, made from the template, the least loss deleted first.
//!
//! A ReplicationController is the same with an older form; it is looked at as a ReplicaSet through
//! [`Replicates`].

mod replicates;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use minik_client::{ApiErrorExt, said};
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue, labels,
};

use crate::owned;
use crate::pod_control::{PodControl, Refused};
use crate::pods::{self, Availability};
use crate::replica_set::replicates::Replicates;
use crate::wiring::{
    Running, Wiring, enqueue_adopters, enqueue_controller, enqueue_each, name_of, namespace_of, now,
};

/// Most pods made or deleted in one go.
const BURST_MAX: usize = 500;

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "replicaset-controller";
/// Name of the same for ReplicationControllers.
pub(crate) const REPLICATION_CONTROLLER: &str = "replication-controller";

struct Context<R> {
    control: PodControl,
    sets: Cache<R>,
}

impl<R> Clone for Context<R> {
    fn clone(&self) -> Self {
        Context { control: self.control.clone(), sets: self.sets.clone() }
    }
}

/// Hooks the controller of ReplicaSets to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    start_for::<ReplicaSet>(wiring, NAME)
}

/// Hooks the controller of ReplicationControllers to its caches.
pub(crate) fn start_replication_controllers(wiring: &Wiring) -> Running {
    start_for::<ReplicationController>(wiring, REPLICATION_CONTROLLER)
}

fn start_for<R: Replicates>(wiring: &Wiring, name: &'static str) -> Running {
    let context = Context::<R> { control: wiring.pod_control(name), sets: wiring.caches.watch() };
    let queue = WorkQueue::new();
    enqueue_each(&context.sets, &queue);
    enqueue_controller(&context.control.pods, R::KIND, &queue);
    enqueue_adopters(&context.control.pods, &context.sets, &queue, |set, pod| {
        let set = set.as_set();
        set.spec
            .as_ref()
            .is_some_and(|spec| labels::selects(&spec.selector, pod.metadata.labels.as_ref()))
    });
    wiring.work(name, queue, context, reconcile)
}

/// What a ReplicaSet needs done to its pods. Pure: reads what it is given, touches nothing.
fn plan(
    set: &ReplicaSet,
    owner: &OwnerReference,
    mine: &[Arc<Pod>],
    related: &[Arc<Pod>],
) -> Vec<Change<Pod>> {
    if set.is_terminating() {
        return Vec::new(); // The garbage collector takes the pods.
    }
    let wanted = usize::try_from(replicas(set)).unwrap_or(0);
    let active: Vec<&Arc<Pod>> = mine.iter().filter(|pod| pods::is_active(pod)).collect();
    if active.len() < wanted {
        let missing = (wanted - active.len()).min(BURST_MAX);
        return (0..missing).map(|_| Change::create(new_pod(set, owner))).collect();
    }
    let surplus = (active.len() - wanted).min(BURST_MAX);
    let crowd = pods_per_node(related);
    let mut ranked: Vec<(&Pod, usize)> = active
        .into_iter()
        .map(|pod| (&**pod, crowd.get(node_of(pod)).copied().unwrap_or(0)))
        .collect();
    ranked.sort_by(|a, b| pods::deletion_order(*a, *b));
    ranked.into_iter().take(surplus).map(|(pod, _)| Change::delete(pod)).collect()
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn new_pod(set: &ReplicaSet, owner: &OwnerReference) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let mut pod = pods::from_template(namespace_of(set), &template, owner.clone());
    pod.metadata.generate_name = Some(format!("{}-", name_of(set)));
    pod
}

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn pods_per_node(pods: &[Arc<Pod>]) -> HashMap<&str, usize> {
    let mut crowd = HashMap::new();
    for pod in pods.iter().filter(|pod| pods::is_active(pod)) {
        *crowd.entry(node_of(pod)).or_insert(0) += 1;
    }
    crowd
}

/// The status that `pods` amount to, and when it changes by time alone.
fn status(
    set: &ReplicaSet,
    mine: &[Arc<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> (ReplicaSetStatus, Requeue) {
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let template_labels = template.and_then(|template| template.metadata.as_ref()?.labels.clone());
    let template_labels = template_labels.unwrap_or_default();

    let (mut ready, mut available, mut labelled, mut active) = (0, 0, 0, 0);
    let mut requeue = Requeue::WhenChanged;
    for pod in mine.iter().filter(|pod| pods::is_active(pod)) {
        active += 1;
        if labels::selects_all(&template_labels, pod.metadata.labels.as_ref()) {
            labelled += 1;
        }
        match pods::availability(pod, min_ready, now) {
            Availability::NotReady => {}
            Availability::In(rest) => {
                ready += 1;
                requeue = requeue.or_sooner(Requeue::After(rest + Duration::from_millis(50)));
            }
            Availability::Available => {
                ready += 1;
                available += 1;
            }
        }
    }
    let leaving = mine.iter().filter(|pod| pod.is_terminating() && !pods::is_finished(pod));
    let status = ReplicaSetStatus {
        replicas: active,
        fully_labeled_replicas: Some(labelled),
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        terminating_replicas: Some(i32::try_from(leaving.count()).unwrap_or(i32::MAX)),
        observed_generation: set.metadata.generation,
        conditions: conditions(set, failure, now),
    };
    (status, requeue)
}

/// A write the API refused, as the status tells it.
struct Failure {
    reason: &'static str,
    message: String,
}

impl Failure {
    fn of(refused: &Refused) -> Failure {
        Failure { reason: refused.reason, message: said(&refused.error.error) }
    }
}

fn conditions(
    set: &ReplicaSet,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let old = set.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let before = old.iter().find(|condition| condition.type_ == "ReplicaFailure").cloned();
    let mut conditions: Vec<_> =
        old.into_iter().filter(|condition| condition.type_ != "ReplicaFailure").collect();
    match (failure, before) {
        (Some(failure), Some(before)) if before.reason.as_deref() == Some(failure.reason) => {
            conditions.push(before);
        }
        (Some(failure), _) => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(failure.reason.to_owned()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }),
        (None, _) => {}
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// Whether writing `new` over the status of `set` would change anything.
fn differs(set: &ReplicaSet, new: &ReplicaSetStatus) -> bool {
    let old = set.status.clone().unwrap_or_default();
    let count = |status: &ReplicaSetStatus| {
        (
            status.replicas,
            status.fully_labeled_replicas.unwrap_or(0),
            status.ready_replicas.unwrap_or(0),
            status.available_replicas.unwrap_or(0),
            status.terminating_replicas.unwrap_or(0),
            status.observed_generation,
        )
    };
    count(&old) != count(new)
        || old.conditions.unwrap_or_default() != *new.conditions.as_deref().unwrap_or_default()
}

/// Reconciles one ReplicaSet or ReplicationController.
async fn reconcile<R: Replicates>(
    ctx: Context<R>,
    key: ObjectKey,
) -> Result<Requeue, ReconcileError> {
    let Some(owner) = ctx.sets.get(&key) else {
        return Ok(Requeue::WhenChanged); // Deleted: the garbage collector takes the pods.
    };
    let set = owner.as_set();
    if let Some(spec) = &set.spec {
        ctx.control.claim(&*owner, &spec.selector, |_| true).await?;
    }
    let reference = owned::controller_ref(&*owner);
    let changes = plan(&set, &reference, &ctx.control.owned_by(&*owner), &related(&ctx, &*owner));
    let refused = ctx.control.carry_out(&*owner, changes).await?;

    let failure = refused.as_ref().map(Failure::of);
    let (status, requeue) = status(&set, &ctx.control.owned_by(&*owner), failure.as_ref(), now());
    if differs(&set, &status) {
        let written = owner.with_status(status);
        match Change::ReplaceStatus(Box::new(written)).apply(&ctx.control.client).await {
            Err(gone) if gone.error.is_not_found() => return Ok(Requeue::WhenChanged),
            Err(refused) => return Err(refused.into()),
            Ok(Some(written)) => ctx.sets.caught_up(&written).await?,
            Ok(None) => {}
        }
    }
    match refused {
        Some(refused) => Err(refused.error.into()),
        None => Ok(requeue),
    }
}

/// Pods of all sets of the same Deployment: deleting should even them out over the nodes.
fn related<R: Replicates>(ctx: &Context<R>, set: &R) -> Vec<Arc<Pod>> {
    let Some(owner) = owned::controller_of(set) else { return ctx.control.owned_by(set) };
    let sisters = ctx.sets.owned_by(&owner.uid);
    sisters.iter().flat_map(|sister| ctx.control.owned_by(&**sister)).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn set(replicas: i32, min_ready: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "rs", "generation": 3 },
            "spec": {
                "replicas": replicas,
                "minReadySeconds": min_ready,
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "c", "image": "i" }] },
                },
            },
        }))
        .expect("a replica set")
    }

    /// `a` ready, `b!` not ready, `c-` being deleted, `d$` finished; `@n` sets the node.
    fn some_pods(names: &str) -> Vec<Arc<Pod>> {
        let parse = |word: &str| {
            let (name, node) = word.split_once('@').unwrap_or((word, "n1"));
            let ready = !name.ends_with('!');
            let phase = if name.ends_with('$') { "Failed" } else { "Running" };
            let deleted = name.ends_with('-').then_some("2026-01-01T00:00:00Z");
            serde_json::from_value(json!({
                "metadata": { "name": name, "namespace": "default", "uid": name,
                              "labels": { "app": "web" }, "deletionTimestamp": deleted },
                "spec": { "nodeName": node, "containers": [] },
                "status": { "phase": phase, "conditions": [{ "type": "Ready",
                    "status": if ready { "True" } else { "False" },
                    "lastTransitionTime": "2026-01-01T00:00:00Z" }] },
            }))
            .map(Arc::new)
            .expect("a pod")
        };
        names.split_whitespace().map(parse).collect()
    }

    fn check(set: &ReplicaSet, pods: &str, expected: &Expect) {
        let pods = some_pods(pods);
        let owner = owned::controller_ref(set);
        let lines: Vec<String> = plan(set, &owner, &pods, &pods)
            .into_iter()
            .map(|change| match change {
                Change::Create(pod) => {
                    format!("create {}", pod.metadata.generate_name.as_deref().unwrap_or("?"))
                }
                Change::Delete { key, .. } => format!("delete {}", key.name),
                other => format!("{other:?}"),
            })
            .collect();
        expected.assert_eq(&lines.join(", "));
    }

    #[test]
    fn pods_are_made_and_deleted() {
        check(&set(2, 0), "", &expect!["create web-, create web-"]);
        check(&set(2, 0), "a b", &expect![""]);
        check(&set(2, 0), "a b-", &expect!["create web-"]);
        check(&set(2, 0), "a b$", &expect!["create web-"]);
        check(&set(2, 0), "a b! c", &expect!["delete b!"]);
        check(&set(1, 0), "a@n1 b@n2 c@n2", &expect!["delete b, delete c"]);
        check(&set(2, 0), "a@n1 b@n2 c@n2", &expect!["delete b"]);
        check(&set(0, 0), "a b! c-", &expect!["delete b!, delete a"]);
    }

    #[test]
    fn a_burst_has_a_limit() {
        assert_eq!(plan(&set(2000, 0), &OwnerReference::default(), &[], &[]).len(), BURST_MAX);
    }

    #[test]
    fn a_set_that_is_being_deleted_does_nothing() {
        let mut set = set(2, 0);
        set.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        check(&set, "", &expect![""]);
    }

    #[test]
    fn the_status_counts() {
        let now = "2026-01-01T00:00:10Z".parse().expect("a time");
        let (status, requeue) = status(&set(3, 30), &some_pods("a b! c- d$"), None, now);
        assert_eq!(status.replicas, 2);
        assert_eq!(status.ready_replicas, Some(1));
        assert_eq!(status.available_replicas, Some(0));
        assert_eq!(status.fully_labeled_replicas, Some(2));
        assert_eq!(status.terminating_replicas, Some(1));
        assert_eq!(status.observed_generation, Some(3));
        assert_eq!(requeue, Requeue::After(Duration::from_millis(20_050)));
    }
}
