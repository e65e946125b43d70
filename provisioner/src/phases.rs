//! What `start` does, in order, as data: the place to start reading.
//!
//! A phase looks whether things are as they should be and changes only what is not; so the list may be
//! run again on a stopped, running or half-made cluster, and after a kill at any point.

use std::time::Duration;

use minik_spec::{ClusterSpec, NodeSpec, WaitFor};

use crate::error::Result;
use crate::phase::{
    certificates, guest_ready, host_checks, image, keys, kubeconfig, machine_create, machine_start,
    node_file, reach, ready, seed, service, unit, upload,
};
use crate::report::Outcome;
use crate::work::{NodeWork, Work};

/// One step on the way to a running cluster.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Stable name: `machine-start`.
    pub id: &'static str,
    /// The step's name in JSON output, one that minikube's consumers know.
    pub step: &'static str,
    /// What is done, to be read after "while": `starting the machine`.
    pub doing: &'static str,
    /// How long it may take.
    pub deadline: Duration,
    pub(crate) act: Act,
}

/// What a phase does, and to what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Once, for the cluster.
    Cluster(fn(&mut Work<'_>) -> Result<Outcome>),
    /// For each node, at the same time.
    Node(fn(&mut NodeWork<'_, '_>) -> Result<Outcome>),
}

/// Steps that only touch this host's files.
const HOST: Duration = Duration::from_secs(60);
/// Steps that run a few commands in a guest, which may be emulated on a busy host.
const GUEST: Duration = Duration::from_secs(180);

/// The phases that make a cluster run, in order.
///
/// Those for nodes run for all nodes at once, between those for the cluster before and after them.
pub fn phases(wait: WaitFor, timeout: Duration) -> Vec<Phase> {
    use Act::{Cluster, Node};
    let new = |id, step, doing, deadline, act| Phase { id, step, doing, deadline, act };
    let download = Duration::from_secs(24 * 3600); // Has deadlines of its own while bytes come.
    let mut list = vec![
        new(
            "host-checks",
            "Selecting Driver",
            "checking the host",
            HOST,
            Cluster(host_checks::run),
        ),
        new(
            "image",
            "Downloading Artifacts",
            "getting the guest image",
            download,
            Cluster(image::run),
        ),
        new("keys", "Generating certificates", "making keys", HOST, Cluster(keys::run)),
        new("seed", "Starting Node", "writing the machine's identity", HOST, Node(seed::run)),
        new(
            "machine-create",
            "Creating VM",
            "creating the machine",
            HOST,
            Node(machine_create::run),
        ),
        new(
            "machine-start",
            "Creating VM",
            "starting the machine",
            GUEST,
            Node(machine_start::run),
        ),
        new("guest-ready", "Creating VM", "booting the guest", timeout, Node(guest_ready::run)),
        new("reach", "Provisioning", "reaching the guest over SSH", GUEST, Node(reach::run)),
        new("upload", "Preparing Kubernetes", "copying minik-node", timeout, Node(upload::run)),
        new(
            "certificates",
            "Generating certificates",
            "copying certificates",
            GUEST,
            Node(certificates::run),
        ),
        new("node-file", "Configuring", "writing the node file", GUEST, Node(node_file::run)),
        new("unit", "Configuring", "writing the node's service", GUEST, Node(unit::run)),
        new(
            "service",
            "Booting control plane",
            "starting the node's service",
            GUEST,
            Node(service::run),
        ),
    ];
    if wait != WaitFor::NONE {
        let doing = "waiting for the node to be Ready";
        list.push(new("ready", "Verifying Kubernetes", doing, timeout, Node(ready::run)));
    }
    list.push(new("kubeconfig", "Done", "writing the kubeconfig", HOST, Cluster(kubeconfig::run)));
    list
}

/// A step as `--dry-run` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// Stable name of the phase.
    pub id: &'static str,
    /// The step's name in JSON output.
    pub step: &'static str,
    /// What it would do, as a sentence.
    pub message: String,
    /// The machine, for steps that are done on each.
    pub machine: Option<String>,
}

/// What starting a cluster would do. Nothing is looked at, so steps that would change nothing are listed too.
pub fn plan(spec: &ClusterSpec, wait: WaitFor, timeout: Duration) -> Vec<PlannedStep> {
    let mut steps = Vec::new();
    for phase in phases(wait, timeout) {
        let nodes: Vec<Option<&NodeSpec>> = match phase.act {
            Act::Cluster(_) => vec![None],
            Act::Node(_) => spec.nodes.iter().map(Some).collect(),
        };
        steps.extend(nodes.into_iter().map(|node| PlannedStep {
            id: phase.id,
            step: phase.step,
            message: message(&phase, spec, node),
            machine: node.map(|node| node.name.clone()),
        }));
    }
    steps
}

/// The sentence for people. Every phase has its own, so that none is printed without a thought.
pub(crate) fn message(phase: &Phase, spec: &ClusterSpec, node: Option<&NodeSpec>) -> String {
    let name = node.map_or(spec.profile.as_str(), |node| node.name.as_str());
    let driver = &spec.driver;
    match phase.id {
        "host-checks" => format!("Using the {driver} driver"),
        "image" => "Getting the guest image".to_owned(),
        "keys" => format!("Preparing keys for {name}"),
        "seed" => format!("Preparing machine {name}"),
        "machine-create" => format!(
            "Creating {driver} machine {name} (CPUs={}, Memory={}MB, Disk={}MB)",
            spec.cpus, spec.memory_mib, spec.disk_mib
        ),
        "machine-start" => format!("Starting machine {name}"),
        "guest-ready" => format!("Booting {name}"),
        "reach" => format!("Connecting to {name}"),
        "upload" => format!("Copying Kubernetes {} to {name}", spec.kubernetes_version),
        "certificates" => format!("Copying certificates to {name}"),
        "node-file" => format!("Configuring {name}"),
        "unit" => format!("Configuring the service of {name}"),
        "service" => format!("Starting Kubernetes on {name}"),
        "ready" => format!("Waiting for {name} to be Ready"),
        "kubeconfig" => format!("Pointing kubectl to {name}"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_phase_has_its_own_name_and_sentence() {
        let list = phases(WaitFor::ALL, HOST);
        let ids: BTreeSet<_> = list.iter().map(|phase| phase.id).collect();
        assert_eq!(ids.len(), list.len());
        let spec = crate::testing::spec("dev", 1);
        for phase in &list {
            assert_ne!(message(phase, &spec, None), phase.id);
        }
    }

    #[test]
    fn phases_for_nodes_stand_together() {
        let kinds: Vec<bool> =
            phases(WaitFor::ALL, HOST).iter().map(|p| matches!(p.act, Act::Node(_))).collect();
        let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(changes, 2, "first the cluster's, then the nodes', then the cluster's again");
    }
}
