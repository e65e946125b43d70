//! Routes to the pods of other nodes, over the network the nodes share, and to the services.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures::TryStreamExt;
use ipnetwork::Ipv4Network;
use k8s_openapi::api::core::v1::Node;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::{Handle, RouteMessageBuilder};

/// Marks our routes in the kernel, so that only those are ever removed.
const OURS: RouteProtocol = RouteProtocol::Other(77);

/// Ranges and where they lead.
pub(crate) type Routes = BTreeMap<Ipv4Network, Via>;

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// To a node.
    Node(Ipv4Addr),
    /// Nowhere: the packet is translated before it leaves. The route only gives connections of
    /// the node itself their source address, and lets them be made without a default route.
    Source { address: Ipv4Addr, link: u32 },
}

/// The range of a node's pods, once it has one.
pub(crate) fn pod_range(node: &Node) -> Option<Ipv4Network> {
    let spec = node.spec.as_ref()?;
    let ranges = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    ranges.filter_map(|range| range.parse().ok()).next()
}

/// The routes to the pods of all nodes but `here`. Pure.
pub(crate) fn to_pods(nodes: &[Arc<Node>], here: &str) -> Routes {
    let others = nodes.iter().filter(|node| node.metadata.name.as_deref() != Some(here));
    let route = |node: &Arc<Node>| Some((pod_range(node)?, Via::Node(internal_ip(node)?)));
    others.filter_map(route).collect()
}

/// The route that gives the node's own connections to services their source, if the node's
/// address is on one of its links.
pub(crate) async fn to_services(
    handle: &Handle,
    here: &Node,
    services: Ipv4Network,
) -> Result<Routes, rtnetlink::Error> {
    let Some(address) = internal_ip(here) else { return Ok(Routes::new()) };
    let found = handle.address().get().set_address_filter(IpAddr::V4(address)).execute();
    let found: Vec<_> = found.try_collect().await?;
    let ours = AddressAttribute::Address(IpAddr::V4(address));
    let link = found.iter().find(|message| message.attributes.contains(&ours));
    let via = link.map(|message| Via::Source { address, link: message.header.index });
    Ok(via.map(|via| (services, via)).into_iter().collect())
}

pub(crate) fn internal_ip(node: &Node) -> Option<Ipv4Addr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let internal = addresses.iter().filter(|address| address.type_ == "InternalIP");
    internal.filter_map(|address| address.address.parse().ok()).next()
}

/// What to change: ranges to forget, and routes to set.
pub(crate) fn changes(have: &Routes, want: &Routes) -> (Vec<Ipv4Network>, Routes) {
    let forget = have.keys().filter(|range| !want.contains_key(range)).copied().collect();
    let set = want.iter().filter(|(range, via)| have.get(range) != Some(via));
    (forget, set.map(|(range, via)| (*range, *via)).collect())
}

/// Brings the kernel's routes that are ours to `want`.
pub(crate) async fn apply(handle: &Handle, want: &Routes) -> Result<(), rtnetlink::Error> {
    let have = in_kernel(handle).await?;
    let (forget, set) = changes(&have, want);
    for range in forget {
        let route = builder(range).build();
        handle.route().del(route).execute().await?;
    }
    for (range, via) in set {
        let route = match via {
            Via::Node(gateway) => builder(range).gateway(gateway).build(),
            Via::Source { address, link } => builder(range)
                .output_interface(link)
                .pref_source(address)
                .scope(RouteScope::Link)
                .build(),
        };
        handle.route().add(route).replace().execute().await?;
    }
    Ok(())
}

fn builder(range: Ipv4Network) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .protocol(OURS)
        .destination_prefix(range.network(), range.prefix())
}

async fn in_kernel(handle: &Handle) -> Result<Routes, rtnetlink::Error> {
    let all = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    let all: Vec<RouteMessage> = all.try_collect().await?;
    Ok(all.iter().filter(|route| route.header.protocol == OURS).filter_map(read).collect())
}

fn read(route: &RouteMessage) -> Option<(Ipv4Network, Via)> {
    let (mut destination, mut gateway, mut source, mut link) = (None, None, None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => destination = Some(*ip),
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => gateway = Some(*ip),
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => source = Some(*ip),
            RouteAttribute::Oif(index) => link = Some(*index),
            _ => {}
        }
    }
    let range = Ipv4Network::new(destination?, route.header.destination_prefix_length).ok()?;
    let via = match gateway {
        Some(gateway) => Via::Node(gateway),
        None => Via::Source { address: source?, link: link? },
    };
    Some((range, via))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, range: Option<&str>, address: Option<&str>) -> Arc<Node> {
        let addresses: Vec<_> = [("Hostname", Some(name)), ("InternalIP", address)]
            .into_iter()
            .filter_map(|(kind, address)| Some(json!({"type": kind, "address": address?})))
            .collect();
        let node = json!({
            "metadata": {"name": name},
            "spec": {"podCIDR": range},
            "status": {"addresses": addresses},
        });
        Arc::new(serde_json::from_value(node).expect("a node"))
    }

    fn route(range: &str, via: &str) -> (Ipv4Network, Via) {
        (range.parse().expect("a range"), Via::Node(via.parse().expect("an address")))
    }

    #[test]
    fn other_nodes_with_pods_and_an_address_get_a_route() {
        let nodes = [
            node("one", Some("10.244.0.0/24"), Some("192.0.2.1")),
            node("two", Some("10.244.1.0/24"), Some("192.0.2.2")),
            node("new", None, Some("192.0.2.3")),
            node("silent", Some("10.244.3.0/24"), None),
        ];
        assert_eq!(to_pods(&nodes, "one"), Routes::from([route("10.244.1.0/24", "192.0.2.2")]));
    }

    #[test]
    fn only_what_differs_is_changed() {
        let (a, b) = (route("10.244.1.0/24", "192.0.2.2"), route("10.244.2.0/24", "192.0.2.3"));
        let moved = route("10.244.2.0/24", "192.0.2.4");
        let have = Routes::from([a, b]);
        assert_eq!(changes(&have, &Routes::from([a, moved])), (vec![], Routes::from([moved])));
        assert_eq!(changes(&have, &Routes::from([b])), (vec![a.0], Routes::new()));
    }
}
