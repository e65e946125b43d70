//! What makes the pod of an ordinal: its name, host name, labels and volumes.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume,
};
use minik_reconcile::KeyOf;

use crate::history;
use crate::owned::controller_ref;
use crate::pods;
use crate::stateful_set::spec;
use crate::wiring::{name_of, namespace_of};

/// Label of a revision that carries the hash of its template.
pub(super) const HASH: &str = "controller.kubernetes.io/hash";
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The ordinal in the name of a pod, if it is one of this set's names.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let number = name_of(pod).strip_prefix(name_of(set))?.strip_prefix('-')?;
    let canonical = number == "0" || !number.starts_with(['0', '+', '-']);
    number.parse().ok().filter(|_| canonical)
}

/// Whether the pod's name is one of this set's.
pub(super) fn is_member(set: &StatefulSet, pod: &Pod) -> bool {
    ordinal(set, pod).is_some()
}

/// The first ordinal.
pub(super) fn start(set: &StatefulSet) -> i32 {
    spec(set).ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
}

/// The name of the pod with this ordinal.
pub(super) fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", name_of(set))
}

/// The name of the claim that a template makes for a pod.
pub(super) fn claim_name(template: &PersistentVolumeClaim, pod: &str) -> String {
    format!("{}-{pod}", name_of(template))
}

/// The pod of this ordinal as `revision` describes it.
pub(super) fn pod(set: &StatefulSet, ordinal: i32, revision: &ControllerRevision) -> Pod {
    let template = history::template_of(revision);
    let template = template.as_ref().unwrap_or(&spec(set).template);
    let mut pod = pods::from_template(namespace_of(set), template, controller_ref(set));
    let name = pod_name(set, ordinal);
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.to_owned(), name.clone());
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
    labels.insert(history::HASH.to_owned(), name_of(revision).to_owned());
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(name.clone());
    pod_spec.subdomain = spec(set).service_name.clone().filter(|name| !name.is_empty());
    mount_claims(set, &mut pod, &name);
    pod
}

/// Volumes of the claim templates take the place of volumes of the same name.
fn mount_claims(set: &StatefulSet, pod: &mut Pod, name: &str) {
    let templates = spec(set).volume_claim_templates.as_deref().unwrap_or_default();
    if templates.is_empty() {
        return;
    }
    let volumes = pod.spec.get_or_insert_default().volumes.get_or_insert_default();
    volumes.retain(|volume| !templates.iter().any(|template| name_of(template) == volume.name));
    volumes.extend(templates.iter().map(|template| Volume {
        name: name_of(template).to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim_name(template, name),
            read_only: Some(false),
        }),
        ..Volume::default()
    }));
}

/// The revision a pod was made from.
pub(super) fn revision_of(pod: &Pod) -> &str {
    pod.label(history::HASH).unwrap_or_default()
}
