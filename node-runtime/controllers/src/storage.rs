//! Volumes that outlive pods: [`claims`] finds or makes a volume for each claim, [`volumes`] takes
//! back those whose claim is gone, [`host_path`] makes and removes folders on a node for the class
//! `standard`, [`ephemeral`] makes claims that go with their pod, [`protection`] keeps what is in
//! use.

pub(crate) mod claims;
pub(crate) mod ephemeral;
pub(crate) mod host_path;
pub(crate) mod protection;
pub(crate) mod volumes;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use minik_reconcile::ObjectKey;

/// Service account that binds and provisions.
const BINDER: &str = "persistent-volume-binder";

const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

/// The phase of a volume, `Pending` before there is one.
fn volume_phase(volume: &PersistentVolume) -> &str {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    phase.unwrap_or("Pending")
}

fn claim_phase(claim: &PersistentVolumeClaim) -> &str {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    phase.unwrap_or("Pending")
}

/// The claim a volume is kept for: where, and which one if that is decided.
fn claim_of(volume: &PersistentVolume) -> Option<(ObjectKey, Option<&str>)> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    let namespace = reference.namespace.clone().unwrap_or_default();
    let key = ObjectKey::new(namespace, reference.name.clone().unwrap_or_default());
    Some((key, reference.uid.as_deref().filter(|uid| !uid.is_empty())))
}

/// The volume a claim is bound to, or asks for by name.
fn volume_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    let name = claim.spec.as_ref()?.volume_name.as_deref()?;
    (!name.is_empty()).then_some(name)
}
