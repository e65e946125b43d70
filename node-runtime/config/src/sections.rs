//! The node file's structure: one struct per section, field names as in the file.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::flags::ApiServerFlags;

/// The version of the format this program writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// Everything one node is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfig {
    /// Version of the format.
    pub version: u32,
    /// Who this node is.
    pub node: NodeSection,
    /// The cluster it belongs to.
    pub cluster: ClusterSection,
    /// Where the API server listens, and under which names it is known.
    pub api_server: ApiServerSection,
    /// The container runtime on this node.
    pub runtime: RuntimeSection,
    /// Folders on this node.
    pub paths: PathsSection,
    /// Address under which the guest reaches the host; `host.minik.internal` resolves to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_address: Option<IpAddr>,
}

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSection {
    /// Name of the Node object and of the machine.
    pub name: String,
    /// Address other nodes and the host reach it at.
    pub address: IpAddr,
    /// What it runs.
    pub role: Role,
    /// Labels the node registers with, besides the well-known ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints the node registers with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
}

/// What a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Store, API server, controllers and scheduler, and everything a worker runs.
    ControlPlane,
    /// Kubelet, proxy and DNS only.
    Worker,
}

/// A taint as in the Node object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taint {
    /// Qualified name.
    pub key: String,
    /// Value, may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What it does to pods without a toleration.
    pub effect: Effect,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// New pods are not scheduled here.
    NoSchedule,
    /// New pods are scheduled elsewhere if possible.
    PreferNoSchedule,
    /// New pods are not scheduled here and running ones are evicted.
    NoExecute,
}

/// The cluster a node belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSection {
    /// Name of the cluster (the profile).
    pub name: String,
    /// Domain of the cluster's DNS.
    pub domain: String,
    /// Range of ClusterIPs; its first address is the `kubernetes` service.
    pub service_cidr: IpNetwork,
    /// Range of pod addresses; each node gets a /24 of it.
    pub pod_cidr: IpNetwork,
    /// ClusterIP of the DNS service, written into pods' resolv.conf.
    pub dns_address: IpAddr,
}

/// Where the API server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiServerSection {
    /// Address and port it listens on, on the control-plane node.
    pub listen: SocketAddr,
    /// Address nodes and the `kubernetes` endpoints use to reach it.
    pub advertise_address: IpAddr,
    /// DNS names and addresses in its certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sans: Vec<String>,
    /// What the user wants otherwise than usual; files are here with their texts.
    #[serde(default, skip_serializing_if = "ApiServerFlags::is_empty")]
    pub flags: ApiServerFlags,
}

/// The container runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuntimeSection {
    /// CRI endpoint, `unix:///…` .
    pub endpoint: String,
    /// Reference of the image for pod sandboxes; it is in the guest, never pulled.
    pub pause_image: String,
    /// Folder with the CNI plugins.
    pub cni_plugin_dir: PathBuf,
}

/// Folders on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathsSection {
    /// Data of the store.
    pub data: PathBuf,
    /// Certificates and keys.
    pub pki: PathBuf,
    /// Sockets; emptied at boot.
    pub run: PathBuf,
    /// Pod folders and volumes.
    pub kubelet: PathBuf,
}

impl NodeConfig {
    /// URL at which this node, or a client near it, reaches the API server.
    pub fn api_url(&self) -> String {
        let server =
            SocketAddr::new(self.api_server.advertise_address, self.api_server.listen.port());
        format!("https://{server}")
    }

    /// Whether this node runs the control plane.
    pub fn is_control_plane(&self) -> bool {
        self.node.role == Role::ControlPlane
    }
}

impl ClusterSection {
    /// Address of the `kubernetes` service: the first of the service range.
    pub fn kubernetes_address(&self) -> IpAddr {
        nth(self.service_cidr, 1)
    }
}

impl Default for RuntimeSection {
    fn default() -> RuntimeSection {
        RuntimeSection {
            endpoint: "unix:///run/containerd/containerd.sock".to_owned(),
            pause_image: "registry.minik.internal/pause:1".to_owned(),
            cni_plugin_dir: PathBuf::from("/usr/lib/cni"),
        }
    }
}

impl Default for PathsSection {
    fn default() -> PathsSection {
        PathsSection {
            data: PathBuf::from("/var/lib/minik/store"),
            pki: PathBuf::from("/var/lib/minik/pki"),
            run: PathBuf::from("/run/minik"),
            kubelet: PathBuf::from("/var/lib/kubelet"),
        }
    }
}

/// The address `offset` above the network address.
fn nth(network: IpNetwork, offset: u32) -> IpAddr {
    match network.network() {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first).wrapping_add(offset)).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first).wrapping_add(offset.into())).into()),
    }
}
