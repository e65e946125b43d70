//! What all pods of the node share.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::runtime::reflector::Store;
use minik_cri::Runtime;

use crate::config::Config;
use crate::host_port::HostPorts;
use crate::images::Images;
use crate::sources::Sources;
use crate::spec::dns::ResolvConf;
use crate::spec::fields::NodeFacts;
use crate::spec::quantity::Resources;
use minik_client::EventRecorder;

/// The node's means and facts, shared by all workers.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Scheme of container ids, e.g. `containerd`.
    pub(crate) runtime_name: String,
    pub(crate) images: Images,
    pub(crate) sources: Sources,
    pub(crate) host_ports: HostPorts,
    pub(crate) recorder: EventRecorder,
    pub(crate) services: Store<Service>,
    /// What pods can have of the node.
    pub(crate) allocatable: Resources,
    pub(crate) memory_bytes: i64,
}

impl Shared {
    /// Addresses of the node.
    pub(crate) fn host_ips(&self) -> Vec<String> {
        vec![self.config.node_ip.to_string()]
    }

    /// What a pod can learn about itself.
    pub(crate) fn facts(&self, pod_ips: &[String]) -> NodeFacts {
        NodeFacts {
            host_ips: self.host_ips(),
            pod_ips: pod_ips.to_vec(),
            allocatable: self.allocatable.clone(),
        }
    }

    /// What the node itself asks for names. Read each time: DHCP may change it.
    pub(crate) fn resolv_conf(&self) -> ResolvConf {
        let text = std::fs::read_to_string(&self.config.paths.resolv_conf).unwrap_or_default();
        ResolvConf::parse(&text)
    }
}
