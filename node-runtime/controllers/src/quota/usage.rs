//! How much of each thing a quota can limit is in use. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ScopedResourceSelectorRequirement, Service,
};
use minik_meta::Quantity;
use minik_reconcile::amounts::{self, Amounts, CPU, MEMORY};

use crate::pods;

/// What is in a namespace.
pub(super) struct Contents {
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) services: Vec<Arc<Service>>,
    pub(super) claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Objects of each kind, by `plural.group`.
    pub(super) counts: BTreeMap<String, usize>,
}

/// Which pods a quota counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Scopes {
    rules: Vec<ScopedResourceSelectorRequirement>,
}

impl Scopes {
    pub(super) fn of(quota: &ResourceQuota) -> Scopes {
        let spec = quota.spec.clone().unwrap_or_default();
        let named =
            spec.scopes.into_iter().flatten().map(|name| ScopedResourceSelectorRequirement {
                scope_name: name,
                operator: "Exists".to_owned(),
                values: None,
            });
        let selected = spec.scope_selector.and_then(|selector| selector.match_expressions);
        Scopes { rules: named.chain(selected.into_iter().flatten()).collect() }
    }

    fn count(&self, pod: &Pod) -> bool {
        self.rules.iter().all(|rule| holds(rule, pod))
    }
}

fn holds(rule: &ScopedResourceSelectorRequirement, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let is_best_effort = || {
        pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) == Some("BestEffort")
            || (amounts::requested(pod) == Amounts::default()
                && amounts::limited(pod) == Amounts::default())
    };
    match rule.scope_name.as_str() {
        "Terminating" => spec.active_deadline_seconds.is_some(),
        "NotTerminating" => spec.active_deadline_seconds.is_none(),
        "BestEffort" => is_best_effort(),
        "NotBestEffort" => !is_best_effort(),
        "PriorityClass" => {
            let class = spec.priority_class_name.clone().unwrap_or_default();
            let listed = rule.values.iter().flatten().any(|value| *value == class);
            match rule.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => !class.is_empty(),
                "DoesNotExist" => class.is_empty(),
                _ => false,
            }
        }
        _ => false, // Among them CrossNamespacePodAffinity, which no pod here is counted under.
    }
}

/// How much of `name` is used, as text.
pub(super) fn used(name: &str, scopes: &Scopes, contents: &Contents) -> String {
    let live: Vec<&Arc<Pod>> =
        contents.pods.iter().filter(|pod| !pods::is_finished(pod) && scopes.count(pod)).collect();
    let number = |count: usize| count.to_string();
    match name {
        "pods" => return number(live.len()),
        "services" => return number(contents.services.len()),
        "services.nodeports" => return number(node_ports(&contents.services)),
        "services.loadbalancers" => {
            return number(of_type(&contents.services, "LoadBalancer").count());
        }
        "requests.storage" => return storage(&contents.claims, None),
        _ => {}
    }
    if let Some(resource) = name.strip_prefix("count/") {
        return number(contents.counts.get(resource).copied().unwrap_or(0));
    }
    if let Some((class, what)) = name.split_once(".storageclass.storage.k8s.io/") {
        let of_class = || contents.claims.iter().filter(|claim| class_of(claim) == Some(class));
        return match what {
            "persistentvolumeclaims" => number(of_class().count()),
            _ => storage(&contents.claims, Some(class)),
        };
    }
    if let Some(resource) = name.strip_prefix("limits.") {
        return total(&live, resource, amounts::limited);
    }
    if let Some(resource) = name.strip_prefix("requests.") {
        return total(&live, resource, amounts::requested);
    }
    match name {
        CPU | MEMORY | "ephemeral-storage" => total(&live, name, amounts::requested),
        kind => number(contents.counts.get(kind).copied().unwrap_or(0)),
    }
}

fn total(pods: &[&Arc<Pod>], resource: &str, of: fn(&Pod) -> Amounts) -> String {
    let sum: i64 = pods.iter().map(|pod| of(pod).get(resource)).sum();
    let quantity = match resource {
        CPU => Quantity::from_millis(sum),
        _ => Quantity::from_binary(sum),
    };
    quantity.to_string()
}

