//! A pod runs only on nodes that its selector and required affinity match.

use k8s_openapi::api::core::v1::NodeSelectorTerm;
use minik_reconcile::nodes;

use crate::cluster::{NodeFacts, PodFacts};
use crate::filter::{Refusal, spec};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Option<Refusal> {
    let reason = "node(s) didn't match Pod's node affinity/selector";
    (!matches(pod, node)).then(|| Refusal::lasting(reason))
}

/// Whether selector and required affinity of the pod allow the node.
pub(super) fn matches(pod: &PodFacts, node: &NodeFacts) -> bool {
    spec(pod).is_none_or(|spec| nodes::allows(spec, &node.name, node.labels()))
}

/// Whether one term of an affinity matches the node.
pub(crate) fn matches_term(term: &NodeSelectorTerm, node: &NodeFacts) -> bool {
    nodes::matches_term(term, &node.name, node.labels())
}
