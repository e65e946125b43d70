//! Places where preferred company is, or preferred distance is kept, are better.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::WeightedPodAffinityTerm;

use crate::cluster::{Cluster, NodeFacts, PodFacts};
use crate::filter::{Term, spec, terms_of};
use crate::score::BEST;

/// What a running pod's required affinity counts for a pod it matches.
const REQUIRED_WEIGHT: i64 = 1;

struct Weighted {
    term: Term,
    weight: i64,
}

fn preferred_terms(pod: &PodFacts, cluster: &Cluster) -> Vec<Weighted> {
    let Some(affinity) = spec(pod).and_then(|spec| spec.affinity.as_ref()) else {
        return Vec::new();
    };
    let near = affinity.pod_affinity.as_ref();
    let near =
        near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_deref());
    let far = affinity.pod_anti_affinity.as_ref();
    let far =
        far.and_then(|far| far.preferred_during_scheduling_ignored_during_execution.as_deref());
    let all = |terms: Option<&[WeightedPodAffinityTerm]>, sign: i64| -> Vec<Weighted> {
        let terms = terms.unwrap_or_default().iter();
        let weighted = terms.map(|given| Weighted {
            term: Term::of(pod, &given.pod_affinity_term, cluster),
            weight: sign * i64::from(given.weight),
        });
        weighted.collect()
    };
    let mut terms = all(near, 1);
    terms.extend(all(far, -1));
    terms
}

fn has_affinity(pod: &PodFacts) -> bool {
    let affinity = spec(pod).and_then(|spec| spec.affinity.as_ref());
    affinity.is_some_and(|one| one.pod_affinity.is_some() || one.pod_anti_affinity.is_some())
}

pub(super) fn preferred(pod: &PodFacts, nodes: &[&NodeFacts], cluster: &Cluster) -> Vec<i64> {
    let mine = preferred_terms(pod, cluster);
    let mut places: HashMap<(String, String), i64> = HashMap::new();
    let mut add = |term: &Term, node: &NodeFacts, weight: i64| {
        if let Some(place) = term.place(node.labels()) {
            *places.entry(place).or_insert(0) += weight;
        }
    };
    for node in cluster.nodes.values() {
        for other in node.pods.values() {
            for one in mine.iter().filter(|one| one.term.matches(other)) {
                add(&one.term, node, one.weight);
            }
            if !has_affinity(other) {
                continue;
            }
            for one in preferred_terms(other, cluster) {
                if one.term.matches(pod) {
                    add(&one.term, node, one.weight);
                }
            }
            let (near, _) = terms_of(other, cluster);
            for term in near.iter().filter(|term| term.matches(pod)) {
                add(term, node, REQUIRED_WEIGHT);
            }
        }
    }
    let sums: Vec<i64> = nodes
        .iter()
        .map(|node| {
            let here =
                places.iter().filter(|((key, value), _)| node.label(key) == Some(value.as_str()));
            here.map(|(_, weight)| weight).sum()
        })
        .collect();
    let (least, most) =
        (sums.iter().min().copied().unwrap_or(0), sums.iter().max().copied().unwrap_or(0));
    let points = sums.iter().map(|sum| match most - least {
        0 => 0,
        range => BEST * (sum - least) / range,
    });
    points.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::samples::{cluster, facts, node, pod};

    fn prefers(kind: &str) -> Value {
        json!({ "spec": { "affinity": { kind: {
            "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 50,
                "podAffinityTerm": { "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": { "matchLabels": { "app": "db" } } } }] } } } })
    }

    #[test]
    fn company_draws_and_distance_repels() {
        let nodes = [node("n1", json!({})), node("n2", json!({}))];
        let db = pod("db", "n1", json!({ "metadata": { "labels": { "app": "db" } } }));
        let cluster = cluster(&nodes, &[db]);
        let nodes: Vec<&NodeFacts> = cluster.nodes.values().collect();
        let check = |wants: Value, expected: [i64; 2]| {
            assert_eq!(preferred(&facts("new", wants), &nodes, &cluster), expected);
        };
        check(prefers("podAffinity"), [100, 0]);
        check(prefers("podAntiAffinity"), [0, 100]);
        check(json!({}), [0, 0]);
    }
}
