//! The Node object: registered once, then kept true; the lease says every ten seconds that the
//! node lives.

mod cni;
pub(crate) mod facts;
mod lease;
mod object;
mod pressure;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use k8s_openapi::serde_json::{Value, json, to_value};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use minik_client::ApiErrorExt;
use minik_cri::v1;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::shared::Shared;
use facts::Machine;
use object::Health;

/// How often the lease is renewed and the machine looked at.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A status without news is written this often.
const STATUS_AT_LEAST: Duration = Duration::from_secs(300);
/// Images may also be built or loaded: a list is not believed for longer.
const IMAGES_KNOWN_FOR: Duration = Duration::from_secs(60);
/// Waits between tries to register.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(7);
/// The runtime reads a new CNI configuration within this time, as long as it does at all.
const NETWORK_DEADLINE: Duration = Duration::from_secs(10);

/// Registers the node, retrying until the API takes it.
pub(crate) async fn register(shared: &Shared, machine: &Machine) -> Node {
    let nodes: Api<Node> = Api::all(shared.client.clone());
    let mut retry = FIRST_RETRY;
    loop {
        match try_register(&nodes, shared, machine).await {
            Ok(node) => {
                info!(node = shared.config.node_name, "registered");
                return node;
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "node not registered yet");
            }
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(LONGEST_RETRY);
    }
}

async fn try_register(
    nodes: &Api<Node>,
    shared: &Shared,
    machine: &Machine,
) -> Result<Node, kube::Error> {
    let wanted = object::new_node(&shared.config, machine);
    match nodes.create(&PostParams::default(), &wanted).await {
        Ok(node) => Ok(node),
        Err(error) if error.is_already_exists() => {
            // Somebody's labels and taints on the object stay; ours are put right.
            let patch = json!({"metadata": {
                "labels": wanted.metadata.labels, "annotations": wanted.metadata.annotations,
            }});
            let name = &shared.config.node_name;
            nodes.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await
        }
        Err(error) => Err(error),
    }
}

/// Keeps the node's status and lease until told to stop.
pub(crate) async fn keep(
    shared: Arc<Shared>,
    machine: Machine,
    node: Node,
    drain: CancellationToken,
) {
    let mut keeper = Keeper {
        nodes: Api::all(shared.client.clone()),
        lease: lease::Lease::new(&shared),
        has_network: false,
        written: None,
        images: None,
        node,
        machine,
        shared,
    };
    let stream = watcher::watch_object(keeper.nodes.clone(), &keeper.shared.config.node_name);
    let stream = stream.default_backoff();
    pin_mut!(stream);
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    keeper.set_up_network().await;
    loop {
        keeper.write_status().await;
        tokio::select! {
            _ = heartbeat.tick() => keeper.lease.renew(&keeper.node).await,
            () = keeper.shared.images.changed() => keeper.images = None,
            Some(said) = stream.next() => match said {
                Ok(Some(node)) => keeper.take(node).await,
                Ok(None) => keeper.node = register(&keeper.shared, &keeper.machine).await,
                Err(error) => debug!(%error, "watch of the own node broke"),
            },
            () = drain.cancelled() => return,
        }
    }
}

struct Keeper {
    shared: Arc<Shared>,
    machine: Machine,
    nodes: Api<Node>,
    node: Node,
    lease: lease::Lease,
    /// The pod network is configured.
    has_network: bool,
    /// The status as it was written last, and when.
    written: Option<(NodeStatus, Instant)>,
    /// The node's images, and when they were listed.
    images: Option<(Vec<v1::Image>, Instant)>,
}

impl Keeper {
    async fn take(&mut self, node: Node) {
        let cidr = |node: &Node| node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone());
        let is_news = cidr(&node) != cidr(&self.node);
        self.node = node;
        if is_news || !self.has_network {
            self.set_up_network().await;
        }
    }

    /// Writes the CNI configuration once the node has its part of the pod network, and waits for
    /// the runtime to read it.
    async fn set_up_network(&mut self) {
        let Some(cidr) = self.node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone()) else {
            return;
        };
        match cni::write(&self.shared.config.paths, &cidr) {
            Ok(_) => self.has_network = true,
            Err(error) => return warn!(%error, "pod network not configured"),
        }
        let deadline = Instant::now() + NETWORK_DEADLINE;
        let mut wait = Duration::from_millis(10);
        while Instant::now() < deadline {
            let conditions = self.runtime_conditions().await;
            if conditions.is_ok_and(|all| is_true(&all, "NetworkReady")) {
                info!(cidr, "pod network is ready");
                return;
            }
            // The runtime has no event for this.
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(500));
        }
        warn!(cidr, "the runtime does not take the pod network's configuration");
    }

    async fn runtime_conditions(&self) -> Result<Vec<v1::RuntimeCondition>, String> {
        let status = self.shared.runtime.status().await;
        status.map(|status| status.conditions).map_err(|error| error.to_string())
    }

    async fn health(&self) -> Health {
        let not_ready = match self.runtime_conditions().await {
            Err(message) => Some(format!("container runtime is down: {message}")),
            Ok(all) if !is_true(&all, "RuntimeReady") => Some(reason(&all, "RuntimeReady")),
            Ok(_) if !self.has_network => {
                Some("container runtime network not ready: the node has no pod CIDR yet".into())
            }
            Ok(all) if !is_true(&all, "NetworkReady") => Some(format!(
                "container runtime network not ready: {}",
                reason(&all, "NetworkReady")
            )),
            Ok(_) => None,
        };
        let config = &self.shared.config;
        let pressure = pressure::measure(&config.paths.root, &config.eviction_hard);
        Health { not_ready, pressure }
    }

    /// The node's images: listed anew after a pull, and now and then for those that come by
    /// other ways.
    async fn images(&mut self) -> Vec<v1::Image> {
        let known = self.images.take().filter(|(_, at)| at.elapsed() < IMAGES_KNOWN_FOR);
        let (images, at) = match known {
            Some(known) => known,
            None => (self.shared.runtime.images().await.unwrap_or_default(), Instant::now()),
        };
        self.images = Some((images.clone(), at));
        images
    }

    /// Writes the status if it is news, or has not been written for long.
    async fn write_status(&mut self) {
        let health = self.health().await;
        let images = self.images().await;
        let old = self.node.status.clone().unwrap_or_default();
        let status = object::status(&self.shared.config, &self.machine, &health, &images, &old);
        if let Some((written, at)) = &self.written
            && at.elapsed() < STATUS_AT_LEAST
            && object::is_same(written, &status)
        {
            return;
        }
        let patch = Patch::Merge(json!({"status": status_fields(&status)}));
        let name = &self.shared.config.node_name;
        match self.nodes.patch_status(name, &PatchParams::default(), &patch).await {
            Ok(node) => {
                self.node = node;
                self.written = Some((status, Instant::now()));
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "node status not written");
            }
        }
    }
}

fn status_fields(status: &NodeStatus) -> Value {
    to_value(status).unwrap_or_default()
}

fn is_true(conditions: &[v1::RuntimeCondition], kind: &str) -> bool {
    conditions.iter().any(|condition| condition.r#type == kind && condition.status)
}

fn reason(conditions: &[v1::RuntimeCondition], kind: &str) -> String {
    let found = conditions.iter().find(|condition| condition.r#type == kind);
    found.map_or_else(
        || format!("missing condition {kind}"),
        |condition| {
            format!("{kind}=false reason:{} message:{}", condition.reason, condition.message)
        },
    )
}
