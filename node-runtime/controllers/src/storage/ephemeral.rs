//! Makes the claim of a volume that lives and dies with its pod.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use minik_client::{EventRecorder, Level};
use minik_reconcile::{Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue};

use crate::owned::{controller_ref, is_controlled_by};
use crate::pods;
use crate::service_account::create_once;
use crate::wiring::{Running, Wiring, enqueue_each, name_of, namespace_of};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "ephemeral-volume-controller";

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    pods: Cache<Pod>,
    claims: Cache<PersistentVolumeClaim>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(NAME);
    let context = Context {
        events: wiring.events(&client, NAME),
        client,
        pods: wiring.caches.watch(),
        claims: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.pods, &queue);
    wiring.work(NAME, queue, context, reconcile)
}

/// The claims of the pod's volumes that live and die with it.
fn claims(pod: &Pod) -> Vec<PersistentVolumeClaim> {
    if pod.is_terminating() || pods::is_finished(pod) {
        return Vec::new();
    }
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| claim(pod, volume)).collect()
}

fn claim(pod: &Pod, volume: &Volume) -> Option<PersistentVolumeClaim> {
    let template = volume.ephemeral.as_ref()?.volume_claim_template.clone()?;
    let meta = template.metadata.unwrap_or_default();
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", name_of(pod), volume.name)),
            namespace: Some(namespace_of(pod).to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: Some(vec![controller_ref(pod)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec),
        status: None,
    })
}

/// Reconciles one pod.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(pod) = ctx.pods.get(&key) else { return Ok(Requeue::WhenChanged) };
    for wanted in claims(&pod) {
        match ctx.claims.get(&wanted.key()) {
            None => create_once(&ctx.client, &Change::create(wanted)).await?,
            Some(there) if !is_controlled_by(&*there, pod.uid_str()) => {
                let name = name_of(&*there);
                let message = format!("PVC {name:?} was not created for this pod");
                ctx.events.record(&*pod, Level::Warning, "FailedBinding", message);
            }
            Some(_) => {}
        }
    }
    Ok(Requeue::WhenChanged)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_claim_goes_with_the_pod() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "p" },
            "spec": { "containers": [], "volumes": [
                { "name": "plain", "emptyDir": {} },
                { "name": "scratch", "ephemeral": { "volumeClaimTemplate": {
                    "metadata": { "labels": { "a": "b" } },
                    "spec": { "accessModes": ["ReadWriteOnce"] } } } }] },
        }))
        .expect("a pod");
        let made = claims(&pod);
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].key().to_string(), "default/web-scratch");
        assert!(is_controlled_by(&made[0], "p"));
        assert_eq!(made[0].label("a"), Some("b"));
    }
}
