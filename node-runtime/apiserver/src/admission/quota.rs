//! ResourceQuotas: what a namespace may hold. Usage is counted from the store when something is
//! created, under a lock per server, so it cannot drift and two requests cannot share the rest.

use std::collections::BTreeMap;

use minik_meta::{Quantity, Status, object};
use minik_store::ListOptions;
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use crate::call::Call;
use crate::objects;

/// Amounts by the names that quotas use: `pods`, `requests.cpu`, `count/deployments.apps`.
type Amounts = BTreeMap<String, Quantity>;

/// Held until the object is written; others that are counted wait for it.
pub(crate) type Charge = Option<OwnedMutexGuard<()>>;

/// Refuses an object that would exceed a quota of its namespace.
pub(super) async fn charge(call: &Call, object: &Value) -> Result<Charge, Status> {
    if !call.kind.namespaced || quotas(call)?.is_empty() {
        return Ok(None);
    }
    let held = std::sync::Arc::clone(&call.core.quota_lock).lock_owned().await;
    for quota in quotas(call)? {
        if !in_scope(&quota, call, object) {
            continue;
        }
        let hard = amounts(object::map(&quota, &["spec", "hard"]));
        check_specified(call, &quota, &hard, object)?;
        let wanted = usage(&call.kind, object);
        let limited: Vec<&String> = hard.keys().filter(|name| wanted.contains_key(*name)).collect();
        if limited.is_empty() {
            continue;
        }
        let used = used(call, &quota)?;
        let exceeded: Vec<&String> = limited
            .into_iter()
            .filter(|name| {
                let used = used.get(*name).copied().unwrap_or(Quantity::ZERO);
                used.plus(wanted[*name]) > hard[*name]
            })
            .collect();
        if !exceeded.is_empty() {
            let show = |amounts: &Amounts| {
                let each = exceeded.iter().map(|name| {
                    format!("{name}={}", amounts.get(*name).copied().unwrap_or(Quantity::ZERO))
                });
                each.collect::<Vec<_>>().join(",")
            };
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                object::name(&quota),
                show(&wanted),
                show(&used),
                show(&hard)
            );
            return Err(super::forbidden(call, object::name(object), why));
        }
    }
    Ok(Some(held))
}

fn quotas(call: &Call) -> Result<Vec<Value>, Status> {
    read_all(call, "core", "resourcequotas")
}

fn read_all(call: &Call, group: &str, plural: &str) -> Result<Vec<Value>, Status> {
    let prefix = format!("{}{group}/{plural}/{}/", objects::ROOT, call.target.namespace);
    let page = call.core.store.list(&prefix, &ListOptions::default());
    let page = page.map_err(Status::internal)?;
    Ok(page.entries.iter().filter_map(|entry| serde_json::from_slice(&entry.value).ok()).collect())
}

fn amounts(map: Option<&minik_meta::object::Object>) -> Amounts {
    let entries = map.into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?)))
        .collect()
}

/// What the objects of the call's kind in its namespace use of what the quota counts.
fn used(call: &Call, quota: &Value) -> Result<Amounts, Status> {
    let storage = &call.kind.storage;
    let group = if storage.group.is_empty() { "core" } else { storage.group.as_ref() };
    let mut sum = Amounts::new();
    for object in read_all(call, group, &storage.plural)? {
        if in_scope(quota, call, &object) {
            for (name, amount) in usage(&call.kind, &object) {
                let so_far = sum.get(&name).copied().unwrap_or(Quantity::ZERO);
                sum.insert(name, so_far.plus(amount));
            }
        }
    }
    Ok(sum)
}

/// What one object uses.
fn usage(kind: &minik_api::Resource, object: &Value) -> Amounts {
    let mut amounts = Amounts::new();
    let one = || Quantity::from_units(1);
    let dot = if kind.group.is_empty() { "" } else { "." };
    amounts.insert(format!("count/{}{dot}{}", kind.plural, kind.group), one());
    if !kind.group.is_empty() {
        return amounts;
    }
    match kind.plural.as_ref() {
        "pods" => of_pod(object, &mut amounts),
        "services" => of_service(object, &mut amounts),
        "persistentvolumeclaims" => of_claim(object, &mut amounts),
        plural @ ("configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas") => {
            amounts.insert(plural.to_owned(), one());
        }
        _ => {}
    }
    amounts
}

fn of_pod(pod: &Value, amounts: &mut Amounts) {
    if matches!(object::text(pod, &["status", "phase"]), "Succeeded" | "Failed") {
        return;
    }
    amounts.insert("pods".to_owned(), Quantity::from_units(1));
    for (list, prefix) in [("requests", "requests."), ("limits", "limits.")] {
        for (name, amount) in pod_amounts(pod, list) {
            // Without a prefix the request is meant.
            if list == "requests" && matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
            {
                amounts.insert(name.clone(), amount);
            }
            amounts.insert(format!("{prefix}{name}"), amount);
        }
    }
}

/// The sum over the containers, or what the largest init container needs, whatever is more.
fn pod_amounts(pod: &Value, list: &str) -> Amounts {
    let of = |container: &Value| amounts(object::map(container, &["resources", list]));
    let mut sum = Amounts::new();
    for container in object::list(pod, &["spec", "containers"]) {
        for (name, amount) in of(container) {
            let so_far = sum.get(&name).copied().unwrap_or(Quantity::ZERO);
            sum.insert(name, so_far.plus(amount));
        }
    }
    for container in object::list(pod, &["spec", "initContainers"]) {
        for (name, amount) in of(container) {
            if sum.get(&name).is_none_or(|have| *have < amount) {
                sum.insert(name, amount);
            }
        }
    }
    sum
}

