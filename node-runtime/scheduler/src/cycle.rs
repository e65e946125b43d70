//! One decision: a pod and the cluster as it is now, to a node or to the reasons why none will do.
//! Pure: looks at what it is given, touches nothing.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::cluster::{Cluster, NodeFacts, PodFacts};
use crate::filter::{Refusal, Request, Wakes, refusals};
use crate::score;
use crate::volumes::Demands;

/// From this many nodes on, not all are looked at.
const LOOK_AT_ALL: usize = 100;

/// Where a pod goes, or why it cannot go anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It goes to this node.
    Place(String),
    /// No node can take it.
    Nowhere(Misfit),
}

/// Why no node can take a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) nodes: usize,
    /// How many nodes refused for which reason.
    pub(crate) reasons: BTreeMap<String, usize>,
    /// Nodes where it could fit if pods left.
    pub(crate) curable: Vec<String>,
    /// What could make it fit.
    pub(crate) wakes: Wakes,
}

impl Misfit {
    /// The message of the condition and the event, as upstream words it.
    pub(crate) fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut reasons: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        format!("0/{} nodes are available: {}.", self.nodes, reasons.join(", "))
    }

    /// The message when the reason lies with the pod alone, whatever the node.
    pub(crate) fn message_about_all(nodes: usize, reason: &str) -> String {
        format!("0/{nodes} nodes are available: {reason}.")
    }
}

/// Decides where `pod` goes. `turn` moves the starting point, so that in a large cluster not
/// always the same nodes are looked at.
pub(crate) fn decide(
    pod: &PodFacts,
    cluster: &Cluster,
    demands: &Demands,
    turn: usize,
) -> Decision {
    let request = Request::prepare(pod, demands, cluster);
    let nodes: Vec<&NodeFacts> = cluster.nodes.values().collect();
    let enough = enough_fitting(nodes.len());
    let mut misfit = Misfit { nodes: nodes.len(), wakes: Wakes::NODE, ..Misfit::default() };
    let mut fitting: Vec<&NodeFacts> = Vec::new();

    let start = if nodes.is_empty() { 0 } else { turn % nodes.len() };
    for node in nodes[start..].iter().chain(&nodes[..start]) {
        let refusals = refusals_with_nominated(&request, node, cluster);
        if refusals.is_empty() {
            fitting.push(node);
            if fitting.len() >= enough {
                break;
            }
        } else {
            misfit.note(&node.name, refusals);
        }
    }
    match best(pod, &fitting, cluster) {
        Some(node) => Decision::Place(node.name.clone()),
        None => Decision::Nowhere(misfit),
    }
}

impl Misfit {
    fn note(&mut self, node: &str, refusals: Vec<Refusal>) {
        if refusals.iter().all(|refusal| refusal.curable) {
            self.curable.push(node.to_owned());
        }
        for refusal in refusals {
            self.wakes = self.wakes.or(refusal.wakes);
            *self.reasons.entry(refusal.reason).or_insert(0) += 1;
        }
    }
}

/// How many fitting nodes are enough to choose from: all of a small cluster, 5 to 50 % of a large.
fn enough_fitting(nodes: usize) -> usize {
    if nodes < LOOK_AT_ALL {
        return nodes.max(1);
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(LOOK_AT_ALL)
}

/// Room that more important pods were promised is not given away.
fn refusals_with_nominated(
    request: &Request<'_>,
    node: &NodeFacts,
    cluster: &Cluster,
) -> Vec<Refusal> {
    let promised = cluster.nominated.values().filter(|(name, other)| {
        *name == node.name && other.priority >= request.pod.priority && other.key != request.pod.key
    });
    let mut with: Option<NodeFacts> = None;
    for (_, other) in promised {
        with.get_or_insert_with(|| node.clone()).add(other.clone());
    }
    match with {
        None => refusals(request, node),
        Some(with) => {
            let found = refusals(request, &with);
            if found.is_empty() { refusals(request, node) } else { found }
        }
    }
}

/// The node with the most points; of equals one by lot, which is the pod's own, so that the same
/// question has the same answer.
fn best<'a>(pod: &PodFacts, fitting: &[&'a NodeFacts], cluster: &Cluster) -> Option<&'a NodeFacts> {
    if let [only] = fitting {
        return Some(only);
    }
    let points = score::totals(pod, fitting, cluster);
    let lot = |node: &NodeFacts| {
        let mut hasher = DefaultHasher::new();
        (&pod.pod.metadata.uid, &node.name).hash(&mut hasher);
        hasher.finish()
    };
    let ranked = fitting.iter().zip(points).max_by_key(|(node, points)| (*points, lot(node)));
    ranked.map(|(node, _)| *node)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::samples::{cluster, cpu, facts, node, pod};

    fn check(cluster: &Cluster, wants: Value, expected: &Expect) {
        let text = match decide(&facts("new", wants), cluster, &Demands::default(), 0) {
            Decision::Place(node) => node,
            Decision::Nowhere(misfit) => misfit.message(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn the_reasons_are_counted() {
        let tainted = json!({ "spec": { "taints": [
            { "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" }] } });
        let nodes = [node("n1", tainted), node("n2", json!({})), node("n3", json!({}))];
        let cluster = cluster(&nodes, &[pod("a", "n2", cpu("1500m"))]);
        check(&cluster, cpu("1"), &expect!["n3"]);
        check(
            &cluster,
            cpu("2500m"),
            &expect![
                "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu."
            ],
        );
        let ssd = json!({ "spec": { "nodeSelector": { "disk": "ssd" } } });
        check(
            &cluster,
            ssd,
            &expect![
                "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's node affinity/selector."
            ],
        );
    }

    #[test]
    fn without_nodes() {
        check(&Cluster::default(), json!({}), &expect!["no nodes available to schedule pods"]);
    }

    #[test]
    fn pods_spread_over_equal_nodes() {
        let nodes = [node("n1", json!({})), node("n2", json!({}))];
        let mut cluster = cluster(&nodes, &[]);
        for number in 0..4 {
            let new = facts(&format!("p{number}"), cpu("100m"));
            let Decision::Place(node) = decide(&new, &cluster, &Demands::default(), 0) else {
                panic!("there is room")
            };
            cluster.place(std::sync::Arc::new(new), &node);
        }
        let counts: Vec<usize> = cluster.nodes.values().map(|node| node.pods.len()).collect();
        assert_eq!(counts, [2, 2]);
    }

    #[test]
    fn a_large_cluster_is_sampled() {
        assert_eq!(enough_fitting(1), 1);
        assert_eq!(enough_fitting(99), 99);
        assert_eq!(enough_fitting(1000), 420);
        assert_eq!(enough_fitting(5000), 500);
    }
}
