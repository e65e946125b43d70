//! On which nodes a pod can run at all: one rule per file, each with the reason it refuses for.

mod inter_pod;
mod node_affinity;
mod ports;
mod room;
mod spread;
mod taints;

use k8s_openapi::api::core::v1::PodSpec;

use crate::cluster::{Cluster, NodeFacts, PodFacts};
use crate::volumes::Demands;

pub(crate) use crate::filter::inter_pod::{Term, terms_of};
pub(crate) use crate::filter::node_affinity::matches_term;
pub(crate) use crate::filter::spread::{counted_nodes, is_counted, own_constraints};

/// Why a node cannot take a pod, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    /// Whether fewer pods on the node could change that.
    pub(crate) curable: bool,
    /// What could make it fit.
    pub(crate) wakes: Wakes,
}

/// Changes that can make a refused pod fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wakes {
    /// A node came or changed.
    pub(crate) node: bool,
    /// A pod went away.
    pub(crate) pod_gone: bool,
    /// A pod was placed or changed its labels.
    pub(crate) pod_came: bool,
}

impl Wakes {
    pub(crate) const NODE: Wakes = Wakes { node: true, pod_gone: false, pod_came: false };
    pub(crate) const ROOM: Wakes = Wakes { node: true, pod_gone: true, pod_came: false };
    pub(crate) const ANY: Wakes = Wakes { node: true, pod_gone: true, pod_came: true };

    pub(crate) fn or(self, other: Wakes) -> Wakes {
        Wakes {
            node: self.node || other.node,
            pod_gone: self.pod_gone || other.pod_gone,
            pod_came: self.pod_came || other.pod_came,
        }
    }

    pub(crate) fn overlaps(self, event: Wakes) -> bool {
        (self.node && event.node)
            || (self.pod_gone && event.pod_gone)
            || (self.pod_came && event.pod_came)
    }
}

impl Refusal {
    fn curable(reason: impl Into<String>, wakes: Wakes) -> Refusal {
        Refusal { reason: reason.into(), curable: true, wakes }
    }

    fn lasting(reason: impl Into<String>) -> Refusal {
        Refusal { reason: reason.into(), curable: false, wakes: Wakes::NODE }
    }
}

/// One pod to place and what has been computed about it once for all nodes.
pub(crate) struct Request<'a> {
    pub(crate) pod: &'a PodFacts,
    demands: &'a Demands,
    inter_pod: inter_pod::Prepared,
    spread: spread::Prepared,
}

impl<'a> Request<'a> {
    pub(crate) fn prepare(
        pod: &'a PodFacts,
        demands: &'a Demands,
        cluster: &Cluster,
    ) -> Request<'a> {
        Request {
            pod,
            demands,
            inter_pod: inter_pod::Prepared::of(pod, cluster),
            spread: spread::Prepared::of(pod, cluster),
        }
    }
}

/// Every reason why `node` cannot take the pod; none means it can. Stops at the first rule that
/// refuses, as a rule may name several resources at once.
pub(crate) fn refusals(request: &Request<'_>, node: &NodeFacts) -> Vec<Refusal> {
    let pod = request.pod;
    let one = |refusal: Option<Refusal>| refusal.into_iter().collect::<Vec<_>>();
    let rules: [&dyn Fn() -> Vec<Refusal>; 8] = [
        &|| one(taints::unschedulable(pod, node)),
        &|| one(node_name(pod, node)),
        &|| one(taints::untolerated(pod, node)),
        &|| one(node_affinity::check(pod, node)),
        &|| one(ports::check(pod, node)),
        &|| room::check(pod, node),
        &|| one(volumes(request.demands, node)),
        &|| {
            let spread = request.spread.check(node);
            one(spread.or_else(|| request.inter_pod.check(node)))
        },
    ];
    rules.iter().map(|rule| rule()).find(|refusals| !refusals.is_empty()).unwrap_or_default()
}

fn node_name(pod: &PodFacts, node: &NodeFacts) -> Option<Refusal> {
    let wanted = spec(pod)?.node_name.as_deref().filter(|name| !name.is_empty())?;
    (wanted != node.name).then(|| Refusal::lasting("node(s) didn't match the requested node name"))
}

fn volumes(demands: &Demands, node: &NodeFacts) -> Option<Refusal> {
    let reason = "node(s) didn't match PersistentVolume's node affinity";
    (!demands.allow(node)).then(|| Refusal::lasting(reason))
}

pub(crate) fn spec(pod: &PodFacts) -> Option<&PodSpec> {
    pod.pod.spec.as_ref()
}
