//! A pod runs only on nodes that its selector and required affinity match.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use crate::cluster::{NodeFacts, PodFacts};
use crate::filter::{Refusal, spec};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Option<Refusal> {
    (!matches(pod, node))
        .then(|| Refusal::lasting("node(s) didn't match Pod's node affinity/selector"))
}

/// Whether selector and required affinity of the pod allow the node.
pub(super) fn matches(pod: &PodFacts, node: &NodeFacts) -> bool {
    let Some(spec) = spec(pod) else { return true };
    let mut pairs = spec.node_selector.iter().flatten();
    if !pairs.all(|(name, value)| node.label(name) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| {
        required.node_selector_terms.iter().any(|term| matches_term(term, node))
    })
}

/// Whether one term of an affinity matches the node. An empty term matches none.
pub(crate) fn matches_term(term: &NodeSelectorTerm, node: &NodeFacts) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let name = BTreeMap::from([("metadata.name".to_owned(), node.name.clone())]);
    expressions.iter().all(|rule| holds(rule, node.labels()))
        && fields.iter().all(|rule| holds(rule, Some(&name)))
}

fn holds(rule: &NodeSelectorRequirement, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = labels.and_then(|labels| labels.get(&rule.key));
    let values = rule.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.contains(value));
    let numbers =
        || -> Option<(i64, i64)> { Some((value?.parse().ok()?, values.first()?.parse().ok()?)) };
    match rule.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(have, bound)| have > bound),
        "Lt" => numbers().is_some_and(|(have, bound)| have < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use test_case::test_case;

    use super::*;
    use crate::cluster::samples::{facts, node};

    fn required(terms: Value) -> Value {
        json!({ "spec": { "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } } } })
    }

    fn rule(key: &str, operator: &str, values: &[&str]) -> Value {
        json!([{ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] }])
    }

    #[test_case(json!({ "spec": { "nodeSelector": { "disk": "ssd" } } }), true; "selector")]
    #[test_case(json!({ "spec": { "nodeSelector": { "disk": "hdd" } } }), false; "selector, other")]
    #[test_case(required(rule("disk", "In", &["ssd", "nvme"])), true; "in")]
    #[test_case(required(rule("disk", "NotIn", &["ssd"])), false; "not in")]
    #[test_case(required(rule("gpu", "DoesNotExist", &[])), true; "does not exist")]
    #[test_case(required(rule("cores", "Gt", &["4"])), true; "greater")]
    #[test_case(required(rule("cores", "Lt", &["4"])), false; "less")]
    #[test_case(required(json!([{}])), false; "an empty term matches nothing")]
    #[test_case(required(json!([{}, { "matchFields": [
        { "key": "metadata.name", "operator": "In", "values": ["n1"] }] }])), true; "one term is enough")]
    fn affinity(extra: Value, expected: bool) {
        let labels = json!({ "metadata": { "labels": { "disk": "ssd", "cores": "8" } } });
        let node = NodeFacts::of(node("n1", labels));
        assert_eq!(matches(&facts("a", extra), &node), expected);
    }
}
