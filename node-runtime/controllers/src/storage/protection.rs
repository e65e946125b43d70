//! Keeps claims that pods use and volumes that claims use, until the users are gone: such objects
//! carry a finalizer from the start, which is taken away here.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::PostParams;
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue};

use crate::pods;
use crate::storage::{volume_of, volume_phase};
use crate::wiring::{Running, Wiring, enqueue_each, name_of, namespace_of};

/// Name of the keeper of claims, and of its service account.
pub(crate) const CLAIMS: &str = "pvc-protection-controller";
/// Name of the keeper of volumes, and of its service account.
pub(crate) const VOLUMES: &str = "pv-protection-controller";

const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

#[derive(Clone)]
struct Claims {
    client: Client,
    claims: Cache<PersistentVolumeClaim>,
    pods: Cache<Pod>,
}

/// Hooks the keeper of claims to its caches.
pub(crate) fn start_claims(wiring: &Wiring) -> Running {
    let context = Claims {
        client: wiring.client(CLAIMS),
        claims: wiring.caches.watch(),
        pods: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.claims, &queue);
    let wake = queue.clone();
    context.pods.on_change(move |seen| {
        let pod = seen.object();
        for claim in claims_of(pod) {
            wake.add(ObjectKey::new(pod.key().namespace, claim));
        }
    });
    wiring.work(CLAIMS, queue, context, reconcile_claim)
}

fn claims_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let names = volumes.filter_map(|volume| match &volume.persistent_volume_claim {
        Some(claim) => Some(claim.claim_name.clone()),
        None => volume.ephemeral.as_ref().map(|_| format!("{}-{}", name_of(pod), volume.name)),
    });
    names.collect()
}

/// Whether the pod may still read or write the claim's volume.
fn uses(pod: &Pod, claim: &str) -> bool {
    let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    placed && !pods::is_finished(pod) && claims_of(pod).iter().any(|name| name == claim)
}

async fn reconcile_claim(ctx: Claims, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(claim) = ctx.claims.get(&key).filter(|claim| claim.is_terminating()) else {
        return Ok(Requeue::WhenChanged);
    };
    let pods = ctx.pods.in_namespace(namespace_of(&*claim));
    if pods.iter().any(|pod| uses(pod, &key.name)) {
        return Ok(Requeue::WhenChanged); // Woken when the pod ends.
    }
    let mut written = (*claim).clone();
    if take(&mut written.metadata.finalizers, CLAIM_FINALIZER) {
        match Change::Replace(Box::new(written)).apply(&ctx.client).await {
            Err(gone) if gone.error.is_not_found() => {}
            answer => drop(answer?),
        }
    }
    Ok(Requeue::WhenChanged)
}

/// Takes one finalizer away; whether it was there.
fn take(finalizers: &mut Option<Vec<String>>, name: &str) -> bool {
    let Some(list) = finalizers else { return false };
    let before = list.len();
    list.retain(|finalizer| finalizer != name);
    list.len() != before
}

#[derive(Clone)]
struct Volumes {
    client: Client,
    volumes: Cache<PersistentVolume>,
    claims: Cache<PersistentVolumeClaim>,
}

/// Hooks the keeper of volumes to its caches.
pub(crate) fn start_volumes(wiring: &Wiring) -> Running {
    let context = Volumes {
        client: wiring.client(VOLUMES),
        volumes: wiring.caches.watch(),
        claims: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.volumes, &queue);
    let wake = queue.clone();
    context.claims.on_change(move |seen| {
        if let Some(volume) = volume_of(seen.object()) {
            wake.add(ObjectKey::cluster(volume));
        }
    });
    wiring.work(VOLUMES, queue, context, reconcile_volume)
}

async fn reconcile_volume(ctx: Volumes, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(volume) = ctx.volumes.get(&key).filter(|volume| volume.is_terminating()) else {
        return Ok(Requeue::WhenChanged);
    };
    let is_claimed = ctx.claims.list().iter().any(|claim| volume_of(claim) == Some(&*key.name));
    if is_claimed && volume_phase(&volume) == "Bound" {
        return Ok(Requeue::WhenChanged); // Woken when the claim goes.
    }
    let mut written = (*volume).clone();
    if take(&mut written.metadata.finalizers, VOLUME_FINALIZER) {
        let api: Api<PersistentVolume> = Api::all(ctx.client.clone());
        match api.replace(&key.name, &PostParams::default(), &written).await {
            Err(error) if error.is_not_found() => {}
            answer => drop(answer?),
        }
    }
    Ok(Requeue::WhenChanged)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use test_case::test_case;

    use super::*;

    #[test_case(json!({ "nodeName": "n1" }), "Running", true; "it runs")]
    #[test_case(json!({ "nodeName": "n1" }), "Succeeded", false; "it has ended")]
    #[test_case(json!({}), "Pending", false; "it has no node")]
    fn use_of_a_claim(place: Value, phase: &str, expected: bool) {
        let mut spec = json!({ "containers": [], "volumes": [
            { "name": "v", "persistentVolumeClaim": { "claimName": "data" } }] });
        spec["nodeName"] = place["nodeName"].clone();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "a" }, "spec": spec, "status": { "phase": phase },
        }))
        .expect("a pod");
        assert_eq!(uses(&pod, "data"), expected);
        assert!(!uses(&pod, "other"));
    }
}
