//! What the Node object says. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeSpec, NodeStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use minik_cri::v1;

use super::facts::{Machine, architecture};
use super::pressure::Pressure;
use crate::config::Config;
use crate::object;

/// The status names at most this many images.
const IMAGES_MAX: usize = 50;
const DEFAULT_PORT: i32 = 10250;

/// How the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    /// Why pods cannot run, if they cannot.
    pub(super) not_ready: Option<String>,
    pub(super) pressure: Pressure,
}

/// The object as it is registered.
pub(super) fn new_node(config: &Config, machine: &Machine) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels(config)),
            annotations: Some(BTreeMap::from([(
                "volumes.kubernetes.io/controller-managed-attach-detach".into(),
                "true".into(),
            )])),
            ..Default::default()
        },
        spec: Some(NodeSpec {
            taints: (!config.taints.is_empty()).then(|| config.taints.clone()),
            ..Default::default()
        }),
        status: Some(NodeStatus {
            capacity: Some(machine.capacity.clone()),
            allocatable: Some(machine.allocatable.clone()),
            node_info: Some(machine.info.clone()),
            ..Default::default()
        }),
    }
}

fn labels(config: &Config) -> BTreeMap<String, String> {
    let mut labels = config.labels.clone();
    let mut set = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
    set("kubernetes.io/hostname", &config.node_name);
    set("kubernetes.io/os", "linux");
    set("kubernetes.io/arch", architecture());
    set("beta.kubernetes.io/os", "linux");
    set("beta.kubernetes.io/arch", architecture());
    if config.control_plane {
        set("node-role.kubernetes.io/control-plane", "");
    }
    labels
}

/// The status; `old` is what the API says, whose transition times stay.
pub(super) fn status(
    config: &Config,
    machine: &Machine,
    health: &Health,
    images: &[v1::Image],
    old: &NodeStatus,
) -> NodeStatus {
    let address = |kind: &str, address: String| NodeAddress { type_: kind.into(), address };
    let port =
        config.server.as_ref().map_or(DEFAULT_PORT, |server| i32::from(server.listen.port()));
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.node_ip.to_string()),
            address("Hostname", config.node_name.clone()),
        ]),
        capacity: Some(machine.capacity.clone()),
        allocatable: Some(machine.allocatable.clone()),
        node_info: Some(machine.info.clone()),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port }),
        }),
        conditions: Some(conditions(health, old.conditions.as_deref().unwrap_or_default())),
        images: Some(image_list(images)),
        ..Default::default()
    }
}

fn conditions(health: &Health, old: &[NodeCondition]) -> Vec<NodeCondition> {
    const KINDS: &[&str] = &["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
    let now = object::now();
    let condition = |kind: &str, is_true: bool, reason: &str, message: &str| {
        let status = if is_true { "True" } else { "False" };
        let before = old.iter().find(|it| it.type_ == kind && it.status == status);
        let since = before.and_then(|before| before.last_transition_time.clone());
        NodeCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
        }
    };
    let pressure = |kind, is_short: bool, short: [&str; 2], enough: [&str; 2]| {
        let [reason, message] = if is_short { short } else { enough };
        condition(kind, is_short, reason, message)
    };
    let short = health.pressure;
    let ready = match &health.not_ready {
        None => condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
        Some(message) => condition("Ready", false, "KubeletNotReady", message),
    };
    // Conditions of others stay: a merge patch replaces the whole list.
    let foreign = old.iter().filter(|it| !KINDS.contains(&it.type_.as_str())).cloned();
    let own = [
        pressure(
            "MemoryPressure",
            short.memory,
            ["KubeletHasInsufficientMemory", "kubelet has insufficient memory available"],
            ["KubeletHasSufficientMemory", "kubelet has sufficient memory available"],
        ),
        pressure(
            "DiskPressure",
            short.disk,
            ["KubeletHasDiskPressure", "kubelet has disk pressure"],
            ["KubeletHasNoDiskPressure", "kubelet has no disk pressure"],
        ),
        pressure(
            "PIDPressure",
            short.pids,
            ["KubeletHasInsufficientPID", "kubelet has insufficient PID available"],
            ["KubeletHasSufficientPID", "kubelet has sufficient PID available"],
        ),
        ready,
    ];
    foreign.chain(own).collect()
}

fn image_list(images: &[v1::Image]) -> Vec<ContainerImage> {
    let mut images: Vec<&v1::Image> = images.iter().collect();
    images.sort_by_key(|image| (std::cmp::Reverse(image.size), image.id.clone()));
    images
        .into_iter()
        .take(IMAGES_MAX)
        .map(|image| {
            let names = image.repo_digests.iter().chain(&image.repo_tags).cloned().collect();
            let size_bytes = i64::try_from(image.size).ok();
            ContainerImage { names: Some(names), size_bytes }
        })
        .collect()
}

/// Whether two statuses differ in nothing but the time of the heartbeat.
pub(super) fn is_same(one: &NodeStatus, other: &NodeStatus) -> bool {
    let timeless = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    timeless(one) == timeless(other)
}
