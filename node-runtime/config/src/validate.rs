//! What a node file must satisfy beyond its types.

use ipnetwork::IpNetwork;

use crate::error::ConfigError;
use crate::sections::{NodeConfig, VERSION};

/// Checks the values against each other; the first that cannot be used is the error.
pub(crate) fn validate(config: &NodeConfig) -> Result<(), ConfigError> {
    if config.version > VERSION {
        return Err(ConfigError::TooNew { found: config.version, supported: VERSION });
    }
    dns_label("node.name", &config.node.name)?;
    dns_label("cluster.name", &config.cluster.name)?;
    dns_name("cluster.domain", &config.cluster.domain)?;
    let address = config.node.address;
    if address.is_unspecified() || address.is_multicast() {
        return Err(invalid("node.address", format!("{address} is not a node's address")));
    }
    is_network("cluster.serviceCidr", config.cluster.service_cidr)?;
    is_network("cluster.podCidr", config.cluster.pod_cidr)?;
    let (services, pods) = (config.cluster.service_cidr, config.cluster.pod_cidr);
    if services.contains(pods.network()) || pods.contains(services.network()) {
        return Err(invalid(
            "cluster.podCidr",
            format!("{pods} overlaps the service range {services}"),
        ));
    }
    if !services.contains(config.cluster.dns_address) {
        let dns = config.cluster.dns_address;
        return Err(invalid("cluster.dnsAddress", format!("{dns} is not in {services}")));
    }
    if config.api_server.listen.port() == 0 {
        return Err(invalid("apiServer.listen", "port 0 cannot be reached".to_owned()));
    }
    if let Err(err) = config.api_server.flags.check() {
        return Err(invalid("apiServer.flags", err.to_string()));
    }
    if !config.runtime.endpoint.starts_with("unix:///") {
        let endpoint = &config.runtime.endpoint;
        return Err(invalid("runtime.endpoint", format!("`{endpoint}` is not a unix:/// socket")));
    }
    for (field, path) in [
        ("paths.data", &config.paths.data),
        ("paths.pki", &config.paths.pki),
        ("paths.run", &config.paths.run),
        ("paths.kubelet", &config.paths.kubelet),
        ("runtime.cniPluginDir", &config.runtime.cni_plugin_dir),
    ] {
        // Not `is_absolute`: the file is also written on hosts where `/x` is not an absolute path.
        if !path.to_string_lossy().starts_with('/') {
            return Err(invalid(field, format!("{} is not absolute", path.display())));
        }
    }
    Ok(())
}

fn invalid(field: &'static str, reason: String) -> ConfigError {
    ConfigError::Invalid { field, reason }
}

fn is_network(field: &'static str, network: IpNetwork) -> Result<(), ConfigError> {
    if network.ip() == network.network() {
        return Ok(());
    }
    Err(invalid(field, format!("{network} is an address; the network is {}", network.network())))
}

/// A DNS label as Kubernetes takes it for a name: RFC 1123, at most 63 characters.
fn dns_label(field: &'static str, text: &str) -> Result<(), ConfigError> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fine = (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if fine { Ok(()) } else { Err(invalid(field, format!("`{text}` is not a DNS label"))) }
}

fn dns_name(field: &'static str, text: &str) -> Result<(), ConfigError> {
    text.split('.').try_for_each(|label| dns_label(field, label))
}
