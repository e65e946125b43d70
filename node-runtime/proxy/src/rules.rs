//! What the kernel should do, from Services and EndpointSlices. Pure.
//!
//! A packet to a service address or node port is led by [`Key`] to a chain. `svc` chains balance
//! over all endpoints of a service port, `loc` chains over those on this node, `ext` chains stand
//! before them for traffic from outside when a service treats it differently.

mod backends;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use ipnetwork::Ipv4Network;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::rules::backends::{Backends, SlicesByService};

/// Kubernetes' default for how long a client stays with its endpoint.
const AFFINITY_SECONDS: u32 = 10_800;
/// Services with this label are another proxy's.
const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Room in nftables for a chain's name is 128 bytes with the final zero.
const CHAIN_NAME_BYTES_MAX: usize = 120;

/// Everything that varies in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Desired {
    pub(crate) chains: BTreeMap<String, Chain>,
    pub(crate) elements: BTreeMap<Key, Target>,
}

/// Where this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name of this node.
    pub(crate) node: String,
    /// Range of the pods on this node, once it is known.
    pub(crate) pods: Option<Ipv4Network>,
}

/// A transport protocol, by its name in nftables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// What is looked up, and in which map or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A service address and port: where connections to it go.
    Address(Ipv4Addr, Protocol, u16),
    /// A node port.
    NodePort(Protocol, u16),
    /// A service address and port that nothing answers.
    ClosedAddress(Ipv4Addr, Protocol, u16),
    /// A node port that nothing answers.
    ClosedNodePort(Protocol, u16),
    /// A pod on this node that may reach itself through a service.
    Hairpin(Ipv4Addr),
    /// The pods on this node.
    LocalPods(Ipv4Network),
}

/// What happens to what was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The chain decides.
    Chain(String),
    /// The client is told at once.
    Refuse,
    /// The packet is dropped: the service has endpoints, but none that may be used from here.
    Drop,
    /// Nothing: the key is a member of a set.
    Member,
}

/// The content of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// Any of these at random.
    Balance { protocol: Protocol, endpoints: Vec<SocketAddrV4> },
    /// The same endpoint for the same client; one chain and one set for each endpoint.
    Sticky { endpoints: Vec<String> },
    /// This endpoint, remembering the client in a set of the chain's name.
    Endpoint { protocol: Protocol, address: SocketAddrV4, remember_seconds: u32 },
    /// Traffic that may come from outside.
    Outside {
        /// Only clients in these ranges, if any are given.
        ranges: Vec<Ipv4Network>,
        /// Chain for clients inside the cluster.
        inside: Option<String>,
        /// Chain for the others.
        outside: Option<String>,
    },
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl Protocol {
    fn parse(text: Option<&str>) -> Option<Self> {
        match text.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }
}

/// What the table should hold.
pub(crate) fn desired(
    services: &[Arc<Service>],
    slices: &[Arc<EndpointSlice>],
    place: &Place,
) -> Desired {
    let slices = SlicesByService::new(slices);
    let mut desired = Desired::default();
    if let Some(pods) = place.pods {
        desired.add(Key::LocalPods(pods), Target::Member);
    }
    for service in services.iter().filter(|service| is_ours(service)) {
        let Some(spec) = &service.spec else { continue };
        for port in spec.ports.iter().flatten() {
            let Some(front) = Front::new(service, spec, port) else { continue };
            let backends = slices.backends(service, port, place);
            desired.add_front(&front, &backends);
        }
    }
    desired
}

/// Whether the service has an address that this proxy serves.
fn is_ours(service: &Service) -> bool {
    let labels = service.metadata.labels.as_ref();
    let other = labels.is_some_and(|labels| labels.contains_key(OTHER_PROXY_LABEL));
    let spec = service.spec.as_ref();
    let name = spec.is_some_and(|spec| spec.type_.as_deref() == Some("ExternalName"));
    let ip = spec.and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    !other && !name && ip.parse::<Ipv4Addr>().is_ok()
}

/// One port of a service, as clients see it.
struct Front<'a> {
    /// `namespace/service/protocol/port`, the readable end of its chains' names.
    name: String,
    service: &'a Service,
    spec: &'a ServiceSpec,
    protocol: Protocol,
    port: u16,
    node_port: Option<u16>,
    affinity_seconds: Option<u32>,
    local_inside: bool,
    local_outside: bool,
}

impl<'a> Front<'a> {
    fn new(service: &'a Service, spec: &'a ServiceSpec, port: &'a ServicePort) -> Option<Self> {
        let protocol = Protocol::parse(port.protocol.as_deref())?;
        let number = u16::try_from(port.port).ok()?;
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let service_name = service.metadata.name.as_deref().unwrap_or_default();
        let node_port = port.node_port.and_then(|port| u16::try_from(port).ok());
        Some(Self {
            name: format!("{namespace}/{service_name}/{protocol}/{number}"),
            service,
            spec,
            protocol,
            port: number,
            node_port: node_port.filter(|port| *port != 0),
            affinity_seconds: affinity(spec),
            local_inside: spec.internal_traffic_policy.as_deref() == Some("Local"),
            local_outside: spec.external_traffic_policy.as_deref() == Some("Local"),
        })
    }

    fn chain(&self, kind: &str) -> String {
        chain_name(kind, &self.name)
    }

    fn cluster_ips(&self) -> Vec<Ipv4Addr> {
        let all = self.spec.cluster_ips.iter().flatten().chain(&self.spec.cluster_ip);
        distinct(all.filter_map(|ip| ip.parse().ok()))
    }

