//! Which nodes a DaemonSet is meant for, and the pod it puts on one.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint,
    Toleration,
};
use minik_reconcile::nodes::{allows, tolerates};

use crate::daemon_set::spec;
use crate::history;
use crate::owned::controller_ref;
use crate::pods;
use crate::wiring::{name_of, namespace_of};

/// Taints that every daemon pod bears: it looks after the node in bad times too.
const BORNE: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NETWORK_UNAVAILABLE: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// What a set wants with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meant {
    /// A pod should run there.
    pub(super) runs: bool,
    /// A pod that runs there may stay.
    pub(super) stays: bool,
}

/// What the set wants with this node.
pub(super) fn meant(set: &DaemonSet, node: &Node) -> Meant {
    let pod = template_spec(set);
    let name = name_of(node);
    let elsewhere = pod.node_name.as_deref().is_some_and(|wanted| wanted != name);
    if elsewhere || !allows(&pod, name, node.metadata.labels.as_ref()) {
        return Meant { runs: false, stays: false };
    }
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let tolerations = pod.tolerations.as_deref().unwrap_or_default();
    let unborne = |taint: &&Taint| !tolerations.iter().any(|one| tolerates(one, taint));
    let hard = || taints.iter().filter(|taint| taint.effect != "PreferNoSchedule").filter(unborne);
    Meant { runs: hard().next().is_none(), stays: !hard().any(|taint| taint.effect == "NoExecute") }
}

fn template_spec(set: &DaemonSet) -> PodSpec {
    let mut pod = spec(set).template.spec.clone().unwrap_or_default();
    add_tolerations(&mut pod);
    pod
}

fn add_tolerations(pod: &mut PodSpec) {
    let network = pod.host_network.unwrap_or(false).then_some(NETWORK_UNAVAILABLE);
    let tolerations = pod.tolerations.get_or_insert_default();
    for (key, effect) in BORNE.iter().copied().chain(network) {
        let wanted = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&wanted) {
            tolerations.push(wanted);
        }
    }
}

/// The pod of the set for the node of that name.
pub(super) fn pod_for(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let mut pod = pods::from_template(namespace_of(set), &spec(set).template, controller_ref(set));
    pod.metadata.generate_name = Some(format!("{}-", name_of(set)));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(history::HASH.to_owned(), hash.to_owned());
    let spec = pod.spec.get_or_insert_default();
    add_tolerations(spec);
    pin(spec.affinity.get_or_insert_default(), node);
    pod
}

/// Ties an affinity to one node, whatever other terms it has.
fn pin(affinity: &mut Affinity, node: &str) {
    let by_name = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term =
        NodeSelectorTerm { match_fields: Some(vec![by_name]), ..NodeSelectorTerm::default() };
    let affinity = affinity.node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}

/// The node a daemon pod is on, or meant for.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.as_deref().filter(|name| !name.is_empty()) {
        return Some(node);
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let mut fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter());
    let by_name = fields.find_map(|fields| fields.iter().find(|rule| rule.key == "metadata.name"));
    by_name?.values.as_ref()?.first().map(String::as_str)
}
