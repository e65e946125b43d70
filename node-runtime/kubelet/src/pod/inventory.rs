//! What the runtime has, by pod: how a kubelet finds again what runs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use minik_cri::{Runtime, RuntimeError, v1};

use crate::spec::names;

/// Everything of one pod, newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Belongings {
    pub(crate) sandboxes: Vec<v1::PodSandbox>,
    pub(crate) containers: Vec<v1::Container>,
}

/// One listing of the runtime.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pods: HashMap<String, Belongings>,
}

impl Inventory {
    /// Lists the runtime. Containers that no kubelet made are left out.
    pub(crate) async fn take(runtime: &Arc<dyn Runtime>) -> Result<Self, RuntimeError> {
        let mut pods: HashMap<String, Belongings> = HashMap::new();
        for sandbox in runtime.sandboxes().await? {
            if let Some(uid) = sandbox.labels.get(names::POD_UID) {
                pods.entry(uid.clone()).or_default().sandboxes.push(sandbox);
            }
        }
        for container in runtime.containers().await? {
            if let Some(uid) = container.labels.get(names::POD_UID) {
                pods.entry(uid.clone()).or_default().containers.push(container);
            }
        }
        for belongings in pods.values_mut() {
            belongings.sandboxes.sort_by_key(|it| std::cmp::Reverse(it.created_at));
            belongings.containers.sort_by_key(|it| std::cmp::Reverse(it.created_at));
        }
        Ok(Self { pods })
    }

    /// What belongs to a pod.
    pub(crate) fn of(&self, uid: &str) -> Belongings {
        self.pods.get(uid).cloned().unwrap_or_default()
    }

    /// Pods that are in the runtime.
    pub(crate) fn uids(&self) -> HashSet<String> {
        self.pods.keys().cloned().collect()
    }
}

/// Removes sandboxes and containers, whatever they do. Everything is tried; the first failure is
/// returned.
pub(crate) async fn remove(
    runtime: &Arc<dyn Runtime>,
    belongings: &Belongings,
) -> Result<(), RuntimeError> {
    let mut result = Ok(());
    for sandbox in &belongings.sandboxes {
        let done = async {
            runtime.stop_sandbox(&sandbox.id).await?;
            runtime.remove_sandbox(&sandbox.id).await
        };
        result = result.and(done.await);
    }
    let sandboxes: HashSet<&String> = belongings.sandboxes.iter().map(|it| &it.id).collect();
    for container in &belongings.containers {
        if !sandboxes.contains(&container.pod_sandbox_id) {
            result = result.and(runtime.remove_container(&container.id).await);
        }
    }
    result
}
