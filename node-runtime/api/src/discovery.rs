//! Discovery: which groups, versions and resources there are, in the old and the aggregated form.
//!
//! Every function takes what it lists, so built-in kinds and custom resources can be merged.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minik_meta::gvk;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::kinds::Group;
use crate::resource::{Resource, Subresource};

/// Version of the aggregated form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregatedVersion {
    /// `apidiscovery.k8s.io/v2`
    V2,
    /// `apidiscovery.k8s.io/v2beta1`
    V2Beta1,
}

impl AggregatedVersion {
    /// As media types name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }
}

/// `/api`: versions of the core group. `server` is the address clients reach us at, `host:port`.
pub fn core_versions(server: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}],
    })
}

/// `/apis`: all groups but the core one.
pub fn group_list<'a>(groups: impl IntoIterator<Item = &'a Group>) -> Value {
    let named = groups.into_iter().filter(|group| !group.name.is_empty());
    let groups: Vec<Value> = named.map(|group| Value::Object(group_fields(group))).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`
pub fn group(group: &Group) -> Value {
    let mut map = Map::from_iter([
        ("kind".to_owned(), "APIGroup".into()),
        ("apiVersion".to_owned(), "v1".into()),
    ]);
    map.extend(group_fields(group));
    Value::Object(map)
}

/// `/api/v1`, `/apis/GROUP/VERSION`: the resources of one version.
pub fn resource_list<'a>(
    group: &str,
    version: &str,
    resources: impl IntoIterator<Item = &'a Resource>,
) -> Value {
    let mut listed: Vec<&Resource> = resources.into_iter().collect();
    listed.sort_by(|a, b| a.plural.cmp(&b.plural));
    let resources: Vec<Value> = listed
        .into_iter()
        .flat_map(|resource| {
            let subs = resource.subresources.iter().map(|sub| legacy_subresource(resource, sub));
            std::iter::once(legacy_resource(resource)).chain(subs)
        })
        .collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": gvk::api_version(group, version), "resources": resources,
    })
}

/// `/api` and `/apis` for clients that ask for `APIGroupDiscoveryList`: everything in one answer.
/// `resources` may be all there are; those of other groups are skipped.
pub fn aggregated<'a>(
    form: AggregatedVersion,
    groups: impl IntoIterator<Item = &'a Group>,
    resources: &[&'a Resource],
) -> Value {
    let items: Vec<Value> = groups
        .into_iter()
        .map(|group| {
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|version| aggregated_version(&group.name, version, resources))
                .collect();
            let mut metadata = Map::new();
            if !group.name.is_empty() {
                metadata.insert("name".into(), group.name.as_ref().into());
            }
            metadata.insert("creationTimestamp".into(), Value::Null);
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{}", form.as_str()),
        "metadata": {}, "items": items,
    })
}

fn group_fields(group: &Group) -> Map<String, Value> {
    let version = |version: &str| json!({"groupVersion": gvk::api_version(&group.name, version), "version": version});
    let versions: Vec<Value> = group.versions.iter().map(|one| version(one)).collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    Map::from_iter([
        ("name".to_owned(), group.name.as_ref().into()),
        ("versions".to_owned(), versions.into()),
        ("preferredVersion".to_owned(), preferred),
    ])
}

fn legacy_resource(resource: &Resource) -> Value {
    let mut map = json!({
        "name": resource.plural, "singularName": resource.singular,
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.listed_verbs(),
    });
    let fields = map.as_object_mut().expect("made as an object");
    if !resource.short_names.is_empty() {
        fields.insert("shortNames".into(), json!(resource.short_names));
    }
    if !resource.categories.is_empty() {
        fields.insert("categories".into(), json!(resource.categories));
    }
    if resource.has_verb("get") {
        fields.insert("storageVersionHash".into(), storage_version_hash(resource).into());
    }
    map
}

fn legacy_subresource(resource: &Resource, sub: &Subresource) -> Value {
    let mut map = Map::from_iter([
        ("name".to_owned(), format!("{}/{}", resource.plural, sub.name).into()),
        ("singularName".to_owned(), "".into()),
        ("namespaced".to_owned(), resource.namespaced.into()),
    ]);
    if (&sub.group, &sub.version) != (&resource.group, &resource.version) {
        map.insert("group".into(), sub.group.as_ref().into());
        map.insert("version".into(), sub.version.as_ref().into());
    }
    map.insert("kind".into(), sub.kind.as_ref().into());
    map.insert("verbs".into(), json!(sub.verbs));
    Value::Object(map)
}

fn aggregated_version(group: &str, version: &str, resources: &[&Resource]) -> Value {
    let mut listed: Vec<&&Resource> =
        resources.iter().filter(|one| one.group == group && one.version == version).collect();
    listed.sort_by(|a, b| a.plural.cmp(&b.plural));
    let resources: Vec<Value> = listed.into_iter().map(|one| aggregated_resource(one)).collect();
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut map = json!({
        "resource": resource.plural,
        "responseKind": kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.listed_verbs(),
    });
    let fields = map.as_object_mut().expect("made as an object");
    if !resource.short_names.is_empty() {
        fields.insert("shortNames".into(), json!(resource.short_names));
    }
    if !resource.categories.is_empty() {
        fields.insert("categories".into(), json!(resource.categories));
    }
    let subresource = |sub: &Subresource| {
        json!({
            "subresource": sub.name,
            "responseKind": kind(&sub.group, &sub.version, &sub.kind),
            "verbs": sub.verbs,
        })
    };
    if !resource.subresources.is_empty() {
        let subresources = resource.subresources.iter().map(subresource).collect();
        fields.insert("subresources".into(), subresources);
    }
    map
}

/// What changes when objects are stored in another version: clients that migrate storage look.
fn storage_version_hash(resource: &Resource) -> String {
    let stored = &resource.storage;
    let text = format!("{}/{}/{}", stored.group, stored.version, resource.kind);
    BASE64_STANDARD.encode(&Sha256::digest(text.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::kinds;
    use expect_test::expect;

    #[test]
    fn hashes_are_those_of_upstream() {
        let hash = |group: &str, plural: &str| {
            storage_version_hash(kinds().by_resource(group, "v1", plural).unwrap())
        };
        assert_eq!(hash("", "pods"), "xPOwRZ+Yhw8=");
        assert_eq!(hash("apps", "deployments"), "8aSe+NMegvE=");
        assert_eq!(hash("", "events"), hash("events.k8s.io", "events"));
    }

    #[test]
    fn groups() {
        let batch = kinds().groups().iter().find(|one| one.name == "batch").unwrap();
        expect![[r#"{"kind":"APIGroup","apiVersion":"v1","name":"batch","versions":[{"groupVersion":"batch/v1","version":"v1"}],"preferredVersion":{"groupVersion":"batch/v1","version":"v1"}}"#]]
            .assert_eq(&group(batch).to_string());
        let all = group_list(kinds().groups());
        let names: Vec<&str> = all["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"apps") && !names.contains(&""));
    }

    #[test]
    fn resources() {
        let list = resource_list("apps", "v1", kinds().in_version("apps", "v1").map(AsRef::as_ref));
        let lines: Vec<String> = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| format!("{} {} {}", one["name"], one["kind"], one["verbs"]))
            .collect();
        expect![[r#"
            "controllerrevisions" "ControllerRevision" ["create","delete","deletecollection","get","list","patch","update","watch"]
            "daemonsets" "DaemonSet" ["create","delete","deletecollection","get","list","patch","update","watch"]
            "daemonsets/status" "DaemonSet" ["get","patch","update"]
            "deployments" "Deployment" ["create","delete","deletecollection","get","list","patch","update","watch"]
            "deployments/scale" "Scale" ["get","patch","update"]
            "deployments/status" "Deployment" ["get","patch","update"]
            "replicasets" "ReplicaSet" ["create","delete","deletecollection","get","list","patch","update","watch"]
            "replicasets/scale" "Scale" ["get","patch","update"]
            "replicasets/status" "ReplicaSet" ["get","patch","update"]
            "statefulsets" "StatefulSet" ["create","delete","deletecollection","get","list","patch","update","watch"]
            "statefulsets/scale" "Scale" ["get","patch","update"]
            "statefulsets/status" "StatefulSet" ["get","patch","update"]"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn everything_in_one_answer() {
        let all: Vec<&Resource> = kinds().all().iter().map(AsRef::as_ref).collect();
        let core = aggregated(AggregatedVersion::V2, &kinds().groups()[..1], &all);
        assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2");
        let pods = core["items"][0]["versions"][0]["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["resource"] == "pods")
            .unwrap();
        assert_eq!(pods["shortNames"], json!(["po"]));
        assert_eq!(pods["responseKind"], json!({"group": "", "version": "v1", "kind": "Pod"}));
        assert!(
            pods["subresources"].as_array().unwrap().iter().any(|one| one["subresource"] == "log")
        );
        let named = aggregated(AggregatedVersion::V2Beta1, &kinds().groups()[1..], &all);
        assert_eq!(named["items"].as_array().unwrap().len(), kinds().groups().len() - 1);
    }
}
