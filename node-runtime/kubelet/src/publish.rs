//! Writes a pod's status to the API: only what changed, the newest first of all, until it is
//! written. Each pod has one task that does this, so that a slow API holds nothing else up.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use k8s_openapi::serde_json::{Map, Value, json, to_value};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::object;

/// Conditions that the kubelet decides; others on the pod belong to somebody else and stay.
const OWN_CONDITIONS: &[&str] =
    &["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// What the API should say.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wanted {
    status: Option<PodStatus>,
    /// After the status is written, the pod is over: remove the object.
    remove: bool,
    /// The pod as the watch saw it last.
    seen: Option<Arc<Pod>>,
}

/// The writing end of one pod's publisher.
pub(crate) struct Publisher {
    wanted: watch::Sender<Wanted>,
    _task: AbortOnDropHandle<()>,
}

impl Publisher {
    pub(crate) fn start(client: Client, pod: Arc<Pod>) -> Self {
        let wanted = watch::Sender::new(Wanted::default());
        let receiver = wanted.subscribe();
        let task = tokio::spawn(run(client, pod, receiver));
        Self { wanted, _task: AbortOnDropHandle::new(task) }
    }

    /// Says what the status is now.
    pub(crate) fn status(&self, status: PodStatus) {
        self.wanted.send_if_modified(|wanted| {
            let changed = wanted.status.as_ref() != Some(&status);
            wanted.status = Some(status);
            changed
        });
    }

    /// Says that the object is to be removed once the status is written.
    pub(crate) fn remove(&self) {
        self.wanted.send_if_modified(|wanted| !std::mem::replace(&mut wanted.remove, true));
    }

    /// Tells what the watch saw: the next write starts from there. By itself no reason to write.
    pub(crate) fn seen(&self, pod: Arc<Pod>) {
        self.wanted.send_if_modified(|wanted| {
            wanted.seen = Some(pod);
            false
        });
    }
}

/// Why nothing more can be written.
enum Outcome {
    Written,
    /// The pod is gone, or its name belongs to another one.
    Gone,
}

async fn run(client: Client, pod: Arc<Pod>, mut wanted: watch::Receiver<Wanted>) {
    let pods: Api<Pod> = Api::namespaced(client, object::namespace(&pod));
    let mut base = (*pod).clone();
    let mut retry = FIRST_RETRY;
    while wanted.changed().await.is_ok() {
        loop {
            let now = wanted.borrow_and_update().clone();
            if let Some(seen) = now.seen.as_ref().filter(|seen| is_newer(seen, &base)) {
                base = (**seen).clone();
            }
            match write(&pods, &mut base, &now).await {
                Ok(Outcome::Written) => {
                    retry = FIRST_RETRY;
                    break;
                }
                Ok(Outcome::Gone) => return,
                Err(error) => {
                    let name = object::name(&base);
                    warn!(
                        pod = name,
                        error = &error as &dyn std::error::Error,
                        "status not written"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(retry) => {}
                        changed = wanted.changed() => if changed.is_err() { return },
                    }
                    retry = (retry * 2).min(LONGEST_RETRY);
                }
            }
        }
    }
}

/// Resource versions of one kind can be compared as numbers.
fn is_newer(candidate: &Pod, than: &Pod) -> bool {
    let version = |pod: &Pod| -> Option<u64> {
        pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok())
    };
    version(candidate) > version(than)
}

