//! Who owns what: controller references, and the rules by which an owner takes and gives up
//! objects that its selector matches or no longer matches.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::Resource;
use minik_reconcile::{Change, KeyOf, labels};
use serde_json::json;

/// The owner reference that marks `owner` as the one controller of an object.
pub(crate) fn controller_ref<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.uid_str().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The controller of an object, if it has one.
pub(crate) fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    let owners = object.meta().owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true))
}

/// Whether the object with this unique id controls `object`.
pub(crate) fn is_controlled_by<K: Resource>(object: &K, uid: &str) -> bool {
    controller_of(object).is_some_and(|owner| owner.uid == uid)
}

/// What an owner does with one object it might own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Owned, and stays so.
    Keep,
    /// Nobody's, and matches: take it.
    Adopt,
    /// Owned, but no longer matches: give it up.
    Release,
    /// Not ours to touch.
    Ignore,
}

/// Decides about one object. An owner that is being deleted takes and gives up nothing.
pub(crate) fn claim<O: Resource, K: Resource>(
    owner: &O,
    selector: &LabelSelector,
    object: &K,
) -> Claim {
    let matches = labels::selects(selector, object.meta().labels.as_ref());
    match controller_of(object) {
        Some(controller) if controller.uid != owner.uid_str() => Claim::Ignore,
        Some(_) if matches => Claim::Keep,
        Some(_) if owner.is_terminating() => Claim::Ignore,
        Some(_) => Claim::Release,
        None if !matches || owner.is_terminating() || object.is_terminating() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// The change that makes `owner` the controller of `object`, if nobody changes it meanwhile.
pub(crate) fn adopt<O, K>(owner: &O, object: &K) -> Change<K>
where
    O: Resource<DynamicType = ()>,
    K: Resource,
{
    let mut owners = object.meta().owner_references.clone().unwrap_or_default();
    owners.push(controller_ref(owner));
    with_owners(object, &owners)
}

/// The change that removes `owner` from the owners of `object`.
pub(crate) fn release<O: Resource, K: Resource>(owner: &O, object: &K) -> Change<K> {
    let mut owners = object.meta().owner_references.clone().unwrap_or_default();
    owners.retain(|reference| reference.uid != owner.uid_str());
    with_owners(object, &owners)
}

fn with_owners<K: Resource>(object: &K, owners: &[OwnerReference]) -> Change<K> {
    let meta = object.meta();
    Change::Patch {
        key: object.key(),
        fields: json!({ "metadata": {
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "ownerReferences": owners,
        }}),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use k8s_openapi::api::core::v1::Pod;
    use test_case::test_case;

    use super::*;

    fn set(uid: &str, terminating: bool) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {
                "name": "web", "namespace": "default", "uid": uid,
                "deletionTimestamp": terminating.then_some("2026-01-01T00:00:00Z"),
            },
            "spec": { "selector": { "matchLabels": { "app": "web" } } },
        }))
        .expect("a replica set")
    }

    fn pod(label: &str, owner: Option<&str>) -> Pod {
        let owners: Vec<_> = owner
            .map(|uid| {
                json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web",
                        "uid": uid, "controller": true })
            })
            .into_iter()
            .collect();
        serde_json::from_value(json!({ "metadata": {
            "name": "web-1", "namespace": "default", "uid": "p1", "resourceVersion": "7",
            "labels": { "app": label }, "ownerReferences": owners,
        }}))
        .expect("a pod")
    }

    #[test_case("web", Some("me"), false, Claim::Keep; "ours and matching")]
    #[test_case("db", Some("me"), false, Claim::Release; "ours and no longer matching")]
    #[test_case("db", Some("me"), true, Claim::Ignore; "a dying owner gives nothing up")]
    #[test_case("web", Some("other"), false, Claim::Ignore; "somebody else's")]
    #[test_case("web", None, false, Claim::Adopt; "nobody's and matching")]
    #[test_case("web", None, true, Claim::Ignore; "a dying owner takes nothing")]
    #[test_case("db", None, false, Claim::Ignore; "nobody's and not matching")]
    fn claims(label: &str, owner: Option<&str>, terminating: bool, expected: Claim) {
        let set = set("me", terminating);
        let selector = &set.spec.as_ref().expect("given above").selector;
        assert_eq!(claim(&set, selector, &pod(label, owner)), expected);
    }

    #[test]
    fn an_adoption_holds_only_for_the_pod_that_was_seen() {
        let Change::Patch { fields, .. } = adopt(&set("me", false), &pod("web", None)) else {
            panic!("an adoption is a patch")
        };
        assert_eq!(fields["metadata"]["resourceVersion"], "7");
        assert_eq!(fields["metadata"]["uid"], "p1");
        assert_eq!(fields["metadata"]["ownerReferences"][0]["uid"], "me");
    }
}
