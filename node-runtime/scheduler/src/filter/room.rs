//! A node must have left what the pod asks for.

use minik_reconcile::amounts::PODS;

use crate::cluster::{NodeFacts, PodFacts};
use crate::filter::{Refusal, Wakes};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Vec<Refusal> {
    let lacking = pod.requested.iter().filter_map(|(name, wanted)| {
        let all = node.allocatable.get(name);
        if wanted <= all - node.used.get(name) {
            return None;
        }
        let reason = match name {
            PODS => "Too many pods".to_owned(),
            name => format!("Insufficient {name}"),
        };
        // More than the whole node: nobody who leaves could help.
        let curable = wanted <= all;
        Some(Refusal { reason, curable, wakes: Wakes::ROOM })
    });
    lacking.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::samples::{cluster, cpu, facts, node, pod};

    #[test]
    fn every_lack_is_named() {
        let cluster = cluster(&[node("n1", json!({}))], &[pod("a", "n1", cpu("1500m"))]);
        let check = |cpu: &str, memory: &str, expected: &[(&str, bool)]| {
            let wants = json!({ "spec": { "containers": [{ "name": "c",
                "resources": { "requests": { "cpu": cpu, "memory": memory } } }] } });
            let found = check(&facts("b", wants), &cluster.nodes["n1"]);
            let found: Vec<(&str, bool)> =
                found.iter().map(|one| (one.reason.as_str(), one.curable)).collect();
            assert_eq!(found, expected);
        };
        check("500m", "1Gi", &[]);
        check("501m", "1Gi", &[("Insufficient cpu", true)]);
        check("3", "8Gi", &[("Insufficient cpu", false), ("Insufficient memory", false)]);
    }

    #[test]
    fn pods_are_counted() {
        let small = json!({ "status": { "allocatable": { "pods": "1" } } });
        let cluster = cluster(&[node("n1", small)], &[pod("a", "n1", json!({}))]);
        let found = check(&facts("b", json!({})), &cluster.nodes["n1"]);
        assert_eq!(found[0].reason, "Too many pods");
    }
}
