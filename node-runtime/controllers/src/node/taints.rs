//! Taints that the state of a node puts on it.

use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

pub(crate) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

pub(crate) const NO_SCHEDULE: &str = "NoSchedule";
pub(crate) const NO_EXECUTE: &str = "NoExecute";

/// Condition, the status that taints, the taint.
const BY_CONDITION: &[(&str, &str, &str)] = &[
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// The condition of that type.
pub(crate) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// The taints the node should carry; `None` if it carries them. Taints of others stay.
pub(crate) fn wanted(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let spec = node.spec.clone().unwrap_or_default();
    let there = spec.taints.unwrap_or_default();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (kind, status, key) in BY_CONDITION {
        if condition(node, kind).is_some_and(|condition| condition.status == *status) {
            wanted.push((key, NO_SCHEDULE));
            if *kind == "Ready" {
                wanted.push((key, NO_EXECUTE));
            }
        }
    }
    if condition(node, "Ready").is_none() {
        // A node that has said nothing yet takes no pods, but none are there to be taken away.
        wanted.push((NOT_READY, NO_SCHEDULE));
    }
    if spec.unschedulable == Some(true) {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    let ours = |taint: &Taint| {
        taint.key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, key)| *key == taint.key)
    };
    let is = |taint: &Taint, want: &(&str, &str)| taint.key == want.0 && taint.effect == want.1;

    let mut taints: Vec<Taint> = there
        .iter()
        .filter(|taint| !ours(taint) || wanted.iter().any(|want| is(taint, want)))
        .cloned()
        .collect();
    for want in &wanted {
        if !taints.iter().any(|taint| is(taint, want)) {
            taints.push(Taint {
                key: want.0.to_owned(),
                effect: want.1.to_owned(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    (taints != there).then_some(taints)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: Value, ready: Option<&str>, expected: &Expect) {
        let conditions: Vec<Value> =
            ready.into_iter().map(|status| json!({ "type": "Ready", "status": status })).collect();
        let node: Node = serde_json::from_value(json!({
            "metadata": { "name": "minik" }, "spec": spec, "status": { "conditions": conditions },
        }))
        .expect("a node");
        let text = match wanted(&node, Timestamp::UNIX_EPOCH) {
            None => "as it should be".to_owned(),
            Some(taints) => taints
                .iter()
                .map(|taint| format!("{}:{}", taint.key, taint.effect))
                .collect::<Vec<_>>()
                .join(" "),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn taints_follow_the_conditions() {
        let not_ready = json!({ "taints": [
            { "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" },
            { "key": "dedicated", "value": "lab", "effect": "NoSchedule" }] });
        check(json!({}), Some("True"), &expect!["as it should be"]);
        check(json!({}), None, &expect!["node.kubernetes.io/not-ready:NoSchedule"]);
        check(
            json!({}),
            Some("False"),
            &expect![
                "node.kubernetes.io/not-ready:NoSchedule node.kubernetes.io/not-ready:NoExecute"
            ],
        );
        check(
            json!({}),
            Some("Unknown"),
            &expect![
                "node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute"
            ],
        );
        check(not_ready.clone(), Some("True"), &expect!["dedicated:NoSchedule"]);
        check(
            not_ready,
            Some("Unknown"),
            &expect![
                "dedicated:NoSchedule node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute"
            ],
        );
        check(
            json!({ "unschedulable": true }),
            Some("True"),
            &expect!["node.kubernetes.io/unschedulable:NoSchedule"],
        );
    }
}
