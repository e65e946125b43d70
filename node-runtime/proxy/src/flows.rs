//! UDP flows that the kernel remembers although their translation does not hold any more. Pure.
//!
//! A UDP client has no connection that could break: as long as it sends from one port, its
//! packets go where the first one went, even when that pod is gone or the service is new.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddrV4;

use ipnetwork::Ipv4Network;

use crate::diff::Step;
use crate::rules::{Chain, Desired, Key, Protocol, Target};

/// A UDP flow: where its packets are sent, and who answers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) to: SocketAddrV4,
    pub(crate) answered_by: SocketAddrV4,
}

/// Where flows to services may lead.
#[derive(Debug, Default)]
pub(crate) struct Roads {
    addresses: HashMap<SocketAddrV4, HashSet<SocketAddrV4>>,
    node_ports: HashMap<u16, HashSet<SocketAddrV4>>,
}

/// Whether a change concerns UDP services.
pub(crate) fn concerns_udp(steps: &[Step<'_>]) -> bool {
    steps.iter().any(|step| match step {
        Step::DeleteElement { key } | Step::AddElement { key, .. } => match key {
            Key::Address(_, protocol, _)
            | Key::ClosedAddress(_, protocol, _)
            | Key::NodePort(protocol, _)
            | Key::ClosedNodePort(protocol, _) => *protocol == Protocol::Udp,
            Key::Hairpin(_) | Key::LocalPods(_) => false,
        },
        Step::FillChain { chain, .. } => match chain {
            Chain::Balance { protocol, .. } | Chain::Endpoint { protocol, .. } => {
                *protocol == Protocol::Udp
            }
            // Their endpoints are chains of their own.
            Chain::Sticky { .. } | Chain::Outside { .. } => false,
        },
        Step::AddSet { .. }
        | Step::AddChain { .. }
        | Step::FlushChain { .. }
        | Step::DeleteChain { .. }
        | Step::DeleteSet { .. } => false,
    })
}

impl Roads {
    pub(crate) fn new(desired: &Desired) -> Self {
        let mut roads = Self::default();
        for (key, target) in &desired.elements {
            let Target::Chain(chain) = target else { continue };
            let mut endpoints = HashSet::new();
            collect(desired, chain, &mut endpoints);
            match key {
                Key::Address(ip, Protocol::Udp, port) => {
                    roads.addresses.insert(SocketAddrV4::new(*ip, *port), endpoints);
                }
                Key::NodePort(Protocol::Udp, port) => {
                    roads.node_ports.insert(*port, endpoints);
                }
                _ => {}
            }
        }
        roads
    }

    /// Whether the flow must be forgotten: it goes to a service, but not where the service leads.
    pub(crate) fn is_stale(&self, flow: &Flow, services: Ipv4Network) -> bool {
        let road = self.addresses.get(&flow.to).or_else(|| self.node_ports.get(&flow.to.port()));
        match road {
            Some(endpoints) => !endpoints.contains(&flow.answered_by),
            // Translated for a service that is gone.
            None => services.contains(*flow.to.ip()) && flow.to != flow.answered_by,
        }
    }
}

/// The endpoints that a chain can lead to.
fn collect(desired: &Desired, chain: &str, into: &mut HashSet<SocketAddrV4>) {
    match desired.chains.get(chain) {
        Some(Chain::Balance { endpoints, .. }) => into.extend(endpoints),
        Some(Chain::Endpoint { address, .. }) => {
            into.insert(*address);
        }
        Some(Chain::Sticky { endpoints }) => {
            endpoints.iter().for_each(|chain| collect(desired, chain, into));
        }
        Some(Chain::Outside { inside, outside, .. }) => {
            let chains = inside.iter().chain(outside);
            chains.for_each(|chain| collect(desired, chain, into));
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().expect("an address")
    }

    #[test]
    fn flows_that_lead_elsewhere_are_stale() {
        let protocol = Protocol::Udp;
        let balance = Chain::Balance { protocol, endpoints: vec![at("10.244.0.5:53")] };
        let mut desired = Desired::default();
        desired.chains.insert("svc".into(), balance);
        let target = Target::Chain("svc".into());
        let address = Key::Address(Ipv4Addr::new(10, 96, 0, 7), protocol, 53);
        desired.elements.insert(address, target.clone());
        desired.elements.insert(Key::NodePort(protocol, 30053), target);
        let roads = Roads::new(&desired);
        let services = "10.96.0.0/12".parse().expect("a range");
        let check = |to, answered_by, stale| {
            let flow = Flow { to: at(to), answered_by: at(answered_by) };
            assert_eq!(roads.is_stale(&flow, services), stale, "{flow:?}");
        };
        check("10.96.0.7:53", "10.244.0.5:53", false);
        check("10.96.0.7:53", "10.244.0.6:53", true);
        check("10.96.0.7:54", "10.244.0.6:53", true);
        check("10.96.0.10:53", "10.96.0.10:53", false);
        check("192.0.2.1:30053", "10.244.0.5:53", false);
        check("192.0.2.1:30053", "192.0.2.1:30053", true);
        check("192.0.2.1:53", "192.0.2.1:53", false);
    }
}
