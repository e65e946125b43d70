//! What the kubelet must be told: plain data, filled in from the node file by `minik-node`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Taint;

/// How containers' control groups are named and made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupDriver {
    /// Slices and scopes made by systemd (`kubepods-burstable-pod….slice`).
    Systemd,
    /// Plain folders (`/kubepods/burstable/pod…`).
    Cgroupfs,
}

/// The kubelet's HTTPS server: logs, exec, attach, port-forward, metrics.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address to listen on, usually `0.0.0.0:10250`.
    pub listen: SocketAddr,
    /// Serving certificate (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
    /// Clients must show a certificate that this CA signed (PEM).
    pub client_ca: PathBuf,
}

/// Below which room the node reports pressure: the kubelet's `evictionHard`, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionHard {
    /// `memory.available`, bytes.
    pub memory_available: u64,
    /// `nodefs.available`, percent of the file system of [`Paths::root`].
    pub nodefs_available: u64,
    /// `nodefs.inodesFree`, percent.
    pub nodefs_inodes_free: u64,
}

impl Default for EvictionHard {
    fn default() -> Self {
        Self { memory_available: 100 << 20, nodefs_available: 10, nodefs_inodes_free: 5 }
    }
}

impl EvictionHard {
    /// Nothing is ever too little: for kubelets on machines that are not theirs.
    pub const NEVER: Self =
        Self { memory_available: 0, nodefs_available: 0, nodefs_inodes_free: 0 };
}

/// Everything the kubelet must be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the Node object, and of this machine in the cluster.
    pub node_name: String,
    /// Address under which other nodes and the host reach this node.
    pub node_ip: IpAddr,
    /// Labels put on the Node object besides the usual ones.
    pub labels: BTreeMap<String, String>,
    /// Taints put on the Node object when it is registered.
    pub taints: Vec<Taint>,
    /// Whether the control plane runs here; sets the node-role label.
    pub control_plane: bool,
    /// Servers that pods with DNS policy `ClusterFirst` ask.
    pub cluster_dns: Vec<IpAddr>,
    /// Domain of the cluster, `cluster.local`.
    pub cluster_domain: String,
    /// Image of the sandbox; never removed by garbage collection.
    pub pause_image: String,
    /// Where the runtime listens, for reports only (`unix:///run/containerd/containerd.sock`).
    pub runtime_endpoint: String,
    /// Who makes control groups; must be what the runtime is configured for.
    pub cgroup_driver: CgroupDriver,
    /// How many pods may run here.
    pub max_pods: u32,
    /// When the node is short of something.
    pub eviction_hard: EvictionHard,
    /// The program that opens ports of the node (`hostPort`); without one, pods that want some
    /// get none and say so.
    pub nft: Option<String>,
    /// Files and folders.
    pub paths: Paths,
    /// The HTTPS server; none in tests that need none.
    pub server: Option<ServerConfig>,
}

/// Files and folders the kubelet uses.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Pods' volumes and files (`/var/lib/kubelet`).
    pub root: PathBuf,
    /// Containers' logs (`/var/log/pods`).
    pub pod_logs: PathBuf,
    /// The file whose servers pods with DNS policy `Default` ask.
    pub resolv_conf: PathBuf,
    /// Where the CNI configuration is written (`/etc/cni/net.d`).
    pub cni_conf: PathBuf,
    /// Where the CNI plugins are, to check that they exist.
    pub cni_bin: PathBuf,
}

impl Config {
    /// The settings of a node in a minik guest; the caller adds the server.
    pub fn for_guest(node_name: &str, node_ip: IpAddr) -> Self {
        Self {
            node_name: node_name.to_owned(),
            node_ip,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            control_plane: false,
            cluster_dns: vec![IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10))],
            cluster_domain: "cluster.local".into(),
            pause_image: "registry.minik.internal/pause:1".into(),
            runtime_endpoint: "unix:///run/containerd/containerd.sock".into(),
            cgroup_driver: CgroupDriver::Systemd,
            max_pods: 110,
            eviction_hard: EvictionHard::default(),
            nft: Some("nft".into()),
            paths: Paths {
                root: "/var/lib/kubelet".into(),
                pod_logs: "/var/log/pods".into(),
                resolv_conf: "/etc/resolv.conf".into(),
                cni_conf: "/etc/cni/net.d".into(),
                cni_bin: "/usr/lib/cni".into(),
            },
            server: None,
        }
    }
}
