//! Makes room for an important pod by sending less important ones away. Pure.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use minik_reconcile::{KeyOf, labels};

use crate::cluster::{Cluster, NodeFacts, PodFacts};
use crate::cycle::Misfit;
use crate::filter::{Request, refusals};
use crate::volumes::Demands;

/// A node and who has to leave it.
#[derive(Clone, Debug)]
pub(crate) struct Eviction {
    pub(crate) node: String,
    pub(crate) victims: Vec<Arc<PodFacts>>,
}

/// The node where the least is lost, if there is one where it helps.
pub(crate) fn plan(
    pod: &PodFacts,
    cluster: &Cluster,
    misfit: &Misfit,
    demands: &Demands,
    budgets: &[Arc<PodDisruptionBudget>],
) -> Option<Eviction> {
    let policy = pod.pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref());
    if policy == Some("Never") || is_waiting_for_victims(pod, cluster) {
        return None;
    }
    let nodes = misfit.curable.iter().filter_map(|name| cluster.nodes.get(name));
    let options = nodes.filter_map(|node| victims(pod, node, cluster, demands, budgets));
    options
        .min_by_key(Loss::of)
        .map(|option| Eviction { node: option.node, victims: option.victims })
}

/// What upstream adds to the message when sending pods away would not help.
pub(crate) fn no_help(misfit: &Misfit) -> String {
    let (nodes, curable) = (misfit.nodes, misfit.curable.len());
    let mut reasons = Vec::new();
    if curable > 0 {
        reasons.push(format!("{curable} No preemption victims found for incoming pod"));
    }
    if nodes > curable {
        let rest = nodes - curable;
        reasons.push(format!("{rest} Preemption is not helpful for scheduling"));
    }
    format!("preemption: 0/{nodes} nodes are available: {}.", reasons.join(", "))
}

/// Victims of an earlier round are still shutting down.
fn is_waiting_for_victims(pod: &PodFacts, cluster: &Cluster) -> bool {
    let Some((node, _)) = cluster.nominated.get(&pod.key) else { return false };
    cluster.nodes.get(node).is_some_and(|node| {
        node.pods.values().any(|other| other.pod.is_terminating() && other.priority < pod.priority)
    })
}

struct Choice {
    node: String,
    victims: Vec<Arc<PodFacts>>,
    broken_budgets: usize,
}

/// Who must leave `node`: first all less important pods, then back in whoever still fits, the most
/// important first, those under a budget before the others.
fn victims(
    pod: &PodFacts,
    node: &NodeFacts,
    cluster: &Cluster,
    demands: &Demands,
    budgets: &[Arc<PodDisruptionBudget>],
) -> Option<Choice> {
    let mut lesser: Vec<Arc<PodFacts>> =
        node.pods.values().filter(|other| other.priority < pod.priority).cloned().collect();
    if lesser.is_empty() {
        return None;
    }
    let mut left = node.clone();
    lesser.iter().for_each(|other| left.remove(&other.key));
    let request = Request::prepare(pod, demands, cluster);
    if !refusals(&request, &left).is_empty() {
        return None;
    }
    lesser.sort_by_key(|other| (Reverse(other.priority), other.started()));
    let (guarded, free): (Vec<_>, Vec<_>) =
        lesser.into_iter().partition(|other| breaks_budget(other, budgets));
    let mut victims = Vec::new();
    let mut broken_budgets = 0;
    let guarded = guarded.into_iter().map(|one| (one, true));
    for (other, is_guarded) in guarded.chain(free.into_iter().map(|one| (one, false))) {
        left.add(other.clone());
        if refusals(&request, &left).is_empty() {
            continue;
        }
        left.remove(&other.key);
        broken_budgets += usize::from(is_guarded);
        victims.push(other);
    }
    Some(Choice { node: node.name.clone(), victims, broken_budgets })
}

fn breaks_budget(pod: &PodFacts, budgets: &[Arc<PodDisruptionBudget>]) -> bool {
    budgets.iter().any(|budget| {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let allowed =
            budget.status.as_ref().map_or(0, |status| status.disruptions_allowed.unwrap_or(0));
        budget.key().namespace == pod.key.namespace
            && allowed <= 0
            && selector.is_some_and(|selector| labels::selects(selector, pod.labels()))
    })
}

/// What is lost on a node, least first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Loss {
    broken_budgets: usize,
    highest_priority: i32,
    priorities: i64,
    victims: usize,
    /// Of equal losses the one that has run for the shortest time.
    started: Reverse<Option<Timestamp>>,
    node: String,
}

impl Loss {
    fn of(choice: &Choice) -> Loss {
        let priorities = || choice.victims.iter().map(|victim| victim.priority);
        let highest = priorities().max().unwrap_or(i32::MIN);
        let top = choice.victims.iter().filter(|victim| victim.priority == highest);
        Loss {
            broken_budgets: choice.broken_budgets,
            highest_priority: highest,
            priorities: priorities().map(|one| i64::from(one) - i64::from(i32::MIN)).sum(),
            victims: choice.victims.len(),
            started: Reverse(top.filter_map(|victim| victim.started()).min()),
            node: choice.node.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::samples::{cluster, facts, node, pod};
    use crate::cycle::{Decision, decide};

    fn wants(cpu: &str, priority: i32) -> Value {
        json!({ "spec": { "priority": priority, "containers": [{ "name": "c",
            "resources": { "requests": { "cpu": cpu } } }] } })
    }

    fn evicted(there: &[(&str, &str, &str, i32)], new: Value) -> String {
        let nodes = [node("n1", json!({})), node("n2", json!({}))];
        let pods: Vec<_> = there
            .iter()
            .map(|(name, on, cpu, priority)| pod(name, on, wants(cpu, *priority)))
            .collect();
        let cluster = cluster(&nodes, &pods);
        let new = facts("new", new);
        let none = Demands::default();
        let Decision::Nowhere(misfit) = decide(&new, &cluster, &none, 0) else {
            return "fits".into();
        };
        match plan(&new, &cluster, &misfit, &none, &[]) {
            None => no_help(&misfit),
            Some(eviction) => {
                let names: Vec<&str> =
                    eviction.victims.iter().map(|victim| victim.key.name.as_str()).collect();
                format!("{}: {}", eviction.node, names.join(" "))
            }
        }
    }

    #[test]
    fn the_least_is_lost() {
        let there =
            [("a", "n1", "1", 10), ("b", "n1", "1", 5), ("c", "n2", "1", 10), ("d", "n2", "1", 20)];
        assert_eq!(evicted(&there, wants("1", 100)), "n1: b");
        assert_eq!(evicted(&there, wants("2", 100)), "n1: a b");
        assert_eq!(
            evicted(&there, wants("2", 8)),
            "preemption: 0/2 nodes are available: \
            2 No preemption victims found for incoming pod."
        );
        assert_eq!(
            evicted(&there, wants("3", 100)),
            "preemption: 0/2 nodes are available: \
            2 Preemption is not helpful for scheduling."
        );
    }
}
