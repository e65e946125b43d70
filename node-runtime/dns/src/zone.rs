//! What is known about names, from Services and EndpointSlices. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hickory_server::proto::ProtoError;
use hickory_server::proto::rr::Name;
use ipnetwork::Ipv4Network;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// What does not change while the server runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The cluster's domain.
    pub(crate) domain: Name,
    /// Address of the DNS service.
    pub(crate) address: IpAddr,
    /// Names of the host, and its address.
    pub(crate) hosts: BTreeMap<Name, IpAddr>,
    /// Ranges whose addresses nobody upstream can know.
    pub(crate) reverse_ranges: Vec<Ipv4Network>,
}

/// All that can be answered without asking anybody.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) settings: Arc<Settings>,
    /// Grows with each zone made.
    pub(crate) serial: u32,
    /// By namespace, then name.
    pub(crate) services: HashMap<String, HashMap<String, Known>>,
    /// Names of addresses.
    pub(crate) names: HashMap<Ipv4Addr, Vec<Name>>,
}

/// A service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Has addresses of its own.
    Cluster { addresses: Vec<Ipv4Addr>, ports: Vec<Port> },
    /// Stands for its endpoints.
    Headless { hosts: Vec<Host> },
    /// Another name for something elsewhere.
    External { target: Name },
}

/// A named port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// Empty if the port has no name.
    pub(crate) name: String,
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: String,
    pub(crate) number: u16,
}

/// An endpoint of a headless service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Its label under the service's name.
    pub(crate) label: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) ports: Vec<Port>,
}

impl Zone {
    pub(crate) fn new(
        settings: Arc<Settings>,
        serial: u32,
        services: &[Arc<Service>],
        slices: &[Arc<EndpointSlice>],
    ) -> Self {
        let slices = by_service(slices);
        let mut zone = Self { settings, serial, services: HashMap::new(), names: HashMap::new() };
        for service in services {
            let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
            let name = service.metadata.name.as_deref().unwrap_or_default();
            let own = slices.get(&(namespace, name)).map_or(&[][..], |slices| slices);
            let Some(known) = service.spec.as_ref().and_then(|spec| known(spec, own)) else {
                continue;
            };
            zone.add_names(namespace, name, &known);
            let services = zone.services.entry(namespace.to_owned()).or_default();
            services.insert(name.to_owned(), known);
        }
        zone
    }

    /// The service of that name.
    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<&Known> {
        self.services.get(namespace)?.get(name)
    }

    /// `service.namespace.svc.domain`.
    pub(crate) fn service_name(&self, namespace: &str, name: &str) -> Result<Name, ProtoError> {
        self.under(&[name, namespace, "svc"])
    }

    /// The labels, first one leftmost, under the cluster's domain.
    pub(crate) fn under(&self, labels: &[&str]) -> Result<Name, ProtoError> {
        labels
            .iter()
            .rev()
            .try_fold(self.settings.domain.clone(), |name, label| name.prepend_label(*label))
    }

    fn add_names(&mut self, namespace: &str, name: &str, known: &Known) {
        let Ok(service) = self.service_name(namespace, name) else { return };
        match known {
            Known::Cluster { addresses, .. } => {
                for address in addresses {
                    self.names.entry(*address).or_default().push(service.clone());
                }
            }
            Known::Headless { hosts } => {
                for host in hosts {
                    if let Ok(name) = service.prepend_label(&*host.label) {
                        self.names.entry(host.address).or_default().push(name);
                    }
                }
            }
            Known::External { .. } => {}
        }
    }
}

type SlicesByService<'a> = HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>;

fn by_service(slices: &[Arc<EndpointSlice>]) -> SlicesByService<'_> {
    let mut by_service = SlicesByService::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let labels = slice.metadata.labels.as_ref();
        let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL)) else {
            continue;
        };
        let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
        by_service.entry((namespace, service)).or_default().push(&**slice);
    }
    by_service
}

fn known(spec: &ServiceSpec, slices: &[&EndpointSlice]) -> Option<Known> {
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec.external_name.as_deref()?;
        let mut target = Name::from_utf8(target).ok()?;
        target.set_fqdn(true);
        return Some(Known::External { target });
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        return Some(Known::Headless { hosts: hosts(slices) });
    }
    let all = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let mut addresses: Vec<Ipv4Addr> = all.filter_map(|ip| ip.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let ports = spec.ports.iter().flatten();
    let ports = ports.filter_map(|it| port(it.name.as_ref(), it.protocol.as_ref(), it.port));
    Some(Known::Cluster { addresses, ports: ports.collect() })
}

fn hosts(slices: &[&EndpointSlice]) -> Vec<Host> {
    let mut hosts: Vec<Host> = slices.iter().flat_map(|slice| hosts_of_slice(slice)).collect();
    hosts.sort_by(|a, b| (a.address, &a.label).cmp(&(b.address, &b.label)));
    // An endpoint may stand in several slices, one for each set of ports.
    hosts.dedup_by(|next, kept| {
        let same = (next.address, &next.label) == (kept.address, &kept.label);
        if same {
            kept.ports.append(&mut next.ports);
        }
        same
    });
    hosts
}

fn hosts_of_slice(slice: &EndpointSlice) -> Vec<Host> {
    let of_port = |it: &EndpointPort| port(it.name.as_ref(), it.protocol.as_ref(), it.port?);
    let ports: Vec<_> = slice.ports.iter().flatten().filter_map(of_port).collect();
    let endpoints = slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint));
    let host = |endpoint: &Endpoint| {
        let address: Ipv4Addr = endpoint.addresses.first()?.parse().ok()?;
        let hostname = endpoint.hostname.clone().filter(|name| !name.is_empty());
        let label = hostname.unwrap_or_else(|| address.to_string().replace('.', "-"));
        Some(Host { label, address, ports: ports.clone() })
    };
    endpoints.filter_map(host).collect()
}

fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn port(name: Option<&String>, protocol: Option<&String>, number: i32) -> Option<Port> {
    Some(Port {
        name: name.cloned().unwrap_or_default(),
        protocol: protocol.map_or_else(|| "tcp".to_owned(), |it| it.to_ascii_lowercase()),
        number: u16::try_from(number).ok()?,
    })
}
