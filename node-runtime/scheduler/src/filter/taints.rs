//! A pod runs only where it bears the taints.

use k8s_openapi::api::core::v1::{Taint, Toleration};

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

/// Whether `toleration` bears `taint`.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if given(&toleration.effect).is_some_and(|effect| effect != taint.effect) {
        return false;
    }
    let key = given(&toleration.key);
    if key.as_ref().is_some_and(|key| *key != taint.key) {
        return false;
    }
    let value = |text: &Option<String>| text.clone().unwrap_or_default();
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            key.is_some() && value(&toleration.value) == value(&taint.value)
        }
        Some(_) => false,
    }
}
