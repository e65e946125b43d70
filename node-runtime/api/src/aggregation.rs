//! API services: who serves which version of which group, and how the answers of other API servers
//! are merged into ours. Pure; talking to them is the API server's.

use minik_meta::{gvk, object};
use serde_json::{Value, json};

use crate::kinds::kinds;

/// The label of API services that this server makes and removes: [`ON_START`] or `true`.
pub const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Made when the server starts; whoever deletes one later is left alone.
pub const ON_START: &str = "onstart";
/// Follows a custom resource definition.
pub const FOLLOWS: &str = "true";

/// The priority of groups of custom resources among all groups, and of each of their versions.
pub const CUSTOM_PRIORITY: (i64, i64) = (1000, 100);

/// Groups and how early they come in discovery: upstream's numbers.
const PRIORITIES: &[(&str, i64)] = &[
    ("", 18000),
    ("apps", 17800),
    ("events.k8s.io", 17750),
    ("authentication.k8s.io", 17700),
    ("authorization.k8s.io", 17600),
    ("autoscaling", 17500),
    ("batch", 17400),
    ("certificates.k8s.io", 17300),
    ("networking.k8s.io", 17200),
    ("policy", 17100),
    ("rbac.authorization.k8s.io", 17000),
    ("storage.k8s.io", 16800),
    ("apiextensions.k8s.io", 16700),
    ("admissionregistration.k8s.io", 16700),
    ("scheduling.k8s.io", 16600),
    ("coordination.k8s.io", 16500),
    ("node.k8s.io", 16300),
    ("discovery.k8s.io", 16200),
    ("flowcontrol.apiserver.k8s.io", 16100),
    ("resource.k8s.io", 15900),
];

/// The API services of all built-in versions. The group of API services itself has none.
pub fn built_in() -> Vec<Value> {
    let groups = kinds().groups().iter().filter(|group| group.name != "apiregistration.k8s.io");
    let each = groups.flat_map(|group| {
        let known = PRIORITIES.iter().find(|(name, _)| *name == group.name);
        let of_group = known.map_or(15800, |(_, priority)| *priority);
        group.versions.iter().map(move |version| {
            let of_version = match (group.name.as_ref(), version.as_ref()) {
                ("", _) => 1,
                ("autoscaling", "v2") => 30,
                ("flowcontrol.apiserver.k8s.io", _) => 21,
                _ => 15,
            };
            local(&group.name, version, (of_group, of_version), ON_START)
        })
    });
    each.collect()
}

/// The API service of a version that is served here.
pub fn local(group: &str, version: &str, priority: (i64, i64), managed: &str) -> Value {
    let mut service = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": name(group, version), "labels": {MANAGED: managed}},
        "spec": {
            "group": group, "version": version,
            "groupPriorityMinimum": priority.0, "versionPriority": priority.1,
        },
    });
    if group.is_empty() {
        object::remove(&mut service, &["spec", "group"]);
    }
    mark_local(&mut service);
    service
}

/// The name of the API service of a version.
pub fn name(group: &str, version: &str) -> String {
    format!("{version}.{group}")
}

/// What is served here is always available.
pub(crate) fn mark_local(service: &mut Value) {
    let condition = Available::new("True", "Local", "Local APIServices are always available");
    condition.put(service, &minik_meta::time::now_rfc3339());
}

/// Whether an API service can be used.
pub fn is_available(service: &Value) -> bool {
    let conditions = object::list(service, &["status", "conditions"]).iter();
    let mut available = conditions.filter(|one| one["type"] == "Available");
    available.next().is_some_and(|one| one["status"] == "True")
}

/// The condition `Available` of an API service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// For programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Available {
    /// A condition.
    pub fn new(status: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }

    /// Writes it into the status of `service`; says whether that changed anything.
    pub fn put(&self, service: &mut Value, now: &str) -> bool {
        let mut conditions = object::list(service, &["status", "conditions"]).to_vec();
        let mut new = json!({
            "type": "Available", "status": self.status, "lastTransitionTime": now,
            "reason": self.reason, "message": self.message,
        });
        match conditions.iter_mut().find(|one| one["type"] == "Available") {
            Some(old) => {
                if old["status"] == new["status"] {
                    new["lastTransitionTime"] = old["lastTransitionTime"].clone();
                }
                if *old == new {
                    return false;
                }
                *old = new;
            }
            None => conditions.push(new),
        }
        object::set(service, &["status", "conditions"], conditions);
        true
    }
}

