//! Which of the nodes that can take a pod is best: each rule gives 0 to 100, weighted and added.

mod company;
mod even;
mod usage;

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Taint;
use minik_reconcile::nodes::tolerates;

use crate::cluster::{Cluster, NodeFacts, PodFacts};
use crate::filter::{matches_term, spec};

/// The best a rule can give.
pub(crate) const BEST: i64 = 100;

/// What a rule gives each node, in the order of the nodes.
type Rule = fn(&PodFacts, &[&NodeFacts], &Cluster) -> Vec<i64>;

/// Every rule and its weight.
const RULES: &[(Rule, i64)] = &[
    (usage::least_allocated, 1),
    (usage::balanced, 1),
    (image_locality, 1),
    (taints_avoided, 3),
    (node_preferred, 2),
    (even::spread, 2),
    (company::preferred, 2),
];

/// The weighted sum for each node.
pub(crate) fn totals(pod: &PodFacts, nodes: &[&NodeFacts], cluster: &Cluster) -> Vec<i64> {
    let mut totals = vec![0; nodes.len()];
    for (rule, weight) in RULES {
        for (total, points) in totals.iter_mut().zip(rule(pod, nodes, cluster)) {
            *total += points * weight;
        }
    }
    totals
}

/// Stretches counts so that the highest becomes [`BEST`].
fn stretched(counts: Vec<i64>) -> Vec<i64> {
    let most = counts.iter().copied().max().unwrap_or(0);
    if most <= 0 {
        return vec![0; counts.len()];
    }
    counts.into_iter().map(|count| count * BEST / most).collect()
}

/// Stretches counts so that the lowest becomes best: they are bad points.
fn inverted(counts: Vec<i64>) -> Vec<i64> {
    stretched(counts).into_iter().map(|points| BEST - points).collect()
}

/// Fewer taints that say "rather not" are better.
fn taints_avoided(pod: &PodFacts, nodes: &[&NodeFacts], _: &Cluster) -> Vec<i64> {
    let tolerations = spec(pod).and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let is_borne = |taint: &Taint| tolerations.iter().any(|one| tolerates(one, taint));
    let unborne = nodes.iter().map(|node| {
        let taints = node.node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let soft = taints.filter(|taint| taint.effect == "PreferNoSchedule" && !is_borne(taint));
        i64::try_from(soft.count()).unwrap_or(i64::MAX)
    });
    inverted(unborne.collect())
}

/// Nodes that the preferred affinity of the pod names are better.
fn node_preferred(pod: &PodFacts, nodes: &[&NodeFacts], _: &Cluster) -> Vec<i64> {
    let affinity = spec(pod).and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
    let terms = affinity
        .and_then(|node| node.preferred_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default();
    let weights = nodes.iter().map(|node| {
        let matching = terms.iter().filter(|term| matches_term(&term.preference, node));
        matching.map(|term| i64::from(term.weight)).sum()
    });
    stretched(weights.collect())
}

/// Nodes that have the images already are better, the more the larger the images, the less the
/// fewer nodes have them: otherwise one node would draw all pods.
fn image_locality(pod: &PodFacts, nodes: &[&NodeFacts], _: &Cluster) -> Vec<i64> {
    const MIB: i64 = 1024 * 1024;
    const LEAST: i64 = 23 * MIB;
    const MOST_PER_CONTAINER: i64 = 1000 * MIB;
    let containers = spec(pod).map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let images: Vec<String> =
        containers.iter().filter_map(|one| one.image.as_deref()).map(normalized).collect();
    let all = i64::try_from(nodes.len()).unwrap_or(i64::MAX).max(1);
    let mut spread: HashMap<&str, i64> = HashMap::new();
    for image in &images {
        let having = nodes.iter().filter(|node| node.images.contains_key(image)).count();
        spread.insert(image, i64::try_from(having).unwrap_or(i64::MAX));
    }
    let most = MOST_PER_CONTAINER * i64::try_from(images.len()).unwrap_or(i64::MAX).max(1);
    let points = nodes.iter().map(|node| {
        let bytes: i64 = images
            .iter()
            .filter_map(|image| Some(node.images.get(image)? * spread[image.as_str()] / all))
            .sum();
        (bytes.clamp(LEAST, most) - LEAST) * BEST / (most - LEAST).max(1)
    });
    points.collect()
}

fn normalized(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::samples::{cluster, facts, node};

    #[test]
    fn preferences() {
        let soft = json!({ "spec": { "taints": [
            { "key": "busy", "effect": "PreferNoSchedule" }] } });
        let ssd = json!({ "metadata": { "labels": { "disk": "ssd" } } });
        let nodes = [node("n1", json!({})), node("n2", soft), node("n3", ssd)];
        let cluster = cluster(&nodes, &[]);
        let nodes: Vec<&NodeFacts> = cluster.nodes.values().collect();
        let wants = json!({ "spec": { "affinity": { "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 10,
                "preference": { "matchExpressions": [
                    { "key": "disk", "operator": "In", "values": ["ssd"] }] } }] } } } });
        assert_eq!(taints_avoided(&facts("a", json!({})), &nodes, &cluster), [100, 0, 100]);
        assert_eq!(node_preferred(&facts("a", wants), &nodes, &cluster), [0, 0, 100]);
        assert_eq!(node_preferred(&facts("a", json!({})), &nodes, &cluster), [0, 0, 0]);
    }

    #[test]
    fn a_large_image_draws() {
        let with = json!({ "status": { "images": [
            { "names": ["web:latest"], "sizeBytes": 1_000_000_000 }] } });
        let cluster = cluster(&[node("n1", json!({})), node("n2", with)], &[]);
        let nodes: Vec<&NodeFacts> = cluster.nodes.values().collect();
        let points = image_locality(&facts("a", json!({})), &nodes, &cluster);
        assert_eq!(points, [0, 46]);
    }
}
