//! Finds a volume for each claim: one that is there, or one made for it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::PostParams;
use kube::{Api, Client};
use minik_client::{ApiErrorExt, EventRecorder, Level};
use minik_meta::Quantity;
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue, labels,
};

use crate::storage::host_path::{self, HostPath};
use crate::storage::{
    BIND_COMPLETED, BINDER, BOUND_BY_CONTROLLER, PROVISIONER, SELECTED_NODE, claim_of, claim_phase,
    volume_of,
};
use crate::wiring::{Running, Wiring, enqueue_each, name_of};

/// Name of the controller.
pub(crate) const NAME: &str = "persistent-volume-claim-binder";

const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
const BETA_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    classes: Cache<StorageClass>,
    nodes: Cache<Node>,
    host_path: HostPath,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(BINDER);
    let context = Context {
        events: wiring.events(&client, "persistentvolume-controller"),
        client,
        claims: wiring.caches.watch(),
        volumes: wiring.caches.watch(),
        classes: wiring.caches.watch(),
        nodes: wiring.caches.watch(),
        host_path: HostPath::new(wiring.config.volume_root.clone()),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.claims, &queue);
    let (claims, wake) = (context.claims.clone(), queue.clone());
    context.volumes.on_change(move |seen| {
        // A volume that is free may be what any waiting claim waits for.
        match claim_of(seen.object()) {
            Some((claim, _)) => wake.add(claim),
            None => wake_unbound(&claims, &wake),
        }
    });
    let (claims, wake) = (context.claims.clone(), queue.clone());
    context.classes.on_change(move |seen| {
        if let Seen::Applied { .. } = seen {
            wake_unbound(&claims, &wake);
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

fn wake_unbound(claims: &Cache<PersistentVolumeClaim>, queue: &WorkQueue<ObjectKey>) {
    let unbound = claims.list().into_iter().filter(|claim| claim_phase(claim) != "Bound");
    unbound.for_each(|claim| queue.add(claim.key()));
}

fn spec(claim: &PersistentVolumeClaim) -> PersistentVolumeClaimSpec {
    claim.spec.clone().unwrap_or_default()
}

/// What becomes of a claim.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Nothing to do, or nothing that can be done.
    Leave,
    /// It gets this class, having named none.
    GiveClass(String),
    /// It is bound to this volume.
    Bind(Arc<PersistentVolume>),
    /// A folder is made for it.
    Provision(Arc<StorageClass>),
    /// Its volume is gone.
    Lose,
    /// It waits: reason and message for the event log.
    Wait(&'static str, String),
    /// Somebody else makes the volume.
    Delegate(String),
}

/// Decides about one claim. `default` is the class for claims that name none.
fn plan(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    class: Option<&Arc<StorageClass>>,
    default: Option<&str>,
) -> Step {
    let named = volume_of(claim);
    if let Some(name) = named {
        let volume = volumes.iter().find(|volume| name_of(&***volume) == name);
        return match volume {
            None if claim.annotation(BIND_COMPLETED).is_some() => Step::Lose,
            None => Step::Leave,
            Some(volume) if is_for(volume, claim) || claim_of(volume).is_none() => {
                if is_settled(volume, claim) { Step::Leave } else { Step::Bind(volume.clone()) }
            }
            Some(_) if claim.annotation(BIND_COMPLETED).is_some() => Step::Lose,
            Some(_) => Step::Wait(
                "FailedBinding",
                format!(
                    "volume \"{name}\" already bound \
                to a different claim."
                ),
            ),
        };
    }
    if claim.is_terminating() {
        return Step::Leave;
    }
    if spec(claim).storage_class_name.is_none()
        && let Some(default) = default
    {
        return Step::GiveClass(default.to_owned());
    }
    let waits = class
        .is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    let consumer_known = claim.annotation(SELECTED_NODE).is_some();
    if let Some(volume) = best(claim, volumes)
        && (!waits || consumer_known || is_for(&volume, claim))
    {
        return Step::Bind(volume);
    }
    let Some(class) = class else {
        let message = match spec(claim).storage_class_name.as_deref() {
            None | Some("") => "no persistent volumes available for this claim and no storage \
                class is set"
                .to_owned(),
            Some(name) => format!("storageclass.storage.k8s.io \"{name}\" not found"),
        };
        return Step::Wait("FailedBinding", message);
    };
    if waits && !consumer_known {
        let message = "waiting for first consumer to be created before binding";
        return Step::Wait("WaitForFirstConsumer", message.to_owned());
    }
    match class.provisioner.as_str() {
        host_path::PROVISIONER_NAME => Step::Provision(class.clone()),
        "kubernetes.io/no-provisioner" => {
            let message = "no persistent volumes available for this claim and no provisioner \
                is set in its class";
            Step::Wait("FailedBinding", message.to_owned())
        }
        other => Step::Delegate(other.to_owned()),
    }
}

/// Whether the volume is kept for exactly this claim.
fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_of(volume).is_some_and(|(key, uid)| {
        key == claim.key() && uid.is_none_or(|uid| uid == claim.uid_str())
    })
}

/// Whether both sides say that they are bound.
fn is_settled(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let uid = claim_of(volume).and_then(|(_, uid)| uid.map(str::to_owned));
    uid.as_deref() == Some(claim.uid_str())
        && claim_phase(claim) == "Bound"
        && claim.annotation(BIND_COMPLETED).is_some()
}

/// The smallest free volume that holds what the claim asks for; one kept for it before all others.
fn best(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
) -> Option<Arc<PersistentVolume>> {
    let kept = volumes.iter().find(|volume| is_for(volume, claim));
    let fitting = volumes.iter().filter(|volume| {
        claim_of(volume).is_none() && !volume.is_terminating() && fits(volume, claim)
    });
    let smallest =
        || fitting.min_by_key(|volume| (capacity(volume), name_of(&***volume).to_owned()));
    kept.or_else(smallest).cloned()
}

fn capacity(volume: &PersistentVolume) -> Option<Quantity> {
    let capacity = volume.spec.as_ref()?.capacity.as_ref()?;
    capacity.get("storage")?.0.parse().ok()
}

fn requested(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let resources = spec(claim).resources?;
    resources.requests?.get("storage")?.0.parse().ok()
}

fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (offer, wish) = (volume.spec.clone().unwrap_or_default(), spec(claim));
    let same = |a: &Option<String>, b: &Option<String>, usual: &str| {
        a.as_deref().unwrap_or(usual) == b.as_deref().unwrap_or(usual)
    };
    let modes = offer.access_modes.unwrap_or_default();
    same(&offer.storage_class_name, &wish.storage_class_name, "")
        && same(&offer.volume_mode, &wish.volume_mode, "Filesystem")
        && wish.access_modes.iter().flatten().all(|mode| modes.contains(mode))
        && wish
            .selector
            .as_ref()
            .is_none_or(|selector| labels::selects(selector, volume.metadata.labels.as_ref()))
        && capacity(volume) >= requested(claim)
}

/// The class that claims get which name none: the youngest, should several say so.
fn default_class(classes: &[Arc<StorageClass>]) -> Option<String> {
    let marked = classes.iter().filter(|class| class.annotation(IS_DEFAULT) == Some("true"));
    let youngest = marked.max_by_key(|class| {
        let created = class.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, std::cmp::Reverse(name_of(&***class).to_owned()))
    });
    youngest.map(|class| name_of(&**class).to_owned())
}

