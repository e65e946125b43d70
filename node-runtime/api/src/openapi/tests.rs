//! Documents as kubectl and generators read them.

use std::collections::BTreeSet;

use super::*;

/// Paths and hashes of the built-in versions.
fn v3_entries() -> Vec<(String, String)> {
    let versions = kinds()
        .groups()
        .iter()
        .flat_map(|group| group.versions.iter().map(move |version| (group, version)));
    versions
        .map(|(group, version)| {
            let path = v3_path(&group.name, version);
            let hash = hash(&path);
            (path, hash)
        })
        .collect()
}

/// The document of a built-in version.
fn v3_group(group: &str, version: &str) -> Option<Bytes> {
    let resources: Vec<&Resource> = kinds().in_version(group, version).map(AsRef::as_ref).collect();
    (!resources.is_empty()).then(|| v3_document(&resources))
}

fn document(group: &str, version: &str) -> Value {
    serde_json::from_slice(&v3_group(group, version).unwrap()).unwrap()
}

/// Every `$ref` in a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                found.insert(target.to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn check_references(document: &Value) {
    let mut found = BTreeSet::new();
    references(document, &mut found);
    for target in found {
        let pointer = target.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{target} is not in the document");
    }
}

#[test]
fn every_reference_resolves() {
    for (path, _) in v3_entries() {
        let (group, version) = match path.strip_prefix("apis/") {
            Some(rest) => rest.split_once('/').unwrap(),
            None => ("", path.strip_prefix("api/").unwrap()),
        };
        check_references(&document(group, version));
    }
    check_references(&serde_json::from_slice(&v2([])).unwrap());
}

#[test]
fn what_explain_looks_for() {
    let apps = document("apps", "v1");
    let list = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments"]["get"];
    assert_eq!(list["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let deployment = &apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "kind": "Deployment", "version": "v1"}])
    );
    let spec = &deployment["properties"]["spec"];
    assert_eq!(spec["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec");
    let spec = &apps["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentSpec"];
    assert_eq!(spec["required"], json!(["selector", "template"]));
    assert!(spec["properties"]["replicas"]["description"].as_str().unwrap().contains("Number of"));
    assert_eq!(spec["properties"]["replicas"]["format"], "int32");
}

#[test]
fn what_apply_looks_for() {
    let core = document("", "v1");
    let patch = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"fieldValidation") && names.contains(&"dryRun"));
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let containers =
        &core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
}

#[test]
fn operations_are_named_as_upstream_names_them() {
    let core = document("", "v1");
    let id = |path: &str, method: &str| {
        core["paths"][path][method]["operationId"].as_str().unwrap_or_default().to_owned()
    };
    let pod = "/api/v1/namespaces/{namespace}/pods/{name}";
    assert_eq!(id(pod, "get"), "readCoreV1NamespacedPod");
    assert_eq!(id(&format!("{pod}/status"), "put"), "replaceCoreV1NamespacedPodStatus");
    assert_eq!(id(&format!("{pod}/exec"), "post"), "connectCoreV1PostNamespacedPodExec");
    assert_eq!(id("/api/v1/pods", "get"), "listCoreV1PodForAllNamespaces");
    assert_eq!(id("/api/v1/nodes", "delete"), "deleteCollectionCoreV1Node");
    assert_eq!(camel_version("rbac.authorization.k8s.io", "v1"), "RbacAuthorizationV1");
    assert_eq!(tag("rbac.authorization.k8s.io", "v1"), "rbacAuthorization_v1");
}

#[test]
fn operation_ids_are_unique() {
    let all: Value = serde_json::from_slice(&v2([])).unwrap();
    let mut seen = BTreeSet::new();
    for (path, item) in all["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if let Some(id) = operation.get("operationId").and_then(Value::as_str) {
                assert!(seen.insert(id.to_owned()), "{method} {path}: {id} occurs twice");
            }
        }
    }
}

#[test]
fn the_index() {
    let entries = v3_entries();
    let index = v3_index(entries.iter().map(|(path, hash)| (path.as_str(), hash.as_str())));
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="), "{url}");
    assert_eq!(hash("api/v1"), hash("api/v1"));
    assert_ne!(hash("api/v1"), hash("v2"));
    assert!(v3_group("apps", "v9").is_none());
}
