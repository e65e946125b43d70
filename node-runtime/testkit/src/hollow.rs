//! A node that is not there: says it is ready, and plays the pods that are put on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use minik_reconcile::{
    Cache, KeyOf, ObjectKey, ReconcileError, Requeue, Selection, WorkQueue, run,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(10);

/// What becomes of a pod, by the image of its first container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// It runs and is ready.
    Ready,
    /// It runs and never becomes ready.
    NotReady,
    /// It ends with this exit code.
    Ends(i32),
}

impl Play {
    /// `bad…` never becomes ready, `done…` ends well, `fail…` does not; all else runs.
    fn of(image: &str) -> Play {
        match image {
            image if image.starts_with("bad") => Play::NotReady,
            image if image.starts_with("done") => Play::Ends(0),
            image if image.starts_with("fail") => Play::Ends(1),
            _ => Play::Ready,
        }
    }
}

/// A stand-in for a machine. Dropping it makes the node fall silent.
pub struct HollowNode {
    /// Name of the node.
    pub name: String,
    stop: CancellationToken,
}

impl Drop for HollowNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Clone)]
struct Context {
    client: Client,
    pods: Cache<Pod>,
    node: Arc<str>,
    addresses: Arc<Mutex<u32>>,
}

impl HollowNode {
    pub(crate) fn start(name: &str, client: Client, stop: &CancellationToken) -> HollowNode {
        let stop = stop.child_token();
        let on_it = Selection::all().fields(format!("spec.nodeName={name}"));
        let api: Api<Pod> = Api::all(client.clone());
        let pods = Cache::start(api, "Pod", &on_it, stop.clone());
        let queue = WorkQueue::new();
        let wake = queue.clone();
        pods.on_change(move |seen| wake.add(seen.object().key()));
        let context = Context {
            client: client.clone(),
            pods,
            node: Arc::from(name),
            addresses: Arc::default(),
        };
        tokio::spawn(run("hollow node", queue, 8, stop.clone(), move |key| {
            play(context.clone(), key)
        }));
        tokio::spawn(beat(name.to_owned(), client, stop.clone()));
        HollowNode { name: name.to_owned(), stop }
    }

    /// Falls silent: no more heartbeats, pods are left as they are.
    pub fn silence(&self) {
        self.stop.cancel();
    }
}

/// Registers the node, then renews its lease until told to stop.
async fn beat(name: String, client: Client, stop: CancellationToken) {
    let work = async {
        loop {
            match register(&name, &client).await {
                Ok(()) => break,
                Err(error) => tracing::warn!(%error, name, "the node is not registered yet"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        loop {
            if let Err(error) = renew(&name, &client).await {
                tracing::warn!(%error, name, "the lease is not renewed");
            }
            tokio::time::sleep(RENEWAL).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

async fn register(name: &str, client: &Client) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let node: Node = parsed(json!({
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
        "spec": {},
    }));
    match nodes.create(&PostParams::default(), &node).await {
        Err(error) if error.is_already_exists() => {}
        answer => drop(answer?),
    }
    let now = Time(Timestamp::now());
    let condition = |kind: &str, status: &str| {
        json!({ "type": kind, "status": status, "reason": "Hollow", "message": "",
                "lastHeartbeatTime": now, "lastTransitionTime": now })
    };
    let room = json!({ "cpu": "4", "memory": "8Gi", "pods": "100", "ephemeral-storage": "50Gi" });
    let status = json!({ "status": {
        "capacity": room, "allocatable": room,
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" },
                      { "type": "Hostname", "address": name }],
        "conditions": [condition("Ready", "True"), condition("MemoryPressure", "False"),
            condition("DiskPressure", "False"), condition("PIDPressure", "False")],
    }});
    nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(&status)).await?;
    Ok(())
}

async fn renew(name: &str, client: &Client) -> Result<(), kube::Error> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let spec = LeaseSpec {
        holder_identity: Some(name.to_owned()),
        lease_duration_seconds: Some(40),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let fields = json!({ "spec": spec });
    let renewed = leases.patch(name, &PatchParams::default(), &Patch::Merge(&fields)).await;
    match renewed {
        Err(error) if error.is_not_found() => {
            let meta = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata: meta, spec: Some(spec) };
            leases.create(&PostParams::default(), &lease).await.map(|_| ())
        }
        answer => answer.map(|_| ()),
    }
}

/// Brings one pod a step further.
async fn play(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(pod) = ctx.pods.get(&key) else { return Ok(Requeue::WhenChanged) };
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &key.namespace);
    if pod.is_terminating() {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let gone = api.delete(&key.name, &now).await;
        return match gone {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Requeue::WhenChanged),
        };
    }
    let played = pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
    if played {
        return Ok(Requeue::WhenChanged);
    }
    let status = json!({ "status": status_of(&pod, &ctx.next_address()) });
    let patch = Patch::Strategic(&status);
    match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
        Err(error) if error.is_not_found() => Ok(Requeue::WhenChanged),
        answer => {
            ctx.pods.caught_up(&answer?).await?;
            Ok(Requeue::WhenChanged)
        }
    }
}

impl Context {
    fn next_address(&self) -> String {
        let mut last = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        let node = self.node.bytes().fold(0_u8, u8::wrapping_add);
        format!("10.244.{node}.{}", *last % 250 + 1)
    }
}

fn status_of(pod: &Pod, address: &str) -> Value {
    let spec = pod.spec.clone().unwrap_or_default();
    let image = spec.containers.first().and_then(|one| one.image.clone()).unwrap_or_default();
    let play = Play::of(&image);
    let now = Time(Timestamp::now());
    let ready = play == Play::Ready;
    let state = match play {
        Play::Ready | Play::NotReady => json!({ "running": { "startedAt": now } }),
        Play::Ends(code) => json!({ "terminated": { "exitCode": code, "startedAt": now,
            "finishedAt": now, "reason": if code == 0 { "Completed" } else { "Error" } } }),
    };
    let containers = spec.containers.iter().map(|container| {
        json!({ "name": container.name, "image": container.image, "imageID": "sha256:0",
            "ready": ready, "restartCount": 0, "state": state })
    });
    let phase = match play {
        Play::Ready | Play::NotReady => "Running",
        Play::Ends(0) => "Succeeded",
        Play::Ends(_) => "Failed",
    };
    let condition = |kind: &str, holds: bool| {
        json!({ "type": kind, "status": if holds { "True" } else { "False" },
                "lastTransitionTime": now })
    };
    json!({
        "phase": phase,
        "podIP": address,
        "podIPs": [{ "ip": address }],
        "hostIP": "127.0.0.1",
        "startTime": now,
        "conditions": [condition("Initialized", true), condition("Ready", ready),
            condition("ContainersReady", ready), condition("PodScheduled", true)],
        "containerStatuses": containers.collect::<Vec<_>>(),
    })
}

fn parsed<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("the literal above is an object of this kind")
}
