//! Says of each volume whether it is free, bound or left behind, and removes those that were made
//! for a claim that is gone.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use minik_client::{ApiErrorExt, EventRecorder, Level};
use minik_reconcile::{Cache, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue};

use crate::storage::host_path::{HostPath, PROVISIONER_NAME};
use crate::storage::{BINDER, PROVISIONED_BY, claim_of, volume_of, volume_phase};
use crate::wiring::{Running, Wiring, enqueue_each, now};

/// Name of the controller.
pub(crate) const NAME: &str = "persistent-volume-reclaimer";

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    volumes: Cache<PersistentVolume>,
    claims: Cache<PersistentVolumeClaim>,
    host_path: HostPath,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(BINDER);
    let context = Context {
        events: wiring.events(&client, "persistentvolume-controller"),
        client,
        volumes: wiring.caches.watch(),
        claims: wiring.caches.watch(),
        host_path: HostPath::new(wiring.config.volume_root.clone()),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.volumes, &queue);
    let wake = queue.clone();
    context.claims.on_change(move |seen| {
        if let Some(volume) = volume_of(seen.object()) {
            wake.add(ObjectKey::cluster(volume));
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

/// What becomes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It has this phase, nothing more.
    Is(&'static str),
    /// Its claim is gone and so should it.
    Remove,
}

/// Decides about one volume, given the claim it is kept for.
fn plan(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Step {
    let Some((_, uid)) = claim_of(volume) else { return Step::Is("Available") };
    let Some(uid) = uid else { return Step::Is("Available") }; // Kept for whoever has that name.
    match claim.filter(|claim| claim.uid_str() == uid) {
        Some(claim) if volume_of(claim) == volume.metadata.name.as_deref() => Step::Is("Bound"),
        // Made for it, and not taken yet.
        Some(_) => Step::Is(if volume_phase(volume) == "Bound" { "Bound" } else { "Pending" }),
        None if deletes(volume) && is_ours(volume) => Step::Remove,
        None => Step::Is("Released"),
    }
}

fn deletes(volume: &PersistentVolume) -> bool {
    let policy =
        volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    policy == Some("Delete")
}

fn is_ours(volume: &PersistentVolume) -> bool {
    volume.annotation(PROVISIONED_BY) == Some(PROVISIONER_NAME)
}

/// Reconciles one volume.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(volume) = ctx.volumes.get(&key) else { return Ok(Requeue::WhenChanged) };
    let claim = match claim_of(&volume) {
        Some((key, uid)) => match ctx.claims.get(&key) {
            Some(claim) => Some((*claim).clone()),
            // The cache may be behind: ask before giving data up.
            None if uid.is_some() => {
                let claims: Api<PersistentVolumeClaim> =
                    Api::namespaced(ctx.client.clone(), &key.namespace);
                claims.get_opt(&key.name).await?
            }
            None => None,
        },
        None => None,
    };
    match plan(&volume, claim.as_ref()) {
        Step::Is(phase) => write_phase(&ctx, &volume, phase).await?,
        Step::Remove => remove(&ctx, &volume).await?,
    }
    Ok(Requeue::WhenChanged)
}

async fn write_phase(
    ctx: &Context,
    volume: &PersistentVolume,
    phase: &str,
) -> Result<(), ReconcileError> {
    if volume.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some(phase)) {
        return Ok(());
    }
    let mut written = volume.clone();
    written.status = Some(PersistentVolumeStatus {
        phase: Some(phase.to_owned()),
        last_phase_transition_time: Some(Time(now())),
        ..PersistentVolumeStatus::default()
    });
    let api: Api<PersistentVolume> = Api::all(ctx.client.clone());
    match api.replace_status(&volume.key().name, &PostParams::default(), &written).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => Ok(ctx.volumes.caught_up(&answer?).await?),
    }
}

/// First the data, then the object: a crash between leaves an object that is removed again.
async fn remove(ctx: &Context, volume: &PersistentVolume) -> Result<(), ReconcileError> {
    if let Err(error) = ctx.host_path.remove(volume).await {
        ctx.events.record(volume, Level::Warning, "VolumeFailedDelete", error.to_string());
        write_phase(ctx, volume, "Failed").await?;
        return Err(ReconcileError::Other(error.to_string()));
    }
    let api: Api<PersistentVolume> = Api::all(ctx.client.clone());
    let this = Preconditions { uid: volume.metadata.uid.clone(), resource_version: None };
    let how = DeleteParams::default().preconditions(this);
    match api.delete(&volume.key().name, &how).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => Ok(answer.map(|_| ())?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use test_case::test_case;

    use super::*;

    fn claim(uid: &str, volume: &str) -> Value {
        json!({ "metadata": { "name": "data", "namespace": "default", "uid": uid },
                "spec": { "volumeName": volume } })
    }

    #[test_case(json!(null), json!(null), Step::Is("Available"); "free")]
    #[test_case(json!({ "name": "data" }), json!(null), Step::Is("Available"); "kept for a name")]
    #[test_case(json!({ "name": "data", "uid": "c" }), claim("c", "pv"), Step::Is("Bound"); "bound")]
    #[test_case(json!({ "name": "data", "uid": "c" }), claim("c", ""), Step::Is("Pending"); "made for it")]
    #[test_case(json!({ "name": "data", "uid": "c" }), claim("d", "pv"), Step::Remove; "another of that name")]
    #[test_case(json!({ "name": "data", "uid": "c" }), json!(null), Step::Remove; "its claim is gone")]
    fn phases(claim_ref: Value, claim: Value, expected: Step) {
        let volume: PersistentVolume = serde_json::from_value(json!({
            "metadata": { "name": "pv", "annotations": { PROVISIONED_BY: PROVISIONER_NAME } },
            "spec": { "claimRef": claim_ref, "persistentVolumeReclaimPolicy": "Delete" },
        }))
        .expect("a volume");
        let claim: Option<PersistentVolumeClaim> =
            serde_json::from_value(claim).expect("a claim or none");
        assert_eq!(plan(&volume, claim.as_ref()), expected);
    }
}
