//! Keeps the picture of the cluster and the queue in step with the API.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Namespace, Node, Pod};
use kube::{Api, Client};
use minik_reconcile::{Cache, Caches, KeyOf, Seen, Selection};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{NAME, Scheduler};
use crate::cluster::{is_finished, node_of};
use crate::filter::Wakes;

/// All pods, without what no decision depends on.
pub(super) fn pods(client: &Client, stop: &CancellationToken) -> Cache<Pod> {
    let api = Api::<Pod>::all(client.clone());
    Cache::start_trimmed(api, "Pod", &Selection::all(), stop.clone(), trim)
}

/// Containers make up most of a pod; the scheduler reads name, image, ports and requests.
fn trim(pod: &mut Pod) {
    if let Some(spec) = &mut pod.spec {
        spec.containers.iter_mut().for_each(trim_container);
        spec.init_containers.iter_mut().flatten().for_each(trim_container);
        spec.ephemeral_containers = None;
    }
    if let Some(status) = &mut pod.status {
        status.container_statuses = None;
        status.init_container_statuses = None;
        status.ephemeral_container_statuses = None;
    }
}

fn trim_container(container: &mut Container) {
    *container = Container {
        name: std::mem::take(&mut container.name),
        image: container.image.take(),
        ports: container.ports.take(),
        resources: container.resources.take(),
        restart_policy: container.restart_policy.take(),
        ..Container::default()
    };
}

/// Whether this scheduler is to find a node for the pod.
pub(super) fn wants_node(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name == NAME);
    ours && !gated && node_of(pod).is_none() && !pod.is_terminating() && !is_finished(pod)
}

/// Hooks the scheduler to its caches.
pub(super) fn follow(scheduler: &Arc<Scheduler>, caches: &Caches) {
    let us = scheduler.clone();
    caches.watch::<Namespace>().on_change(move |seen| {
        if let Seen::Applied { new, .. } = seen {
            us.cluster().set_namespace(new);
        }
    });
    let us = scheduler.clone();
    caches.watch::<Node>().on_change(move |seen| match seen {
        Seen::Applied { old, new } => {
            us.cluster().set_node(Arc::clone(new));
            if old.is_none_or(|old| could_help(old, new)) {
                us.queue.event(Wakes::NODE);
            }
        }
        Seen::Deleted { last } => us.cluster().remove_node(&last.key().name),
    });
    let us = scheduler.clone();
    scheduler.pods.on_change(move |seen| us.see_pod(seen));

    let us = scheduler.clone();
    scheduler.volumes.claims.on_change(move |_| us.queue.event(Wakes::NODE));
    let us = scheduler.clone();
    scheduler.volumes.volumes.on_change(move |_| us.queue.event(Wakes::NODE));
    let us = scheduler.clone();
    scheduler.volumes.classes.on_change(move |_| us.queue.event(Wakes::NODE));
}

/// Whether the change of a node could let a pod in. Heartbeats cannot.
fn could_help(old: &Node, new: &Node) -> bool {
    let room = |node: &Node| node.status.as_ref().map(|status| status.allocatable.clone());
    old.spec != new.spec || old.metadata.labels != new.metadata.labels || room(old) != room(new)
}

impl Scheduler {
    fn see_pod(&self, seen: &Seen<'_, Pod>) {
        let pod = seen.object();
        let key = pod.key();
        match seen {
            Seen::Deleted { .. } => {
                self.cluster().remove_pod(&key);
                self.queue.remove(&key);
                self.queue.event(Wakes { pod_gone: true, ..Wakes::default() });
            }
            Seen::Applied { old, new } => {
                self.cluster().set_pod(new);
                if wants_node(new) {
                    if old.is_none_or(|old| asks_otherwise(old, new)) {
                        let priority = new.spec.as_ref().and_then(|spec| spec.priority);
                        let created = new.metadata.creation_timestamp.as_ref();
                        let created = created.map(|time| time.0);
                        self.queue.add(key, priority.unwrap_or(0), created);
                    }
                    return;
                }
                let was_waiting = old.is_some_and(|old| wants_node(old));
                if was_waiting {
                    self.queue.remove(&key);
                }
                let finished = is_finished(new) && old.is_none_or(|old| !is_finished(old));
                let came = node_of(new).is_some()
                    && old.is_none_or(|old| {
                        node_of(old).is_none() || old.metadata.labels != new.metadata.labels
                    });
                if finished || came {
                    let wakes = Wakes { node: false, pod_gone: finished, pod_came: came };
                    self.queue.event(wakes);
                }
            }
        }
    }
}

/// Whether a waiting pod now asks for something else than before; its status does not matter.
fn asks_otherwise(old: &Pod, new: &Pod) -> bool {
    !wants_node(old) || old.spec != new.spec || old.metadata.labels != new.metadata.labels
}

/// Decisions made from half a list would put pods on full nodes.
pub(super) async fn wait_for_first_lists(caches: &Caches, pods: &Cache<Pod>, patience: Duration) {
    pods.synced().await;
    while let Err(missing) = caches.synced(patience).await {
        warn!(%missing, "the scheduler waits for its caches");
    }
}
