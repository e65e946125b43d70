//! A pod runs only where it bears the taints.

use k8s_openapi::api::core::v1::Taint;
use minik_reconcile::nodes::tolerates;

use crate::cluster::{NodeFacts, PodFacts};
use crate::filter::{Refusal, spec};

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

pub(super) fn unschedulable(pod: &PodFacts, node: &NodeFacts) -> Option<Refusal> {
    let cordoned = node.node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let taint = Taint {
        key: UNSCHEDULABLE.to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    (cordoned && !is_borne(pod, &taint)).then(|| Refusal::lasting("node(s) were unschedulable"))
}

pub(super) fn untolerated(pod: &PodFacts, node: &NodeFacts) -> Option<Refusal> {
    let spec = node.node.spec.as_ref()?;
    let hard = spec
        .taints
        .iter()
        .flatten()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    hard.into_iter()
        .any(|taint| !is_borne(pod, taint))
        .then(|| Refusal::lasting("node(s) had untolerated taint(s)"))
}

fn is_borne(pod: &PodFacts, taint: &Taint) -> bool {
    let tolerations = spec(pod).and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}