/// Writes what is wanted; on a conflict, on top of what is there now.
async fn write(pods: &Api<Pod>, base: &mut Pod, wanted: &Wanted) -> Result<Outcome, kube::Error> {
    let name = object::name(base).to_owned();
    let uid = object::uid(base).to_owned();
    if let Some(status) = &wanted.status {
        while let Some(patch) = patch(base, status) {
            let params = PatchParams::default();
            match pods.patch_status(&name, &params, &Patch::Merge(&patch)).await {
                // Whatever the server made of it: writing the same again would change nothing.
                Ok(pod) => {
                    *base = pod;
                    break;
                }
                Err(error) if error.is_not_found() => return Ok(Outcome::Gone),
                Err(error) if error.is_conflict() => match pods.get_opt(&name).await? {
                    Some(pod) if object::uid(&pod) == uid => {
                        // Conflict without a change would go on for ever.
                        if pod.metadata.resource_version == base.metadata.resource_version {
                            return Err(error);
                        }
                        *base = pod;
                    }
                    Some(_) | None => return Ok(Outcome::Gone),
                },
                Err(error) => return Err(error),
            }
        }
    }
    if wanted.remove {
        let uid = Some(uid);
        let params = DeleteParams::default()
            .grace_period(0)
            .preconditions(Preconditions { uid, ..Default::default() });
        match pods.delete(&name, &params).await {
            Ok(_) => debug!(pod = name, "removed from the API"),
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => return Err(error),
        }
        return Ok(Outcome::Gone);
    }
    Ok(Outcome::Written)
}

/// The merge patch that turns the status in `base` into `wanted`; none if it says so already.
fn patch(base: &Pod, wanted: &PodStatus) -> Option<Value> {
    let old = base.status.clone().unwrap_or_default();
    let mut new = wanted.clone();
    new.conditions = Some(merge_conditions(
        old.conditions.as_deref().unwrap_or_default(),
        wanted.conditions.as_deref().unwrap_or_default(),
    ));
    // Written by the scheduler and by those who resize, never by the kubelet.
    new.nominated_node_name.clone_from(&old.nominated_node_name);
    new.resource_claim_statuses.clone_from(&old.resource_claim_statuses);

    let (old, new) = (fields(&old), fields(&new));
    let mut changes = Map::new();
    for (key, value) in &new {
        if old.get(key) != Some(value) {
            changes.insert(key.clone(), value.clone());
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    if changes.is_empty() {
        return None;
    }
    let metadata = json!({
        "uid": base.metadata.uid,
        "resourceVersion": base.metadata.resource_version,
    });
    Some(json!({"metadata": metadata, "status": changes}))
}

fn fields(status: &PodStatus) -> Map<String, Value> {
    match to_value(status) {
        Ok(Value::Object(map)) => map,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// Others' conditions as they are, then our own; a condition whose status stays keeps its time.
fn merge_conditions(old: &[PodCondition], own: &[PodCondition]) -> Vec<PodCondition> {
    let foreign = old.iter().filter(|it| !OWN_CONDITIONS.contains(&it.type_.as_str())).cloned();
    let own = own.iter().map(|condition| {
        let before = old.iter().find(|it| it.type_ == condition.type_);
        let since = before
            .filter(|before| before.status == condition.status)
            .and_then(|before| before.last_transition_time.clone())
            .unwrap_or_else(object::now);
        PodCondition { last_transition_time: Some(since), ..condition.clone() }
    });
    foreign.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use k8s_openapi::serde_json::from_value;

    use super::*;

    fn pod(status: &Value) -> Pod {
        from_value(json!({
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7"}, "status": status
        }))
        .expect("a pod")
    }

    #[test]
    fn only_what_changed_and_others_conditions_stay() {
        let since = "2026-01-01T00:00:00Z";
        let base = pod(&json!({
            "phase": "Pending", "reason": "Old", "podIP": "10.244.0.2",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": since},
                {"type": "Ready", "status": "False", "lastTransitionTime": since},
            ],
        }));
        let wanted: PodStatus = from_value(json!({
            "phase": "Running", "podIP": "10.244.0.2",
            "conditions": [{"type": "Ready", "status": "False"}],
        }))
        .expect("a status");
        let patch = patch(&base, &wanted).expect("a change");
        expect![[r#"{"metadata":{"uid":"u","resourceVersion":"7"},"status":{"phase":"Running","reason":null}}"#]]
            .assert_eq(&patch.to_string());
    }

    #[test]
    fn nothing_to_say() {
        let status = json!({"phase": "Running", "conditions": []});
        let wanted = from_value(status.clone()).expect("a status");
        assert_eq!(patch(&pod(&status), &wanted), None);
    }
}
