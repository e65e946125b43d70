//! Emptier nodes are better, and those whose CPU and memory are used alike.

use minik_reconcile::amounts::{CPU, MEMORY};

use crate::cluster::{Cluster, NodeFacts, PodFacts};
use crate::score::BEST;

/// The share of CPU and memory that stays free.
pub(super) fn least_allocated(pod: &PodFacts, nodes: &[&NodeFacts], _: &Cluster) -> Vec<i64> {
    let points = nodes.iter().map(|node| {
        let free = [CPU, MEMORY].map(|name| {
            let all = node.allocatable.get(name);
            let used = node.used_assumed.get(name) + pod.assumed.get(name);
            if all <= 0 || used > all { 0 } else { (all - used) * BEST / all }
        });
        free.iter().sum::<i64>() / 2
    });
    points.collect()
}

/// How near to each other the used shares of CPU and memory are.
pub(super) fn balanced(pod: &PodFacts, nodes: &[&NodeFacts], _: &Cluster) -> Vec<i64> {
    let points = nodes.iter().map(|node| {
        let share = |name: &str| {
            let all = node.allocatable.get(name);
            let used = node.used.get(name) + pod.requested.get(name);
            // In thousandths of what there is.
            if all <= 0 { 1000 } else { (used * 1000 / all).min(1000) }
        };
        let apart = (share(CPU) - share(MEMORY)).abs() / 2;
        BEST - apart / 10
    });
    points.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::samples::{cluster, cpu, facts, node, pod};

    #[test]
    fn the_emptier_node_is_better() {
        let nodes = [node("n1", json!({})), node("n2", json!({}))];
        let cluster = cluster(&nodes, &[pod("a", "n1", cpu("1"))]);
        let nodes: Vec<&NodeFacts> = cluster.nodes.values().collect();
        let new = facts("b", cpu("500m"));
        assert_eq!(least_allocated(&new, &nodes, &cluster), [57, 85]);
        assert_eq!(balanced(&new, &nodes, &cluster), [63, 88]);
    }
}