/// Why an API service cannot be available, as far as the objects of the cluster tell: `service` and
/// `slices` are the Service behind it and its endpoint slices.
pub fn obstacle(spec: &Value, service: Option<&Value>, slices: &[Value]) -> Option<Available> {
    let text = |key: &str| object::text(spec, &["service", key]);
    let (namespace, name) = (text("namespace"), text("name"));
    let missing = |reason, message: String| Some(Available::new("False", reason, message));
    let Some(service) = service else {
        let message = format!("service/{name} in {namespace:?} is not present");
        return missing("ServiceNotFound", message);
    };
    if !matches!(object::text(service, &["spec", "type"]), "" | "ClusterIP") {
        return None;
    }
    let port = object::integer(spec, &["service", "port"]).unwrap_or(443);
    let ports = object::list(service, &["spec", "ports"]);
    let Some(found) = ports.iter().find(|one| one["port"] == port) else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return missing("ServicePortError", message);
    };
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return missing("EndpointsNotFound", message);
    }
    let port_name = object::text(found, &["name"]);
    if !slices.iter().any(|slice| has_endpoint(slice, port_name)) {
        let message = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name \
             {port_name:?}"
        );
        return missing("MissingEndpoints", message);
    }
    None
}

fn has_endpoint(slice: &Value, port: &str) -> bool {
    let ready = |one: &Value| {
        object::at(one, &["conditions", "ready"]).is_none_or(|ready| ready == &Value::Bool(true))
    };
    let named = |one: &Value| object::text(one, &["name"]) == port && !one["port"].is_null();
    object::list(slice, &["endpoints"]).iter().any(ready)
        && object::list(slice, &["ports"]).iter().any(named)
}

/// The resources of a version as aggregated discovery lists them, from another server's answer to
/// `/apis` in that form; nothing if it does not have the version.
pub fn resources_of_aggregated(list: &Value, group: &str, version: &str) -> Option<Vec<Value>> {
    let groups = object::list(list, &["items"]).iter();
    let mut found = groups.filter(|one| object::name(one) == group);
    let versions = object::list(found.next()?, &["versions"]);
    let found = versions.iter().find(|one| one["version"] == version)?;
    Some(object::list(found, &["resources"]).to_vec())
}

/// The same from an `APIResourceList`, the old form.
pub fn resources_of_list(list: &Value, group: &str, version: &str) -> Vec<Value> {
    let mut resources: Vec<Value> = Vec::new();
    let text = |one: &Value, key: &str| object::text(one, &[key]).to_owned();
    let kind = |one: &Value| {
        let or = |given: String, own: &str| if given.is_empty() { own.to_owned() } else { given };
        json!({
            "group": or(text(one, "group"), group),
            "version": or(text(one, "version"), version),
            "kind": text(one, "kind"),
        })
    };
    let listed = object::list(list, &["resources"]);
    for one in listed.iter().filter(|one| !text(one, "name").contains('/')) {
        let scope = if object::boolean(one, &["namespaced"]) { "Namespaced" } else { "Cluster" };
        let mut resource = json!({
            "resource": text(one, "name"), "responseKind": kind(one), "scope": scope,
            "singularResource": text(one, "singularName"), "verbs": one["verbs"],
        });
        for key in ["shortNames", "categories"] {
            if let Some(value) = object::at(one, &[key]) {
                resource[key] = value.clone();
            }
        }
        resources.push(resource);
    }
    for one in listed {
        let name = text(one, "name");
        let Some((name, sub)) = name.split_once('/') else { continue };
        let Some(parent) = resources.iter_mut().find(|parent| parent["resource"] == name) else {
            continue;
        };
        let sub = json!({"subresource": sub, "responseKind": kind(one), "verbs": one["verbs"]});
        match parent.get_mut("subresources").and_then(Value::as_array_mut) {
            Some(list) => list.push(sub),
            None => parent["subresources"] = json!([sub]),
        }
    }
    resources
}

/// Puts the resources of another server's version into an aggregated discovery document that names
/// the version already.
pub fn put_resources(
    list: &mut Value,
    (group, version): (&str, &str),
    resources: &[Value],
    is_stale: bool,
) {
    let items = list.get_mut("items").and_then(Value::as_array_mut);
    let found = items.into_iter().flatten().find(|one| object::name(one) == group);
    let versions = found.and_then(|one| one.get_mut("versions")).and_then(Value::as_array_mut);
    for one in versions.into_iter().flatten().filter(|one| one["version"] == version) {
        let freshness = if is_stale { "Stale" } else { "Current" };
        *one = json!({"version": version, "resources": resources, "freshness": freshness});
    }
}

