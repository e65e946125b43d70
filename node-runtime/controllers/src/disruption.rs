//! PodDisruptionBudget: says how many pods may be sent away now. The eviction of a pod reads it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use minik_client::{ApiErrorExt, EventRecorder, Level};
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue, labels,
};

use crate::owned::controller_of;
use crate::pods;
use crate::share::{Round, of_total};
use crate::wiring::{Running, Wiring, enqueue_each, namespace_of, now};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "disruption-controller";

/// How long an eviction may take to show in the pod before it is given up.
const DISRUPTED_MAX: SignedDuration = SignedDuration::from_secs(120);
const ALLOWED: &str = "DisruptionAllowed";

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    budgets: Cache<PodDisruptionBudget>,
    pods: Cache<Pod>,
    scales: Scales,
}

/// Where wanted numbers of pods are written.
#[derive(Clone)]
struct Scales {
    deployments: Cache<Deployment>,
    replica_sets: Cache<ReplicaSet>,
    stateful_sets: Cache<StatefulSet>,
    replication_controllers: Cache<ReplicationController>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(NAME);
    let context = Context {
        events: wiring.events(&client, NAME),
        client,
        budgets: wiring.caches.watch(),
        pods: wiring.caches.watch(),
        scales: Scales {
            deployments: wiring.caches.watch(),
            replica_sets: wiring.caches.watch(),
            stateful_sets: wiring.caches.watch(),
            replication_controllers: wiring.caches.watch(),
        },
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.budgets, &queue);
    let (budgets, wake) = (context.budgets.clone(), queue.clone());
    context.pods.on_change(move |seen| {
        let pod = seen.object();
        let before = match seen {
            Seen::Applied { old, .. } => old.and_then(|old| old.metadata.labels.as_ref()),
            Seen::Deleted { .. } => None,
        };
        for budget in budgets.in_namespace(namespace_of(&**pod)) {
            if covers(&budget, pod) || before.is_some_and(|old| selects(&budget, Some(old))) {
                wake.add(budget.key());
            }
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

fn selects(budget: &PodDisruptionBudget, pod_labels: Option<&BTreeMap<String, String>>) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| labels::selects(selector, pod_labels))
}

fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    selects(budget, pod.metadata.labels.as_ref())
}

impl Scales {
    /// The number of pods the controllers of these pods want together.
    fn wanted(&self, pods: &[Arc<Pod>]) -> Result<i32, String> {
        let mut by_owner: BTreeMap<String, i32> = BTreeMap::new();
        for pod in pods {
            let Some((uid, replicas)) = self.of(pod) else {
                return Err(format!("found no controller ref for pod {:?}", pod.key().name));
            };
            by_owner.insert(uid, replicas);
        }
        Ok(by_owner.values().sum())
    }

    fn of(&self, pod: &Pod) -> Option<(String, i32)> {
        let owner = controller_of(pod)?;
        let key = ObjectKey::new(namespace_of(pod), &*owner.name);
        let number = |replicas: Option<i32>| replicas.unwrap_or(1);
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = self.replica_sets.get(&key)?;
                let deployment = controller_of(&*set).and_then(|owner| {
                    self.deployments.get(&ObjectKey::new(&*key.namespace, &*owner.name))
                });
                Some(match deployment {
                    Some(one) => {
                        let replicas = one.spec.as_ref().and_then(|spec| spec.replicas);
                        (one.uid_str().to_owned(), number(replicas))
                    }
                    None => {
                        let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
                        (set.uid_str().to_owned(), number(replicas))
                    }
                })
            }
            "StatefulSet" => {
                let set = self.stateful_sets.get(&key)?;
                let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
                Some((set.uid_str().to_owned(), number(replicas)))
            }
            "ReplicationController" => {
                let one = self.replication_controllers.get(&key)?;
                let replicas = one.spec.as_ref().and_then(|spec| spec.replicas);
                Some((one.uid_str().to_owned(), number(replicas)))
            }
            _ => None,
        }
    }
}

/// How many pods there should be, and how many must be healthy.
fn demands(
    budget: &PodDisruptionBudget,
    pods: usize,
    wanted: impl FnOnce() -> Result<i32, String>,
) -> Result<(i32, i32), String> {
    let spec = budget.spec.clone().unwrap_or_default();
    let pods = i32::try_from(pods).unwrap_or(i32::MAX);
    match (spec.max_unavailable, spec.min_available) {
        (Some(share), _) => {
            let expected = wanted()?;
            Ok((expected, (expected - of_total(&share, expected, Round::Up)).max(0)))
        }
        (None, Some(IntOrString::Int(number))) => Ok((pods, number)),
        (None, Some(share)) => {
            let expected = wanted()?;
            Ok((expected, of_total(&share, expected, Round::Up)))
        }
        (None, None) => Ok((pods, 0)),
    }
}

