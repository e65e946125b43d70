//! Which endpoints of a service port get traffic, from its EndpointSlices. Pure.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use crate::rules::Place;

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The slices of each service, by namespace and name.
pub(super) struct SlicesByService<'a>(HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>);

/// Endpoints that get traffic; sorted, none twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Backends {
    /// All of the service port.
    pub(super) all: Vec<SocketAddrV4>,
    /// Those on this node.
    pub(super) local: Vec<SocketAddrV4>,
}

/// An endpoint and what decides whether it gets traffic.
#[derive(Clone, Copy)]
struct Candidate {
    address: SocketAddrV4,
    local: bool,
    ready: bool,
    serving: bool,
}

impl<'a> SlicesByService<'a> {
    pub(super) fn new(slices: &'a [Arc<EndpointSlice>]) -> Self {
        let mut by_service: HashMap<_, Vec<_>> = HashMap::new();
        for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
            let labels = slice.metadata.labels.as_ref();
            let service = labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL));
            let Some(service) = service else { continue };
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            by_service.entry((namespace, service.as_str())).or_default().push(&**slice);
        }
        Self(by_service)
    }

    pub(super) fn backends(&self, service: &Service, port: &ServicePort, here: &Place) -> Backends {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let Some(slices) = self.0.get(&(namespace, name)) else { return Backends::default() };
        let candidates: Vec<_> =
            slices.iter().flat_map(|slice| candidates(slice, port, here)).collect();
        Backends {
            all: choose(candidates.iter()),
            local: choose(candidates.iter().filter(|candidate| candidate.local)),
        }
    }
}

/// The endpoints of a slice under the number its matching port has there.
fn candidates(slice: &EndpointSlice, port: &ServicePort, here: &Place) -> Vec<Candidate> {
    let matching = slice.ports.iter().flatten().find(|candidate| is_same_port(candidate, port));
    let Some(number) = matching.and_then(|port| u16::try_from(port.port?).ok()) else {
        return Vec::new();
    };
    let endpoints = slice.endpoints.iter().flatten();
    endpoints.flat_map(|endpoint| of_endpoint(endpoint, number, here)).collect()
}

fn is_same_port(candidate: &EndpointPort, port: &ServicePort) -> bool {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let protocol = |protocol: &Option<String>| protocol.clone().unwrap_or_else(|| "TCP".into());
    name(&candidate.name) == name(&port.name)
        && protocol(&candidate.protocol) == protocol(&port.protocol)
}

fn of_endpoint(endpoint: &Endpoint, port: u16, here: &Place) -> Vec<Candidate> {
    let conditions = endpoint.conditions.as_ref();
    let condition = |pick: fn(&_) -> Option<bool>| conditions.and_then(pick);
    // Absent conditions mean yes: old controllers did not set them.
    let ready = condition(|conditions| conditions.ready).unwrap_or(true);
    let serving = condition(|conditions| conditions.serving).unwrap_or(ready);
    let local = endpoint.node_name.as_ref() == Some(&here.node);
    let ips = endpoint.addresses.iter().filter_map(|ip| ip.parse::<Ipv4Addr>().ok());
    let candidate = |ip| Candidate { address: SocketAddrV4::new(ip, port), local, ready, serving };
    ips.map(candidate).collect()
}

/// The ready ones; if there are none, those that still serve while they terminate.
fn choose<'a>(candidates: impl Iterator<Item = &'a Candidate> + Clone) -> Vec<SocketAddrV4> {
    let pick = |wanted: fn(&Candidate) -> bool| -> Vec<_> {
        let mut addresses: Vec<_> =
            candidates.clone().filter(|one| wanted(one)).map(|one| one.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    };
    let ready = pick(|candidate| candidate.ready);
    if ready.is_empty() { pick(|candidate| candidate.serving) } else { ready }
}
