//! The configuration of a pod's sandbox.

use k8s_openapi::api::core::v1::Pod;
use minik_cri::v1;

use super::dns::{self, ResolvConf};
use super::{names, resources, security};
use crate::config::Config;
use crate::object;

/// What the runtime is told to make the pod's sandbox.
pub(crate) fn sandbox_config(
    config: &Config,
    pod: &Pod,
    attempt: u32,
    node_dns: &ResolvConf,
) -> v1::PodSandboxConfig {
    let spec = object::spec(pod);
    let qos = resources::qos(spec);
    let uid = object::uid(pod);
    let context = spec.security_context.clone().unwrap_or_default();
    let sysctls = context.sysctls.unwrap_or_default();
    let is_host = object::is_host_network(pod);
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: object::name(pod).into(),
            uid: uid.into(),
            namespace: object::namespace(pod).into(),
            attempt,
        }),
        hostname: if is_host { String::new() } else { sandbox_hostname(pod, config) },
        log_directory: names::log_directory(&config.paths.pod_logs, pod).display().to_string(),
        dns_config: Some(dns::dns_config(
            pod,
            &config.cluster_dns,
            &config.cluster_domain,
            node_dns,
        )),
        port_mappings: if is_host { Vec::new() } else { port_mappings(pod) },
        labels: names::sandbox_labels(pod),
        annotations: names::sandbox_annotations(pod),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: resources::cgroup_parent(config.cgroup_driver, qos, uid),
            security_context: Some(security::sandbox_context(pod)),
            sysctls: sysctls.into_iter().map(|sysctl| (sysctl.name, sysctl.value)).collect(),
            overhead: None,
            resources: None,
        }),
        windows: None,
    }
}

fn sandbox_hostname(pod: &Pod, config: &Config) -> String {
    match object::spec(pod).set_hostname_as_fqdn {
        Some(true) => dns::full_name(pod, &config.cluster_domain),
        _ => None,
    }
    .unwrap_or_else(|| dns::hostname(pod))
}

/// The node's ports that lead into the pod.
fn port_mappings(pod: &Pod) -> Vec<v1::PortMapping> {
    let mut mappings = Vec::new();
    for spec in object::containers(pod) {
        for port in spec.container.ports.iter().flatten() {
            let Some(host_port) = port.host_port.filter(|port| *port > 0) else { continue };
            let protocol = match port.protocol.as_deref() {
                Some("UDP") => v1::Protocol::Udp,
                Some("SCTP") => v1::Protocol::Sctp,
                _ => v1::Protocol::Tcp,
            };
            mappings.push(v1::PortMapping {
                protocol: protocol.into(),
                container_port: port.container_port,
                host_port,
                host_ip: port.host_ip.clone().unwrap_or_default(),
            });
        }
    }
    mappings
}