/// The status that pods and demands amount to, and when an eviction under way is given up.
fn status(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    demands: Result<(i32, i32), String>,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let old = budget.status.clone().unwrap_or_default();
    let mut status = PodDisruptionBudgetStatus {
        observed_generation: budget.metadata.generation,
        ..old.clone()
    };
    let (disrupted, look_again) = under_way(&old, pods, now);
    let healthy = pods.iter().filter(|pod| {
        !pod.is_terminating() && pods::is_ready(pod) && !disrupted.contains_key(&pod.key().name)
    });
    let healthy = i32::try_from(healthy.count()).unwrap_or(i32::MAX);
    let (allowed, verdict) = match demands {
        Ok((expected, desired)) => {
            status.expected_pods = Some(expected);
            status.desired_healthy = Some(desired);
            status.current_healthy = Some(healthy);
            let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
            let verdict = if allowed > 0 {
                ("True", "SufficientPods", String::new())
            } else {
                ("False", "InsufficientPods", String::new())
            };
            (allowed, verdict)
        }
        Err(why) => (0, ("False", "SyncFailed", why)),
    };
    status.disruptions_allowed = Some(allowed);
    status.disrupted_pods = (!disrupted.is_empty()).then_some(disrupted);
    status.conditions = Some(condition(&old, verdict, budget.metadata.generation, now));
    (status, look_again)
}

/// Evictions that have been allowed and do not show in their pods yet.
fn under_way(
    old: &PodDisruptionBudgetStatus,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let mut look_again: Option<SignedDuration> = None;
    let mut left = old.disrupted_pods.clone().unwrap_or_default();
    left.retain(|name, since| {
        let pod = pods.iter().find(|pod| pod.key().name == *name);
        let rest = DISRUPTED_MAX - now.duration_since(since.0);
        let stays = pod.is_some_and(|pod| !pod.is_terminating()) && rest > SignedDuration::ZERO;
        if stays {
            look_again = Some(look_again.map_or(rest, |other| other.min(rest)));
        }
        stays
    });
    (left, look_again.and_then(|rest| Duration::try_from(rest).ok()))
}

fn condition(
    old: &PodDisruptionBudgetStatus,
    (status, reason, message): (&str, &str, String),
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let before = conditions.iter().find(|one| one.type_ == ALLOWED && one.status == status);
    let since = before.map_or(Time(now), |before| before.last_transition_time.clone());
    conditions.retain(|one| one.type_ != ALLOWED);
    conditions.push(Condition {
        type_: ALLOWED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since,
    });
    conditions
}

/// Reconciles one budget.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(budget) = ctx.budgets.get(&key) else { return Ok(Requeue::WhenChanged) };
    let mut pods = ctx.pods.in_namespace(&key.namespace);
    pods.retain(|pod| covers(&budget, pod) && !pods::is_finished(pod));
    if pods.is_empty() {
        ctx.events.record(&*budget, Level::Normal, "NoPods", "No matching pods found");
    }
    let demands = demands(&budget, pods.len(), || ctx.scales.wanted(&pods));
    if let Err(why) = &demands {
        let message = format!("Failed to calculate the number of expected pods: {why}");
        ctx.events.record(&*budget, Level::Warning, "CalculateExpectedPodCountFailed", message);
    }
    let (status, look_again) = status(&budget, &pods, demands, now());
    if budget.status.as_ref() != Some(&status) {
        let mut written = (*budget).clone();
        written.status = Some(status);
        match Change::ReplaceStatus(Box::new(written)).apply(&ctx.client).await {
            Err(gone) if gone.error.is_not_found() => return Ok(Requeue::WhenChanged),
            answer => ctx.budgets.caught_up(&answer?.unwrap_or_default()).await?,
        }
    }
    Ok(look_again.map_or(Requeue::WhenChanged, Requeue::After))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use test_case::test_case;

    use super::*;

    fn some_pods(count: usize, ready: usize) -> Vec<Arc<Pod>> {
        let one = |index: usize| {
            let ready = if index < ready { "True" } else { "False" };
            serde_json::from_value(json!({
                "metadata": { "name": format!("p{index}"), "namespace": "default" },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] },
            }))
            .map(Arc::new)
            .expect("a pod")
        };
        (0..count).map(one).collect()
    }

    #[test_case(json!({ "minAvailable": 2 }), 3, 3, 1; "a number")]
    #[test_case(json!({ "minAvailable": 2 }), 3, 2, 0; "no spare one")]
    #[test_case(json!({ "minAvailable": "30%" }), 4, 4, 1; "three of ten are needed")]
    #[test_case(json!({ "maxUnavailable": 1 }), 4, 4, 0; "six of ten are missing already")]
    #[test_case(json!({ "maxUnavailable": "70%" }), 4, 4, 1; "seven of ten may be missing")]
    fn allowed(spec: Value, pods: usize, ready: usize, expected: i32) {
        let budget: PodDisruptionBudget =
            serde_json::from_value(json!({ "metadata": { "name": "b" }, "spec": spec }))
                .expect("a budget");
        let pods = some_pods(pods, ready);
        let demands = demands(&budget, pods.len(), || Ok(10));
        let (status, _) = status(&budget, &pods, demands, Timestamp::UNIX_EPOCH);
        assert_eq!(status.disruptions_allowed, Some(expected));
    }

    #[test]
    fn an_eviction_under_way_counts() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let budget: PodDisruptionBudget = serde_json::from_value(json!({
            "metadata": { "name": "b" }, "spec": { "minAvailable": 1 },
            "status": { "disruptedPods": { "p0": "1970-01-01T00:00:00Z" } },
        }))
        .expect("a budget");
        let pods = some_pods(2, 2);
        let look = |now| {
            let (status, again) = status(&budget, &pods, Ok((2, 1)), now);
            (status.disruptions_allowed, again.map(|again| again.as_secs()))
        };
        assert_eq!(look(at(20)), (Some(0), Some(100)));
        assert_eq!(look(at(130)), (Some(1), None));
    }
}