/// Reconciles one claim.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(claim) = ctx.claims.get(&key) else { return Ok(Requeue::WhenChanged) };
    let class = spec(&claim).storage_class_name.filter(|name| !name.is_empty());
    let class = class.and_then(|name| ctx.classes.get(&ObjectKey::cluster(name)));
    let default = default_class(&ctx.classes.list());
    let step = plan(&claim, &ctx.volumes.list(), class.as_ref(), default.as_deref());
    let mut written = (*claim).clone();
    match step {
        Step::Leave => {}
        Step::GiveClass(name) => {
            written.spec.get_or_insert_default().storage_class_name = Some(name);
            replace(&ctx, written).await?;
        }
        Step::Bind(volume) => bind(&ctx, &claim, &volume).await?,
        Step::Provision(class) => provision(&ctx, &claim, &class).await?,
        Step::Lose => {
            let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            ctx.events.record(&*claim, Level::Warning, "ClaimLost", message);
            write_status(&ctx, written, "Lost", None).await?;
        }
        Step::Wait(reason, message) => {
            ctx.events.record(&*claim, Level::Normal, reason, message);
            write_status(&ctx, written, "Pending", None).await?;
        }
        Step::Delegate(provisioner) => {
            let message = format!(
                "Waiting for a volume to be created either by the external \
                provisioner '{provisioner}' or manually by the system administrator."
            );
            ctx.events.record(&*claim, Level::Normal, "ExternalProvisioning", message);
            let annotations = written.metadata.annotations.get_or_insert_default();
            annotations.insert(PROVISIONER.to_owned(), provisioner.clone());
            annotations.insert(BETA_PROVISIONER.to_owned(), provisioner);
            if written.metadata.annotations != claim.metadata.annotations {
                replace(&ctx, written).await?;
            }
        }
    }
    Ok(Requeue::WhenChanged)
}