fn of_service(service: &Value, amounts: &mut Amounts) {
    amounts.insert("services".to_owned(), Quantity::from_units(1));
    let ports = object::list(service, &["spec", "ports"]).len();
    let node_ports = Quantity::from_units(i64::try_from(ports).unwrap_or(i64::MAX));
    match object::text(service, &["spec", "type"]) {
        "NodePort" => {
            amounts.insert("services.nodeports".to_owned(), node_ports);
        }
        "LoadBalancer" => {
            amounts.insert("services.loadbalancers".to_owned(), Quantity::from_units(1));
            if service["spec"]["allocateLoadBalancerNodePorts"] != false {
                amounts.insert("services.nodeports".to_owned(), node_ports);
            }
        }
        _ => {}
    }
}

fn of_claim(claim: &Value, amounts: &mut Amounts) {
    amounts.insert("persistentvolumeclaims".to_owned(), Quantity::from_units(1));
    let storage = object::at(claim, &["spec", "resources", "requests", "storage"]);
    let storage = storage.and_then(|storage| Quantity::from_value(storage).ok());
    let class = object::text(claim, &["spec", "storageClassName"]);
    let per_class = format!("{class}.storageclass.storage.k8s.io/");
    if !class.is_empty() {
        amounts.insert(format!("{per_class}persistentvolumeclaims"), Quantity::from_units(1));
    }
    if let Some(storage) = storage {
        amounts.insert("requests.storage".to_owned(), storage);
        if !class.is_empty() {
            amounts.insert(format!("{per_class}requests.storage"), storage);
        }
    }
}

/// Pods must say what a quota counts, in each container.
fn check_specified(
    call: &Call,
    quota: &Value,
    hard: &Amounts,
    object: &Value,
) -> Result<(), Status> {
    if !call.kind.is("", "Pod") {
        return Ok(());
    }
    let mut missing: Vec<String> = Vec::new();
    for counted in hard.keys() {
        let (list, name) = match counted.split_once('.') {
            Some((list @ ("requests" | "limits"), name)) => (list, name),
            None if matches!(counted.as_str(), "cpu" | "memory") => ("requests", counted.as_str()),
            _ => continue,
        };
        let containers = object::list(object, &["spec", "containers"]).iter();
        let silent: Vec<&str> = containers
            .filter(|one| object::at(one, &["resources", list, name]).is_none())
            .map(|one| object::text(one, &["name"]))
            .collect();
        if !silent.is_empty() && name != "storage" {
            missing.push(format!("{counted} for: {}", silent.join(",")));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!("failed quota: {}: must specify {}", object::name(quota), missing.join("; "));
    Err(super::forbidden(call, object::name(object), why))
}

/// Whether a quota with scopes counts this object.
fn in_scope(quota: &Value, call: &Call, object: &Value) -> bool {
    let scopes = object::list(quota, &["spec", "scopes"]);
    let terms = object::list(quota, &["spec", "scopeSelector", "matchExpressions"]);
    if scopes.is_empty() && terms.is_empty() {
        return true;
    }
    if !call.kind.is("", "Pod") {
        return false;
    }
    let holds = |scope: &str| match scope {
        "Terminating" => object::at(object, &["spec", "activeDeadlineSeconds"]).is_some(),
        "NotTerminating" => object::at(object, &["spec", "activeDeadlineSeconds"]).is_none(),
        "BestEffort" => minik_api::strategy::qos_class(object) == "BestEffort",
        "NotBestEffort" => minik_api::strategy::qos_class(object) != "BestEffort",
        _ => false,
    };
    let class = object::text(object, &["spec", "priorityClassName"]);
    let selected = |term: &Value| {
        if term["scopeName"] != "PriorityClass" {
            return holds(object::text(term, &["scopeName"]));
        }
        let listed = object::list(term, &["values"]).iter().any(|value| value == class);
        match object::text(term, &["operator"]) {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => !class.is_empty(),
            "DoesNotExist" => class.is_empty(),
            _ => false,
        }
    };
    scopes.iter().all(|scope| holds(scope.as_str().unwrap_or_default()))
        && terms.iter().all(selected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use test_case::test_case;

    fn shown(plural: &str, object: &Value) -> String {
        let kind = minik_api::kinds().by_resource("", "v1", plural).expect("kind");
        let amounts = usage(kind, object);
        amounts
            .iter()
            .map(|(name, amount)| format!("{name}={amount}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test_case("pods", json!({"spec": {
        "containers": [
            {"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}},
            {"resources": {"requests": {"cpu": "200m"}}},
        ],
        "initContainers": [{"resources": {"requests": {"cpu": "250m", "memory": "1Gi"}}}],
    }}), "count/pods=1 cpu=300m limits.cpu=1 memory=1Gi pods=1 requests.cpu=300m requests.memory=1Gi"; "pod")]
    #[test_case("pods", json!({"status": {"phase": "Succeeded"}}), "count/pods=1"; "finished pod")]
    #[test_case("services", json!({"spec": {"type": "NodePort", "ports": [{}, {}]}}), "count/services=1 services=1 services.nodeports=2"; "service")]
    #[test_case("persistentvolumeclaims", json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}}), "count/persistentvolumeclaims=1 persistentvolumeclaims=1 requests.storage=1Gi"; "claim")]
    #[test_case("configmaps", json!({}), "configmaps=1 count/configmaps=1"; "anything else")]
    fn usages(plural: &str, object: Value, expected: &str) {
        assert_eq!(shown(plural, &object), expected);
    }
}
