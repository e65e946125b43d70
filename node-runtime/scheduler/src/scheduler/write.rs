//! What the scheduler writes: bindings, conditions, evictions.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Binding, ObjectReference, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client};
use minik_client::{ApiErrorExt, EventRecorder, Level, said};
use minik_reconcile::{Cache, KeyOf};
use serde_json::{Value, json};
use tracing::warn;

use crate::cluster::PodFacts;
use crate::preempt::Eviction;
use crate::volumes::{Demands, SELECTED_NODE};

/// How long a volume may take to be made for the chosen node.
const VOLUMES_MAX: Duration = Duration::from_secs(600);

/// Why a pod was not bound.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    #[error("{}", said(.0))]
    Api(#[from] kube::Error),

    #[error("binding volumes: {claims} unbound after {waited:?}")]
    Volumes { claims: String, waited: Duration },
}

fn pods(client: &Client, pod: &PodFacts) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.key.namespace)
}

/// Binds the pod to the node.
pub(super) async fn bind(client: &Client, pod: &PodFacts, node: &str) -> Result<(), BindError> {
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(pod.key.name.clone()),
            namespace: Some(pod.key.namespace.clone()),
            uid: pod.pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let post = PostParams::default();
    let bound: Result<Status, kube::Error> =
        pods(client, pod).create_subresource("binding", &pod.key.name, &post, &binding).await;
    match bound {
        Err(error) if error.is_not_found() => Ok(()), // Deleted meanwhile.
        answer => Ok(answer.map(|_| ())?),
    }
}

/// Names the node on the claims that wait for one, and waits until they are bound.
pub(super) async fn claim_volumes(
    client: &Client,
    claims: &Cache<PersistentVolumeClaim>,
    demands: &Demands,
    node: &str,
) -> Result<(), BindError> {
    for key in &demands.waiting {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &key.namespace);
        let fields = json!({ "metadata": { "annotations": { SELECTED_NODE: node } } });
        api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&fields)).await?;
    }
    if demands.waiting.is_empty() {
        return Ok(());
    }
    let mut changes = claims.changes();
    let all_bound = async {
        loop {
            let bound = demands.waiting.iter().all(|key| {
                let claim = claims.get(key);
                claim.is_some_and(|claim| {
                    claim.status.as_ref().and_then(|status| status.phase.as_deref())
                        == Some("Bound")
                })
            });
            if bound || !changes.changed().await {
                return;
            }
        }
    };
    tokio::time::timeout(VOLUMES_MAX, all_bound).await.map_err(|_| {
        let names: Vec<String> = demands.waiting.iter().map(ToString::to_string).collect();
        BindError::Volumes { claims: names.join(", "), waited: VOLUMES_MAX }
    })
}

/// Says in the status of the pod why it has no node, and which one it may get.
pub(super) async fn unschedulable(
    client: &Client,
    pod: &PodFacts,
    message: &str,
    nominated: Option<&str>,
) -> Result<(), kube::Error> {
    let before = pod.pod.status.as_ref().and_then(|status| {
        status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled")
    });
    let told = before.is_some_and(|before| {
        before.status == "False"
            && before.reason.as_deref() == Some("Unschedulable")
            && before.message.as_deref() == Some(message)
    });
    if told && nominated.is_none() {
        return Ok(());
    }
    let since = before.filter(|before| before.status == "False");
    let since = since.and_then(|before| before.last_transition_time.clone());
    let mut status = json!({ "conditions": [{
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "observedGeneration": pod.pod.metadata.generation,
        "lastTransitionTime": since.unwrap_or(Time(Timestamp::now())),
    }]});
    if let Some(node) = nominated {
        status["nominatedNodeName"] = Value::from(node);
    }
    patch_status(client, pod, status).await
}

async fn patch_status(client: &Client, pod: &PodFacts, status: Value) -> Result<(), kube::Error> {
    let fields = json!({ "metadata": { "uid": pod.pod.metadata.uid }, "status": status });
    let api = pods(client, pod);
    let patch = Patch::Strategic(&fields);
    match api.patch_status(&pod.key.name, &PatchParams::default(), &patch).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => answer.map(|_| ()),
    }
}

/// Sends the victims away. One that cannot be sent away is noticed by the next try.
pub(super) async fn evict(
    client: &Client,
    events: &EventRecorder,
    pod: &PodFacts,
    eviction: &Eviction,
) {
    for victim in eviction.victims.iter().filter(|victim| !victim.pod.is_terminating()) {
        if let Err(error) = evict_one(client, victim).await {
            warn!(pod = %victim.key, error = said(&error), "a less important pod was not sent away");
            continue;
        }
        let uid = pod.pod.uid_str();
        let message = format!("Preempted by pod {uid} on node {}", eviction.node);
        events.record(&*victim.pod, Level::Normal, "Preempted", message);
    }
}

async fn evict_one(client: &Client, victim: &PodFacts) -> Result<(), kube::Error> {
    let condition = json!({ "conditions": [{
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": "default-scheduler: preempting to accommodate a higher priority pod",
        "lastTransitionTime": Time(Timestamp::now()),
    }]});
    patch_status(client, victim, condition).await?;
    let how = DeleteParams {
        preconditions: Some(Preconditions {
            uid: victim.pod.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match pods(client, victim).delete(&victim.key.name, &how).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => answer.map(|_| ()),
    }
}