fn of_type<'a>(
    services: &'a [Arc<Service>],
    kind: &'a str,
) -> impl Iterator<Item = &'a Arc<Service>> {
    let is = move |service: &&Arc<Service>| {
        service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some(kind)
    };
    services.iter().filter(is)
}

fn node_ports(services: &[Arc<Service>]) -> usize {
    let balanced = of_type(services, "LoadBalancer").filter(|service| {
        let spec = service.spec.as_ref();
        spec.and_then(|spec| spec.allocate_load_balancer_node_ports) != Some(false)
    });
    let all = of_type(services, "NodePort").chain(balanced);
    all.map(|service| {
        service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).map_or(0, Vec::len)
    })
    .sum()
}

fn class_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.storage_class_name.as_deref()
}

fn storage(claims: &[Arc<PersistentVolumeClaim>], class: Option<&str>) -> String {
    let of_class = claims.iter().filter(|claim| class.is_none() || class_of(claim) == class);
    let sizes = of_class.filter_map(|claim| {
        let resources = claim.spec.as_ref()?.resources.as_ref()?;
        let size: Quantity = resources.requests.as_ref()?.get("storage")?.0.parse().ok()?;
        Some(size.units())
    });
    Quantity::from_binary(sizes.sum()).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use test_case::test_case;

    use super::*;

    fn contents() -> Contents {
        let pod = |cpu: &str, phase: &str, deadline: Value| {
            serde_json::from_value::<Pod>(json!({
                "metadata": { "name": "p" },
                "spec": { "activeDeadlineSeconds": deadline, "containers": [{ "name": "c",
                    "resources": { "requests": { "cpu": cpu, "memory": "64Mi" },
                                   "limits": { "cpu": "1" } } }] },
                "status": { "phase": phase },
            }))
            .map(Arc::new)
            .expect("a pod")
        };
        let service = |kind: &str| {
            let service = json!({ "metadata": { "name": kind },
                "spec": { "type": kind, "ports": [{ "port": 80 }, { "port": 81 }] } });
            Arc::new(serde_json::from_value::<Service>(service).expect("a service"))
        };
        let claim = |class: &str, size: &str| {
            let claim = json!({ "metadata": { "name": class }, "spec": { "storageClassName": class,
                "resources": { "requests": { "storage": size } } } });
            Arc::new(serde_json::from_value::<PersistentVolumeClaim>(claim).expect("a claim"))
        };
        Contents {
            pods: vec![
                pod("250m", "Running", json!(null)),
                pod("500m", "Pending", json!(60)),
                pod("4", "Succeeded", json!(null)),
            ],
            services: vec![service("ClusterIP"), service("NodePort"), service("LoadBalancer")],
            claims: vec![claim("fast", "1Gi"), claim("slow", "2Gi")],
            counts: [("configmaps", 3), ("deployments.apps", 2)]
                .map(|(name, count)| (name.to_owned(), count))
                .into(),
        }
    }

    #[test_case("pods", "2"; "finished pods do not count")]
    #[test_case("requests.cpu", "750m"; "what is asked for")]
    #[test_case("cpu", "750m"; "the older name")]
    #[test_case("requests.memory", "128Mi"; "memory")]
    #[test_case("limits.cpu", "2"; "limits")]
    #[test_case("services.nodeports", "4"; "ports of both sorts")]
    #[test_case("services.loadbalancers", "1"; "balancers")]
    #[test_case("requests.storage", "3Gi"; "storage")]
    #[test_case("fast.storageclass.storage.k8s.io/requests.storage", "1Gi"; "of one class")]
    #[test_case("configmaps", "3"; "objects")]
    #[test_case("count/deployments.apps", "2"; "objects of any kind")]
    #[test_case("count/widgets.example.com", "0"; "of a kind that is not there")]
    fn counts(name: &str, expected: &str) {
        assert_eq!(used(name, &Scopes::default(), &contents()), expected);
    }

    #[test]
    fn scopes_narrow() {
        let quota: ResourceQuota = serde_json::from_value(json!({
            "metadata": { "name": "q" }, "spec": { "scopes": ["Terminating"] },
        }))
        .expect("a quota");
        assert_eq!(used("pods", &Scopes::of(&quota), &contents()), "1");
    }
}