async fn replace(
    ctx: &Context,
    claim: PersistentVolumeClaim,
) -> Result<PersistentVolumeClaim, ReconcileError> {
    let written = Change::Replace(Box::new(claim)).apply(&ctx.client).await?.unwrap_or_default();
    ctx.claims.caught_up(&written).await?;
    Ok(written)
}

async fn write_status(
    ctx: &Context,
    mut claim: PersistentVolumeClaim,
    phase: &str,
    volume: Option<&PersistentVolume>,
) -> Result<(), ReconcileError> {
    let before = claim.status.clone();
    let offer = volume.and_then(|volume| volume.spec.clone()).unwrap_or_default();
    let old = claim.status.take().unwrap_or_default();
    claim.status = Some(PersistentVolumeClaimStatus {
        phase: Some(phase.to_owned()),
        access_modes: offer.access_modes,
        capacity: offer.capacity,
        ..old
    });
    if claim.status == before {
        return Ok(());
    }
    match Change::ReplaceStatus(Box::new(claim)).apply(&ctx.client).await {
        Err(gone) if gone.error.is_not_found() => Ok(()),
        answer => Ok(ctx.claims.caught_up(&answer?.unwrap_or_default()).await?),
    }
}

/// Binds both sides: the volume first, so that nobody else takes it.
async fn bind(
    ctx: &Context,
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> Result<(), ReconcileError> {
    let api: Api<PersistentVolume> = Api::all(ctx.client.clone());
    let mut taken = volume.clone();
    let by_us = claim_of(volume).is_none();
    let reference = taken.spec.get_or_insert_default().claim_ref.get_or_insert_default();
    *reference = ObjectReference {
        kind: Some("PersistentVolumeClaim".to_owned()),
        api_version: Some("v1".to_owned()),
        namespace: claim.metadata.namespace.clone(),
        name: claim.metadata.name.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        ..ObjectReference::default()
    };
    if claim_of(volume).and_then(|(_, uid)| uid) != Some(claim.uid_str()) {
        if by_us {
            let annotations = taken.metadata.annotations.get_or_insert_default();
            annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
        }
        taken = api.replace(name_of(volume), &PostParams::default(), &taken).await?;
        ctx.volumes.caught_up(&taken).await?;
    }
    let mut bound = claim.clone();
    let annotations = bound.metadata.annotations.get_or_insert_default();
    annotations.insert(BIND_COMPLETED.to_owned(), "yes".to_owned());
    if volume_of(claim).is_none() {
        annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
    }
    bound.spec.get_or_insert_default().volume_name = volume.metadata.name.clone();
    if bound != *claim {
        bound = replace(ctx, bound).await?;
    }
    write_status(ctx, bound, "Bound", Some(&taken)).await
}

async fn provision(
    ctx: &Context,
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
) -> Result<(), ReconcileError> {
    let made = ctx.host_path.make(claim, class, &ctx.nodes.list()).await;
    let volume = match made {
        Ok(volume) => volume,
        Err(error) => {
            ctx.events.record(claim, Level::Warning, "ProvisioningFailed", error.to_string());
            return Err(ReconcileError::Other(error.to_string()));
        }
    };
    let api: Api<PersistentVolume> = Api::all(ctx.client.clone());
    match api.create(&PostParams::default(), &volume).await {
        Err(error) if error.is_already_exists() => {}
        answer => ctx.volumes.caught_up(&answer?).await?,
    }
    let message = format!("Successfully provisioned volume {}", name_of(&volume));
    ctx.events.record(claim, Level::Normal, "ProvisioningSucceeded", message);
    Ok(()) // The volume is kept for this claim: seeing it binds them.
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn claim(extra: Value) -> PersistentVolumeClaim {
        let mut spec = json!({ "accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
            "resources": { "requests": { "storage": "2Gi" } } });
        for (name, value) in extra.as_object().expect("an object") {
            spec[name] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": { "name": "data", "namespace": "default", "uid": "c",
                          "annotations": extra["annotations"] },
            "spec": spec,
        }))
        .expect("a claim")
    }

    fn volume(name: &str, size: &str, extra: &Value) -> Arc<PersistentVolume> {
        let mut spec = json!({ "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
            "storageClassName": "manual", "capacity": { "storage": size } });
        for (name, value) in extra.as_object().expect("an object") {
            spec[name] = value.clone();
        }
        let volume = json!({ "metadata": { "name": name }, "spec": spec });
        Arc::new(serde_json::from_value(volume).expect("a volume"))
    }

    fn class(name: &str, provisioner: &str, mode: &str) -> Arc<StorageClass> {
        let class = json!({ "metadata": { "name": name }, "provisioner": provisioner,
            "volumeBindingMode": mode });
        Arc::new(serde_json::from_value(class).expect("a class"))
    }

    fn check(
        claim: &PersistentVolumeClaim,
        volumes: &[Arc<PersistentVolume>],
        class: Option<&Arc<StorageClass>>,
        expected: &Expect,
    ) {
        let text = match plan(claim, volumes, class, Some("standard")) {
            Step::Leave => "leave".to_owned(),
            Step::GiveClass(name) => format!("class {name}"),
            Step::Bind(volume) => format!("bind {}", name_of(&*volume)),
            Step::Provision(class) => format!("provision {}", name_of(&*class)),
            Step::Lose => "lost".to_owned(),
            Step::Wait(reason, message) => format!("{reason}: {message}"),
            Step::Delegate(name) => format!("delegate to {name}"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn the_smallest_that_fits() {
        let volumes = [
            volume("small", "1Gi", &json!({})),
            volume("large", "10Gi", &json!({})),
            volume("right", "2Gi", &json!({})),
            volume("other", "2Gi", &json!({ "storageClassName": "fast" })),
        ];
        check(&claim(json!({})), &volumes, None, &expect!["bind right"]);
        check(
            &claim(json!({ "accessModes": ["ReadWriteMany"] })),
            &volumes,
            None,
            &expect![[r#"FailedBinding: storageclass.storage.k8s.io "manual" not found"#]],
        );
        let asks = json!({ "volumeName": "large" });
        check(&claim(asks), &volumes, None, &expect!["bind large"]);
        let kept = volume(
            "kept",
            "1Gi",
            &json!({ "claimRef": {
            "namespace": "default", "name": "data" } }),
        );
        check(&claim(json!({})), &[kept], None, &expect!["bind kept"]);
    }

    #[test]
    fn classes() {
        let plain = claim(json!({}));
        let ours = class("standard", host_path::PROVISIONER_NAME, "Immediate");
        check(&plain, &[], Some(&ours), &expect!["provision standard"]);
        let late = class("late", host_path::PROVISIONER_NAME, "WaitForFirstConsumer");
        check(
            &plain,
            &[],
            Some(&late),
            &expect![[
                r#"WaitForFirstConsumer: waiting for first consumer to be created before binding"#
            ]],
        );
        let chosen = claim(json!({ "annotations": { SELECTED_NODE: "n1" } }));
        check(&chosen, &[], Some(&late), &expect!["provision late"]);
        let theirs = class("csi", "csi.example.com", "Immediate");
        check(&plain, &[], Some(&theirs), &expect!["delegate to csi.example.com"]);
        check(&claim(json!({ "storageClassName": null })), &[], None, &expect!["class standard"]);
        check(
            &claim(json!({ "storageClassName": "" })),
            &[],
            None,
            &expect![[
                "FailedBinding: no persistent volumes available for this claim and no storage class is set"
            ]],
        );
    }

    #[test]
    fn bound_and_lost() {
        let bound = claim(json!({ "volumeName": "pv", "annotations": { BIND_COMPLETED: "yes" } }));
        check(&bound, &[], None, &expect!["lost"]);
        let taken = volume(
            "pv",
            "2Gi",
            &json!({ "claimRef": {
            "namespace": "default", "name": "data", "uid": "another" } }),
        );
        check(&bound, std::slice::from_ref(&taken), None, &expect!["lost"]);
        let asks = claim(json!({ "volumeName": "pv" }));
        check(
            &asks,
            &[taken],
            None,
            &expect![[r#"FailedBinding: volume "pv" already bound to a different claim."#]],
        );
    }
}
