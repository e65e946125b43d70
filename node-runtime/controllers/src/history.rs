//! ControllerRevisions: the templates a DaemonSet or StatefulSet had, numbered, so that
//! `kubectl rollout history` and `undo` can read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::Resource;
use minik_reconcile::Change;
use serde_json::{Value, json};

use crate::owned::controller_ref;
use crate::wiring::{name_of, namespace_of};

/// Tells pods and revisions of one template from those of another.
pub(crate) const HASH: &str = "controller-revision-hash";

/// What a revision stores: the template as a patch that puts it back whole.
pub(crate) fn data_of(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = json!("replace");
    json!({ "spec": { "template": template } })
}

/// The template that a revision stores.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// What is to become of the revision of the template as it is now.
pub(crate) struct Current {
    /// It, with the number it should have.
    pub(crate) revision: ControllerRevision,
    /// What must be written for that.
    pub(crate) change: Option<Change<ControllerRevision>>,
}

/// The revision of the template as it is now: one that is there, renumbered if it came back, or a
/// new one. `label` is the label that carries the hash.
pub(crate) fn current<O>(
    owner: &O,
    template: &PodTemplateSpec,
    label: &str,
    collisions: i32,
    there: &[Arc<ControllerRevision>],
) -> Current
where
    O: Resource<DynamicType = ()>,
{
    let data = data_of(template);
    let last = there.iter().map(|one| one.revision).max().unwrap_or(0);
    let same = there.iter().filter(|one| one.data.as_ref().is_some_and(|old| old.0 == data));
    match same.max_by_key(|one| one.revision) {
        Some(one) if one.revision == last => Current { revision: (**one).clone(), change: None },
        Some(one) => {
            let revision = ControllerRevision { revision: last + 1, ..(**one).clone() };
            let change = Some(Change::Replace(Box::new(revision.clone())));
            Current { revision, change }
        }
        None => {
            let revision = make(owner, template, label, data, collisions, last + 1);
            let change = Some(Change::create(revision.clone()));
            Current { revision, change }
        }
    }
}

fn make<O: Resource<DynamicType = ()>>(
    owner: &O,
    template: &PodTemplateSpec,
    label: &str,
    data: Value,
    collisions: i32,
    number: i64,
) -> ControllerRevision {
    let hash = short_hash(&data.to_string(), collisions);
    let template_labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone());
    let mut labels: BTreeMap<String, String> = template_labels.unwrap_or_default();
    labels.insert(label.to_owned(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name_of(owner))),
            namespace: Some(namespace_of(owner).to_owned()),
            labels: Some(labels),
            annotations: owner.meta().annotations.clone().map(|mut annotations| {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
                annotations
            }),
            owner_references: Some(vec![controller_ref(owner)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision: number,
    }
}

/// A short name for a text: FNV-1a, in letters that spell no word.
pub(crate) fn short_hash(text: &str, collisions: i32) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = text.as_bytes().to_vec();
    if collisions > 0 {
        bytes.extend(collisions.to_le_bytes());
    }
    let hash = bytes
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let digits = hash.to_string();
    digits.bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

/// Deletions of the revisions beyond `limit` that no pod and no status needs, oldest first.
pub(crate) fn outdated(
    there: &[Arc<ControllerRevision>],
    in_use: &dyn Fn(&ControllerRevision) -> bool,
    limit: i32,
) -> Vec<Change<ControllerRevision>> {
    let mut spare: Vec<_> = there.iter().filter(|one| !in_use(one)).collect();
    spare.sort_by_key(|one| one.revision);
    let surplus = spare.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    spare.into_iter().take(surplus).map(|one| Change::delete(&**one)).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DaemonSet;

    use super::*;

    fn template(image: &str) -> PodTemplateSpec {
        serde_json::from_value(json!({
            "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "c", "image": image }] },
        }))
        .expect("a template")
    }

    #[test]
    fn a_template_that_comes_back_gets_a_new_number() {
        let owner: DaemonSet = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "ds" },
        }))
        .expect("a daemon set");
        let now = |image: &str, there: &[Arc<ControllerRevision>]| {
            current(&owner, &template(image), HASH, 0, there)
        };
        let one = now("v1", &[]);
        assert!(matches!(one.change, Some(Change::Create(_))));
        assert_eq!(one.revision.revision, 1);
        let one = Arc::new(one.revision);
        assert_eq!(now("v1", std::slice::from_ref(&one)).change, None);

        let two = Arc::new(now("v2", std::slice::from_ref(&one)).revision);
        assert_eq!(two.revision, 2);
        assert_ne!(two.metadata.name, one.metadata.name);
        let back = now("v1", &[one.clone(), two.clone()]);
        assert_eq!(back.revision.revision, 3);
        assert!(matches!(back.change, Some(Change::Replace(_))));
        assert_eq!(template_of(&back.revision), Some(template("v1")));

        let gone = outdated(&[one, two], &|one| one.revision == 2, 0);
        assert_eq!(gone.len(), 1);
    }
}
