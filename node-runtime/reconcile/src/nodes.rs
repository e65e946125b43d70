//! Which nodes a pod is meant for: taints borne, labels selected. Shared by everyone who must
//! agree with the scheduler.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};

type Labels = BTreeMap<String, String>;

/// Whether `toleration` bears `taint`.
#[must_use]
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
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

/// Whether selector and required affinity of a pod allow the node with this name and these labels.
#[must_use]
pub fn allows(spec: &PodSpec, node: &str, labels: Option<&Labels>) -> bool {
    let mut pairs = spec.node_selector.iter().flatten();
    if !pairs.all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| {
        required.node_selector_terms.iter().any(|term| matches_term(term, node, labels))
    })
}

/// Whether one term of an affinity matches the node. An empty term matches none.
#[must_use]
pub fn matches_term(term: &NodeSelectorTerm, node: &str, labels: Option<&Labels>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let field = |key: &str| (key == "metadata.name").then_some(node);
    expressions.iter().all(|rule| holds(rule, label(&rule.key)))
        && fields.iter().all(|rule| holds(rule, field(&rule.key)))
}

fn holds(rule: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = rule.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|one| one == value));
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

    use super::*;

    #[test]
    fn tolerations() {
        let taint = Taint {
            key: "dedicated".to_owned(),
            value: Some("lab".to_owned()),
            effect: "NoSchedule".to_owned(),
            time_added: None,
        };
        let check = |toleration: Value, expected: bool| {
            let parsed: Toleration =
                serde_json::from_value(toleration.clone()).expect("a toleration");
            assert_eq!(tolerates(&parsed, &taint), expected, "{toleration}");
        };
        check(json!({ "operator": "Exists" }), true);
        check(json!({ "key": "dedicated", "operator": "Exists" }), true);
        check(json!({ "key": "dedicated", "value": "lab" }), true);
        check(json!({ "key": "dedicated", "value": "shop" }), false);
        check(json!({ "key": "dedicated", "value": "lab", "effect": "NoExecute" }), false);
        check(json!({ "key": "other", "operator": "Exists" }), false);
        check(json!({}), false);
    }

    #[test]
    fn selectors() {
        let check = |spec: Value, expected: bool| {
            let mut whole = json!({ "containers": [] });
            for (name, value) in spec.as_object().expect("an object") {
                whole[name] = value.clone();
            }
            let parsed: PodSpec = serde_json::from_value(whole).expect("a pod spec");
            let labels: Labels =
                [("disk", "ssd"), ("cores", "8")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
            assert_eq!(allows(&parsed, "n1", Some(&labels)), expected, "{spec}");
        };
        let required = |terms: Value| {
            json!({ "affinity": { "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } } })
        };
        let rule = |key: &str, operator: &str, values: &[&str]| {
            required(json!([{ "matchExpressions": [
                { "key": key, "operator": operator, "values": values }] }]))
        };
        check(json!({ "nodeSelector": { "disk": "ssd" } }), true);
        check(json!({ "nodeSelector": { "disk": "hdd" } }), false);
        check(rule("disk", "In", &["ssd", "nvme"]), true);
        check(rule("disk", "NotIn", &["ssd"]), false);
        check(rule("gpu", "DoesNotExist", &[]), true);
        check(rule("cores", "Gt", &["4"]), true);
        check(rule("cores", "Lt", &["4"]), false);
        check(required(json!([{}])), false);
        let by_name = json!([{}, { "matchFields": [
            { "key": "metadata.name", "operator": "In", "values": ["n1"] }] }]);
        check(required(by_name), true);
    }
}