/// Adds what another server's OpenAPI v2 document says of a version: its paths, and the definitions
/// that ours does not have.
pub fn merge_openapi_v2(document: &mut Value, other: &Value, (group, version): (&str, &str)) {
    let prefix = format!("/apis/{}/", gvk::api_version(group, version));
    let own_path = |path: &str| path.starts_with(&prefix) || path == prefix;
    for (path, item) in object::map(other, &["paths"]).into_iter().flatten() {
        if own_path(path) {
            object::set(document, &["paths", path], item.clone());
        }
    }
    for (name, definition) in object::map(other, &["definitions"]).into_iter().flatten() {
        if object::at(document, &["definitions", name]).is_none() {
            object::set(document, &["definitions", name], definition.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn every_built_in_version_has_an_api_service() {
        let names: Vec<String> =
            built_in().iter().map(|one| object::name(one).to_owned()).collect();
        for expected in ["v1.", "v1.apps", "v2.autoscaling", "v1.events.k8s.io"] {
            assert!(names.iter().any(|name| name == expected), "{expected} is not in {names:?}");
        }
        assert!(!names.iter().any(|name| name == "v1.apiregistration.k8s.io"));
        let table = kinds().groups().iter().map(|group| group.name.as_ref());
        let unknown: Vec<&str> = table
            .filter(|name| !PRIORITIES.iter().any(|(known, _)| known == name))
            .filter(|name| *name != "apiregistration.k8s.io")
            .collect();
        assert!(unknown.is_empty(), "without priority: {unknown:?}");
        assert!(built_in().iter().all(is_available));
    }

    #[test]
    fn obstacles_in_the_words_of_upstream() {
        let spec = json!({"service": {"namespace": "ns", "name": "s", "port": 443}});
        let service = |port: i64| json!({"spec": {"type": "ClusterIP", "ports": [{"name": "https", "port": port}]}});
        let slice = |ready: bool, port: &str| json!({"endpoints": [{"addresses": ["1.2.3.4"], "conditions": {"ready": ready}}], "ports": [{"name": port, "port": 4443}]});
        let check = |service: Option<Value>, slices: &[Value], expected: Expect| {
            let found = obstacle(&spec, service.as_ref(), slices);
            expected.assert_eq(&found.map_or("none".to_owned(), |one| {
                format!("{} {}: {}", one.status, one.reason, one.message)
            }));
        };
        check(None, &[], expect![[r#"False ServiceNotFound: service/s in "ns" is not present"#]]);
        check(
            Some(service(80)),
            &[],
            expect![[r#"False ServicePortError: service/s in "ns" is not listening on port 443"#]],
        );
        check(
            Some(service(443)),
            &[],
            expect![[
                r#"False EndpointsNotFound: cannot find endpointslices for service/s in "ns""#
            ]],
        );
        check(
            Some(service(443)),
            &[slice(false, "https"), slice(true, "http")],
            expect![[
                r#"False MissingEndpoints: endpointslices for service/s in "ns" have no addresses with port name "https""#
            ]],
        );
        check(Some(service(443)), &[slice(true, "https")], expect!["none"]);
        check(Some(json!({"spec": {"type": "ExternalName"}})), &[], expect!["none"]);
    }

    #[test]
    fn a_condition_keeps_the_time_of_its_last_change() {
        let mut service = json!({});
        assert!(Available::new("False", "A", "a").put(&mut service, "1"));
        assert!(!Available::new("False", "A", "a").put(&mut service, "2"));
        assert!(Available::new("False", "B", "b").put(&mut service, "3"));
        let condition = |service: &Value| service["status"]["conditions"][0].clone();
        assert_eq!(condition(&service)["lastTransitionTime"], "1");
        assert!(Available::new("True", "C", "c").put(&mut service, "4"));
        assert_eq!(condition(&service)["lastTransitionTime"], "4");
        assert!(is_available(&service));
    }

    #[test]
    fn old_discovery_is_made_new() {
        let list = json!({"resources": [
            {"name": "nodes", "singularName": "", "namespaced": false, "kind": "NodeMetrics", "verbs": ["get", "list"]},
            {"name": "nodes/scale", "namespaced": false, "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get"]},
        ]});
        expect![[r#"[{"resource":"nodes","responseKind":{"group":"metrics.k8s.io","version":"v1beta1","kind":"NodeMetrics"},"scope":"Cluster","singularResource":"","verbs":["get","list"],"subresources":[{"subresource":"scale","responseKind":{"group":"autoscaling","version":"v1","kind":"Scale"},"verbs":["get"]}]}]"#]]
            .assert_eq(&Value::Array(resources_of_list(&list, "metrics.k8s.io", "v1beta1")).to_string());
    }
}
