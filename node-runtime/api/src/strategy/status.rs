//! Writes of a status: what else of an object they may change, by kind.

use minik_meta::object;
use serde_json::{Map, Value, json};

use super::{SERVER_METADATA, certificates, keep_metadata};
use crate::resource::Resource;

/// Metadata that users own.
const OWNED: &[&str] = &["labels", "annotations", "finalizers", "ownerReferences"];
/// All metadata, but for who wrote what.
const ALL: &[&str] = &[];

/// Kinds whose metadata, or some of it, is not changed together with the status. Of all others a
/// write of the status may change what users own.
const KEPT: &[(&str, &str, &[&str])] = &[
    ("", "Pod", &["ownerReferences"]),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", OWNED),
    ("apiregistration.k8s.io", "APIService", OWNED),
    ("apps", "Deployment", &["labels"]),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", ALL),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", ALL),
    ("networking.k8s.io", "ServiceCIDR", OWNED),
    ("resource.k8s.io", "ResourceClaim", OWNED),
    ("storage.k8s.io", "VolumeAttachment", OWNED),
];

/// What of `resource` is kept.
fn kept(resource: &Resource) -> Option<&'static [&'static str]> {
    if resource.custom.is_some() {
        return Some(ALL);
    }
    let found = KEPT.iter().find(|(group, kind, _)| resource.is(group, kind));
    found.map(|(_, _, keys)| *keys)
}

/// Makes a new version ready to replace `old` through the `status` subresource: only the status,
/// and of the metadata what its kind lets change with it, is taken from `new`.
pub fn prepare_status_update(resource: &Resource, new: &mut Value, old: &Value) {
    keep_metadata(new, old, SERVER_METADATA);
    match kept(resource) {
        None => {}
        Some([]) => keep_all(new, old),
        Some(keys) => keep_metadata(new, old, keys),
    }
    let status = object::remove(new, &["status"]);
    let metadata = object::remove(new, &["metadata"]);
    let Some(fields) = old.as_object() else { return };
    let mut result: Map<String, Value> = fields.clone();
    result.insert("metadata".into(), metadata.unwrap_or_else(|| json!({})));
    match status {
        Some(status) => {
            result.insert("status".into(), status);
        }
        None => {
            result.shift_remove("status");
        }
    }
    *new = Value::Object(result);
    if resource.is("certificates.k8s.io", "CertificateSigningRequest") {
        certificates::prepare_status(new, old);
    }
}

fn keep_all(new: &mut Value, old: &Value) {
    let owners = object::remove(new, &["metadata", "managedFields"]);
    let mut metadata = old.get("metadata").cloned().unwrap_or_else(|| json!({}));
    match owners {
        Some(owners) => object::set(&mut metadata, &["managedFields"], owners),
        None => {
            object::remove(&mut metadata, &["managedFields"]);
        }
    }
    object::set(new, &["metadata"], metadata);
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use test_case::test_case;

    use super::*;
    use crate::kinds::kinds;

    #[test]
    fn kinds_of_the_table_are_there() {
        for (group, kind, _) in KEPT {
            let found = kinds().all().iter().any(|one| one.is(group, kind) && one.has_status());
            assert!(found, "{group}/{kind} has no status");
        }
    }

    #[test_case("", "Node", expect![[r#"{"name":"x","labels":{"n":"1"},"managedFields":[1],"uid":"u"}"#]]; "nothing is kept")]
    #[test_case("", "Pod", expect![[r#"{"name":"x","labels":{"n":"1"},"managedFields":[1],"uid":"u","ownerReferences":[2]}"#]]; "owners are kept")]
    #[test_case("apps", "Deployment", expect![[r#"{"name":"x","labels":{"o":"1"},"managedFields":[1],"uid":"u"}"#]]; "labels are kept")]
    #[test_case("storage.k8s.io", "VolumeAttachment", expect![[r#"{"name":"x","labels":{"o":"1"},"managedFields":[1],"uid":"u","ownerReferences":[2]}"#]]; "what users own is kept")]
    #[test_case("flowcontrol.apiserver.k8s.io", "FlowSchema", expect![[r#"{"name":"x","uid":"u","labels":{"o":"1"},"ownerReferences":[2],"managedFields":[1]}"#]]; "all is kept")]
    fn metadata(group: &str, kind: &str, expected: Expect) {
        let resource = kinds().by_kind(group, "v1", kind).expect("a kind");
        let old = json!({"metadata": {"name": "x", "uid": "u", "labels": {"o": "1"}, "ownerReferences": [2]}});
        let mut new =
            json!({"metadata": {"name": "x", "labels": {"n": "1"}, "managedFields": [1]}});
        prepare_status_update(resource, &mut new, &old);
        expected.assert_eq(&new["metadata"].to_string());
    }
}
