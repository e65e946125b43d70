//! Places with fewer pods of the same kind are better.
//!
//! A pod without constraints of its own is spread over nodes and zones together with the pods of
//! its controller.

use std::collections::HashMap;

use crate::cluster::{Cluster, NodeFacts, PodFacts};
use crate::filter::{counted_nodes, is_counted, own_constraints};
use crate::score::BEST;

/// Places a pod without constraints is spread over, and the skew that does not matter.
const DEFAULTS: &[(&str, i64)] =
    &[("kubernetes.io/hostname", 3), ("topology.kubernetes.io/zone", 5)];

pub(super) fn spread(pod: &PodFacts, nodes: &[&NodeFacts], cluster: &Cluster) -> Vec<i64> {
    let constraints = own_constraints(pod, false);
    let mut bad = vec![0_i64; nodes.len()];
    let mut lacking = vec![false; nodes.len()];
    for constraint in &constraints {
        let mut places: HashMap<&str, i64> = HashMap::new();
        for (place, node) in counted_nodes(constraint, pod, cluster) {
            let here = node.pods.values().filter(|other| is_counted(constraint, pod, other));
            *places.entry(place).or_insert(0) += i64::try_from(here.count()).unwrap_or(i64::MAX);
        }
        weigh(&mut bad, &mut lacking, nodes, &constraint.key, constraint.max_skew, &places);
    }
    if constraints.is_empty() {
        spread_with_sisters(pod, nodes, cluster, &mut bad);
    }
    let (least, most) = (bad.iter().min().copied().unwrap_or(0), bad.iter().max().copied());
    let most = most.unwrap_or(0);
    let points = bad.iter().zip(lacking).map(|(bad, lacking)| {
        if lacking {
            0
        } else if most == 0 {
            BEST
        } else {
            BEST * (most + least - bad) / most
        }
    });
    points.collect()
}

fn weigh(
    bad: &mut [i64],
    lacking: &mut [bool],
    nodes: &[&NodeFacts],
    key: &str,
    max_skew: i64,
    places: &HashMap<&str, i64>,
) {
    // More places mean fewer pods in each: then each weighs more.
    let weight = (f64::from(u32::try_from(places.len()).unwrap_or(u32::MAX)) + 2.0).ln();
    for (index, node) in nodes.iter().enumerate() {
        match node.label(key) {
            Some(place) => {
                let count = i32::try_from(places.get(place).copied().unwrap_or(0));
                let points = f64::from(count.unwrap_or(i32::MAX)) * weight;
                #[expect(clippy::cast_possible_truncation, reason = "a count of pods fits")]
                let points = points.round() as i64;
                bad[index] += points + max_skew - 1;
            }
            None => lacking[index] = true,
        }
    }
}

fn spread_with_sisters(pod: &PodFacts, nodes: &[&NodeFacts], cluster: &Cluster, bad: &mut [i64]) {
    let Some(owner) = controller_uid(pod) else { return };
    for (key, max_skew) in DEFAULTS {
        let mut places: HashMap<&str, i64> = HashMap::new();
        for node in cluster.nodes.values() {
            let Some(place) = node.label(key) else { continue };
            let here = node.pods.values().filter(|other| controller_uid(other) == Some(owner));
            *places.entry(place).or_insert(0) += i64::try_from(here.count()).unwrap_or(i64::MAX);
        }
        // A node without a zone is no worse than others.
        weigh(bad, &mut vec![false; nodes.len()], nodes, key, *max_skew, &places);
    }
}

fn controller_uid(pod: &PodFacts) -> Option<&str> {
    let owners = pod.pod.metadata.owner_references.as_ref()?;
    let controller = owners.iter().find(|owner| owner.controller == Some(true))?;
    Some(&controller.uid)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::samples::{cluster, facts, node, pod};

    fn owned() -> Value {
        json!({ "metadata": { "ownerReferences": [
            { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs",
              "controller": true }] } })
    }

    #[test]
    fn sisters_are_spread() {
        let nodes = [node("n1", json!({})), node("n2", json!({}))];
        let there = [pod("a", "n1", owned()), pod("b", "n1", owned())];
        let cluster = cluster(&nodes, &there);
        let nodes: Vec<&NodeFacts> = cluster.nodes.values().collect();
        let points = spread(&facts("c", owned()), &nodes, &cluster);
        assert!(points[1] > points[0], "{points:?}");
        assert_eq!(spread(&facts("d", json!({})), &nodes, &cluster), [100, 100]);
    }
}
