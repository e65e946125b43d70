//! The cluster a profile stands for: every choice made, nothing left open.

use std::net::IpAddr;

use ipnetwork::{IpNetwork, Ipv4Network};
use minik_config::{
    ApiServerFlags, ApiServerSection, ClusterSection, NodeConfig, NodeSection, PathsSection, Role,
    RuntimeSection,
};
use minik_driver::{NetworkMode, NetworkPlan};
use serde::{Deserialize, Serialize};

use crate::settings::{ContainerRuntime, HumanDuration, ProfileName, nth};

/// The Kubernetes this minik is.
pub const KUBERNETES_VERSION: &str = "v1.36.0";

/// Port of the API server in the guest, unless asked otherwise.
pub const API_SERVER_PORT: u16 = 8443;

/// A cluster as the profile remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// Name of the cluster.
    pub profile: ProfileName,
    /// Driver that runs its machines.
    pub driver: String,
    /// Virtual CPUs of each machine.
    pub cpus: u32,
    /// Memory of each machine, MiB.
    pub memory_mib: u64,
    /// Size the data disk of each machine may grow to, MiB.
    pub disk_mib: u64,
    /// Host-only network that was asked for; none lets minik choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_only_cidr: Option<String>,
    /// How machines are reached; none until it has been chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkMode>,
    /// The guest image.
    pub image: ImageChoice,
    /// Version of Kubernetes.
    pub kubernetes_version: String,
    /// What runs containers.
    pub container_runtime: ContainerRuntime,
    /// The API server's names and port.
    pub api_server: ApiServerSpec,
    /// Range of ClusterIPs.
    pub service_cidr: Ipv4Network,
    /// Range of pod addresses.
    pub pod_cidr: Ipv4Network,
    /// Domain of the cluster's DNS.
    pub dns_domain: String,
    /// How long certificates are valid.
    pub cert_expiration: HumanDuration,
    /// The machines; the first one is the control plane.
    pub nodes: Vec<NodeSpec>,
}

/// Which guest image a cluster boots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageChoice {
    /// URL or path of the manifest that was asked for; none takes the configured source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Name and digest of the image the machines were made from; none before the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
}

/// The API server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiServerSpec {
    /// Port in the guest.
    pub port: u16,
    /// More DNS names for its certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// More addresses for its certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpAddr>,
    /// Its flags that are not as usual; files are here with their texts, which may hold keys.
    #[serde(default, skip_serializing_if = "ApiServerFlags::is_empty")]
    pub flags: ApiServerFlags,
}

impl Default for ApiServerSpec {
    fn default() -> ApiServerSpec {
        ApiServerSpec {
            port: API_SERVER_PORT,
            names: Vec::new(),
            ips: Vec::new(),
            flags: ApiServerFlags::default(),
        }
    }
}

/// One machine of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSpec {
    /// Name of machine, host and Node object.
    pub name: String,
    /// Place in the cluster, from 0; decides its address and is never given to another node.
    pub index: u32,
    /// What it runs.
    pub role: Role,
    /// Its addresses; none before the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkPlan>,
}

/// Name of the machine at `index`: the profile's for the first, `<profile>-m02` for the second.
pub fn node_name(profile: &ProfileName, index: u32) -> String {
    match index {
        0 => profile.to_string(),
        index => format!("{profile}-m{:02}", index + 1),
    }
}

impl NodeSpec {
    /// The machine at `index` of a cluster, without addresses.
    pub fn new(profile: &ProfileName, index: u32) -> NodeSpec {
        let role = if index == 0 { Role::ControlPlane } else { Role::Worker };
        NodeSpec { name: node_name(profile, index), index, role, network: None }
    }

    /// The name `node list` and `-n` know it by: `m02`; the profile's name for the first.
    pub fn short_name(&self) -> &str {
        match self.name.rsplit_once("-m") {
            Some((_, number)) if self.index > 0 => &self.name[self.name.len() - number.len() - 1..],
            _ => &self.name,
        }
    }
}

impl ClusterSpec {
    /// The node that runs the API server.
    pub fn control_plane(&self) -> &NodeSpec {
        &self.nodes[0]
    }

    /// The node of that name; `m02` and `dev-m02` are the same, and none is the control plane.
    pub fn node(&self, name: Option<&str>) -> Option<&NodeSpec> {
        let Some(name) = name else { return self.nodes.first() };
        self.nodes.iter().find(|node| node.name == name || node.short_name() == name)
    }

    /// A further node, with the lowest index no node has; it is the caller's to add it.
    pub fn next_node(&self) -> NodeSpec {
        let taken = |index: &u32| self.nodes.iter().any(|node| node.index == *index);
        let index = (1..).find(|index| !taken(index)).unwrap_or(u32::MAX);
        NodeSpec::new(&self.profile, index)
    }

    /// Address of the `kubernetes` service.
    pub fn kubernetes_address(&self) -> IpAddr {
        nth(self.service_cidr, 1)
    }

    /// Every name and address the API server is known by, for its certificate; needs addresses.
    pub fn api_server_sans(&self) -> Vec<String> {
        let domain = &self.dns_domain;
        let mut sans: Vec<String> = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
            .map(str::to_owned)
            .to_vec();
        sans.push(format!("kubernetes.default.svc.{domain}"));
        sans.push(self.control_plane().name.clone());
        sans.push("localhost".to_owned());
        sans.push(self.kubernetes_address().to_string());
        sans.push("127.0.0.1".to_owned());
        if let Some(plan) = &self.control_plane().network {
            sans.push(plan.address.to_string());
        }
        sans.extend(self.api_server.names.iter().cloned());
        sans.extend(self.api_server.ips.iter().map(ToString::to_string));
        let mut seen = std::collections::BTreeSet::new();
        sans.retain(|san| seen.insert(san.clone()));
        sans
    }

    /// The node file of one node; none while addresses are not planned.
    pub fn node_config(&self, node: &NodeSpec) -> Option<NodeConfig> {
        let own = node.network.as_ref()?;
        let server = self.control_plane().network.as_ref()?;
        Some(NodeConfig {
            version: minik_config::VERSION,
            node: NodeSection {
                name: node.name.clone(),
                address: own.address.into(),
                role: node.role,
                labels: self.labels(node),
                taints: Vec::new(),
            },
            cluster: ClusterSection {
                name: self.profile.to_string(),
                domain: self.dns_domain.clone(),
                service_cidr: IpNetwork::V4(self.service_cidr),
                pod_cidr: IpNetwork::V4(self.pod_cidr),
                dns_address: nth(self.service_cidr, 10),
            },
            api_server: ApiServerSection {
                listen: ([0, 0, 0, 0], self.api_server.port).into(),
                advertise_address: server.address.into(),
                sans: self.api_server_sans(),
                flags: self.flags_for(node),
            },
            runtime: RuntimeSection::default(),
            paths: PathsSection::default(),
            host_address: Some(own.host_address.into()),
        })
    }

    /// Workers have no use for the flags, and are not told the keys in them.
    fn flags_for(&self, node: &NodeSpec) -> ApiServerFlags {
        match node.role {
            Role::ControlPlane => self.api_server.flags.clone(),
            Role::Worker => ApiServerFlags::default(),
        }
    }

    fn labels(&self, node: &NodeSpec) -> std::collections::BTreeMap<String, String> {
        let primary = node.index == 0;
        [
            ("minik.internal/profile", self.profile.to_string()),
            ("minik.internal/primary", primary.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}
