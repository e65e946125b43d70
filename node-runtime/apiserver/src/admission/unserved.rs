//! Kinds that can be stored already but that nothing acts on yet: whoever writes one is told.

use crate::call::Call;

/// Group, kind, and what does not happen.
const WITHOUT_EFFECT: &[(&str, &str, &str)] = &[
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", "requests are not queued by flow"),
    (
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        "requests are not queued by flow",
    ),
];

/// Warns if the call writes a kind without effect.
pub(super) fn warn(call: &Call) {
    let found = WITHOUT_EFFECT.iter().find(|(group, kind, _)| call.kind.is(group, kind));
    if let Some((_, kind, what)) = found {
        call.warn(format!("this {kind} is stored but has no effect yet: {what}"));
    }
}