    /// Addresses of load balancers that do not translate the address themselves.
    fn load_balancer_ips(&self) -> Vec<Ipv4Addr> {
        let status = self.service.status.as_ref();
        let balancer = status.and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
        let vips = ingress.into_iter().flatten();
        let vips = vips.filter(|entry| entry.ip_mode.as_deref() != Some("Proxy"));
        distinct(vips.filter_map(|entry| entry.ip.as_deref()?.parse().ok()))
    }

    fn external_ips(&self) -> Vec<Ipv4Addr> {
        distinct(self.spec.external_ips.iter().flatten().filter_map(|ip| ip.parse().ok()))
    }

    fn source_ranges(&self) -> Vec<Ipv4Network> {
        let ranges = self.spec.load_balancer_source_ranges.iter().flatten();
        ranges.filter_map(|range| range.trim().parse().ok()).collect()
    }
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref();
    let seconds = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    Some(seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(AFFINITY_SECONDS))
}

fn distinct(addresses: impl Iterator<Item = Ipv4Addr>) -> Vec<Ipv4Addr> {
    let mut addresses: Vec<_> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

impl Desired {
    /// The first claim to a key counts; services come in the order of their names.
    fn add(&mut self, key: Key, target: Target) {
        self.elements.entry(key).or_insert(target);
    }

    fn add_front(&mut self, front: &Front<'_>, backends: &Backends) {
        let all = self.add_balancer(front, "svc", &backends.all);
        let local = if front.local_inside || front.local_outside {
            self.add_balancer(front, "loc", &backends.local)
        } else {
            None
        };
        for address in &backends.local {
            self.add(Key::Hairpin(*address.ip()), Target::Member);
        }
        let closed = if all.is_some() { Target::Drop } else { Target::Refuse };

        let inside = if front.local_inside { &local } else { &all };
        self.add_addresses(front, &front.cluster_ips(), inside, inside.is_none(), &closed);

        let outside = if front.local_outside { &local } else { &all };
        let external_ips = front.external_ips();
        if !external_ips.is_empty() || front.node_port.is_some() {
            let entry = self.add_outside(front, "ext", Vec::new(), &all, outside);
            self.add_addresses(front, &external_ips, &entry, outside.is_none(), &closed);
            self.add_node_port(front, &entry, outside.is_none(), &closed);
        }
        let balancer_ips = front.load_balancer_ips();
        if !balancer_ips.is_empty() {
            let entry = self.add_outside(front, "lb", front.source_ranges(), &all, outside);
            self.add_addresses(front, &balancer_ips, &entry, outside.is_none(), &closed);
        }
    }

    /// Leads the addresses to the chain, if there is one. What comes out of it untranslated is
    /// `closed`, if there is nobody for it.
    fn add_addresses(
        &mut self,
        front: &Front<'_>,
        ips: &[Ipv4Addr],
        chain: &Option<String>,
        is_closed: bool,
        closed: &Target,
    ) {
        for ip in ips {
            if let Some(chain) = chain {
                let key = Key::Address(*ip, front.protocol, front.port);
                self.add(key, Target::Chain(chain.clone()));
            }
            if is_closed {
                self.add(Key::ClosedAddress(*ip, front.protocol, front.port), closed.clone());
            }
        }
    }

    fn add_node_port(
        &mut self,
        front: &Front<'_>,
        chain: &Option<String>,
        is_closed: bool,
        closed: &Target,
    ) {
        let Some(port) = front.node_port else { return };
        if let Some(chain) = chain {
            self.add(Key::NodePort(front.protocol, port), Target::Chain(chain.clone()));
        }
        if is_closed {
            self.add(Key::ClosedNodePort(front.protocol, port), closed.clone());
        }
    }

    /// The chain that balances over `endpoints`; `None` if there are none.
    fn add_balancer(
        &mut self,
        front: &Front<'_>,
        kind: &str,
        endpoints: &[SocketAddrV4],
    ) -> Option<String> {
        if endpoints.is_empty() {
            return None;
        }
        let protocol = front.protocol;
        let chain = match front.affinity_seconds {
            None => Chain::Balance { protocol, endpoints: endpoints.to_vec() },
            Some(remember_seconds) => {
                let add_endpoint = |address: &SocketAddrV4| {
                    let (ip, port) = (address.ip(), address.port());
                    let name = chain_name("ep", &format!("{}/{ip}/{port}", front.name));
                    let chain = Chain::Endpoint { protocol, address: *address, remember_seconds };
                    self.chains.insert(name.clone(), chain);
                    name
                };
                Chain::Sticky { endpoints: endpoints.iter().map(add_endpoint).collect() }
            }
        };
        let name = front.chain(kind);
        self.chains.insert(name.clone(), chain);
        Some(name)
    }

    /// The chain for traffic from outside: a balancer itself if nothing distinguishes them.
    fn add_outside(
        &mut self,
        front: &Front<'_>,
        kind: &str,
        ranges: Vec<Ipv4Network>,
        inside: &Option<String>,
        outside: &Option<String>,
    ) -> Option<String> {
        if inside.is_none() || (ranges.is_empty() && inside == outside) {
            return inside.clone();
        }
        let name = front.chain(kind);
        let chain = Chain::Outside { ranges, inside: inside.clone(), outside: outside.clone() };
        self.chains.insert(name.clone(), chain);
        Some(name)
    }
}

/// A name that is unique by its hash and readable by its end, within nftables' length.
fn chain_name(kind: &str, name: &str) -> String {
    let mut text = format!("{kind}-{:08x}-{name}", hash(name));
    text.truncate(CHAIN_NAME_BYTES_MAX);
    text
}

/// FNV-1a, folded: the same in every build, so that a restart finds its chains again.
fn hash(text: &str) -> u32 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    (hash >> 32) as u32 ^ hash as u32
}

#[cfg(test)]
mod tests;
