//! Pods that must be spread evenly over zones, nodes or other places.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use minik_reconcile::{KeyOf, labels};

use crate::cluster::{Cluster, NodeFacts, PodFacts};
use crate::filter::{Refusal, Wakes, node_affinity, spec, taints};

/// One constraint, with the pods it counts made explicit.
#[derive(Clone, Debug)]
pub(crate) struct Constraint {
    pub(crate) key: String,
    pub(crate) max_skew: i64,
    min_domains: i64,
    selector: LabelSelector,
    honors_affinity: bool,
    honors_taints: bool,
}

/// The constraints of a pod: those that must hold (`DoNotSchedule`) or those that should.
pub(crate) fn own_constraints(pod: &PodFacts, must: bool) -> Vec<Constraint> {
    let all = spec(pod).and_then(|spec| spec.topology_spread_constraints.as_deref());
    let all = all.unwrap_or_default().iter();
    all.filter(|one| (one.when_unsatisfiable == "DoNotSchedule") == must)
        .map(|one| constraint(pod, one))
        .collect()
}

fn constraint(pod: &PodFacts, given: &TopologySpreadConstraint) -> Constraint {
    let mut selector = given.label_selector.clone().unwrap_or_else(|| LabelSelector {
        // A constraint without selector counts nothing.
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: String::new(),
            operator: "Exists".to_owned(),
            values: None,
        }]),
        ..LabelSelector::default()
    });
    for key in given.match_label_keys.iter().flatten() {
        if let Some(value) = pod.labels().and_then(|labels| labels.get(key)) {
            selector.match_labels.get_or_insert_default().insert(key.clone(), value.clone());
        }
    }
    Constraint {
        key: given.topology_key.clone(),
        max_skew: i64::from(given.max_skew),
        min_domains: i64::from(given.min_domains.unwrap_or(1)),
        selector,
        honors_affinity: given.node_affinity_policy.as_deref() != Some("Ignore"),
        honors_taints: given.node_taints_policy.as_deref() == Some("Honor"),
    }
}

/// Whether a constraint of `pod` counts `other`.
pub(crate) fn is_counted(constraint: &Constraint, pod: &PodFacts, other: &PodFacts) -> bool {
    other.key.namespace == pod.key.namespace
        && !other.pod.is_terminating()
        && labels::selects(&constraint.selector, other.labels())
}

/// The nodes whose pods a constraint looks at: those with the label where the pod could go.
pub(crate) fn counted_nodes<'a>(
    constraint: &'a Constraint,
    pod: &'a PodFacts,
    cluster: &'a Cluster,
) -> impl Iterator<Item = (&'a str, &'a NodeFacts)> {
    let eligible = move |node: &&NodeFacts| {
        (!constraint.honors_affinity || node_affinity::matches(pod, node))
            && (!constraint.honors_taints || taints::untolerated(pod, node).is_none())
    };
    let nodes = cluster.nodes.values().filter(eligible);
    nodes.filter_map(|node| Some((node.label(&constraint.key)?, node)))
}

/// How many counted pods are in each place, for each constraint that must hold.
pub(super) struct Prepared {
    counts: Vec<(Constraint, HashMap<String, i64>, bool)>,
}

impl Prepared {
    pub(super) fn of(pod: &PodFacts, cluster: &Cluster) -> Prepared {
        let constraints = own_constraints(pod, true);
        // A node counts only if it has the labels of all constraints.
        let keys: Vec<String> = constraints.iter().map(|one| one.key.clone()).collect();
        let counts = constraints.into_iter().map(|constraint| {
            let mut places: BTreeMap<String, i64> = BTreeMap::new();
            for (place, node) in counted_nodes(&constraint, pod, cluster) {
                if keys.iter().any(|key| node.label(key).is_none()) {
                    continue;
                }
                let here = node.pods.values();
                let here = here.filter(|other| is_counted(&constraint, pod, other)).count();
                let count = places.entry(place.to_owned()).or_insert(0);
                *count += i64::try_from(here).unwrap_or(i64::MAX);
            }
            let counts_itself = labels::selects(&constraint.selector, pod.labels());
            (constraint, places.into_iter().collect(), counts_itself)
        });
        Prepared { counts: counts.collect() }
    }

    pub(super) fn check(&self, node: &NodeFacts) -> Option<Refusal> {
        const REASON: &str = "node(s) didn't match pod topology spread constraints";
        for (constraint, places, counts_itself) in &self.counts {
            let Some(place) = node.label(&constraint.key) else {
                return Some(Refusal::lasting(format!("{REASON} (missing required label)")));
            };
            let enough = i64::try_from(places.len()).unwrap_or(i64::MAX) >= constraint.min_domains;
            let least = if enough { places.values().min().copied().unwrap_or(0) } else { 0 };
            let here = places.get(place).copied().unwrap_or(0) + i64::from(*counts_itself);
            if here - least > constraint.max_skew {
                return Some(Refusal::curable(REASON, Wakes::ANY));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use test_case::test_case;

    use super::*;
    use crate::cluster::samples::{cluster, facts, node, pod};

    fn wants(extra: Value) -> Value {
        let mut constraint = json!({
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": "web" } },
        });
        for (name, value) in extra.as_object().expect("an object") {
            constraint[name] = value.clone();
        }
        json!({ "metadata": { "labels": { "app": "web" } },
                "spec": { "topologySpreadConstraints": [constraint] } })
    }

    #[test_case("n1", json!({}), "n3"; "the emptier zone")]
    #[test_case("n1 n3", json!({}), "n1 n2 n3"; "even")]
    #[test_case("n1 n2 n3", json!({}), "n3"; "zones count, not nodes")]
    #[test_case("n1 n2", json!({ "maxSkew": 3 }), "n1 n2 n3"; "within the skew")]
    #[test_case("n1 n3", json!({ "minDomains": 3 }), ""; "too few zones")]
    #[test_case("", json!({ "topologyKey": "rack" }), ""; "no node has the label")]
    fn spread(there: &str, extra: Value, expected: &str) {
        let zone = |zone: &str| json!({ "metadata": { "labels": { "zone": zone } } });
        let nodes = [node("n1", zone("a")), node("n2", zone("a")), node("n3", zone("b"))];
        let pods: Vec<_> = there
            .split_whitespace()
            .enumerate()
            .map(|(index, on)| {
                pod(&format!("p{index}"), on, json!({ "metadata": { "labels": { "app": "web" } } }))
            })
            .collect();
        let cluster = cluster(&nodes, &pods);
        let pod = facts("new", wants(extra));
        let prepared = Prepared::of(&pod, &cluster);
        let fitting = cluster.nodes.values().filter(|node| prepared.check(node).is_none());
        let names: Vec<_> = fitting.map(|node| node.name.clone()).collect();
        assert_eq!(names.join(" "), expected);
    }
}
