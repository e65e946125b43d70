//! Chooses the host-only network and a machine's addresses in it. Pure: what is in use is given.

use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;

use super::cidr::{self, CidrRefused};
use super::{InUse, MacAddress, NAT_NETWORK, NetworkPlan, NetworkRequest};

/// Third octets of 192.168.x/24 that minik does not choose by itself, because another program or a
/// common router does: other local Kubernetes tools (39, 49, 50, 58, 59, 61 and their next steps),
/// VirtualBox (56), libvirt (122, 124), phones and Windows sharing a connection (42, 43, 49, 137),
/// macOS and Docker Desktop (64, 65), Lima (104 to 106), routers (0 to 2, 8, 10, 11, 50, 68, 86,
/// 88, 100, 178, 188, 254).
const TAKEN_BY_HABIT: [u8; 24] = [
    61, 64, 65, 67, 68, 72, 76, 83, 85, 86, 88, 94, 99, 100, 103, 104, 105, 106, 122, 124, 137,
    178, 188, 254,
];
/// Where the choice begins: 60 to 63 also are in the range VirtualBox allows by default.
const FIRST: u8 = 60;

/// Plans the addresses of one machine.
///
/// With a CIDR, that one is checked; without, the first candidate that overlaps with nothing in
/// `in_use` is taken: 192.168.60/24, 62, 63, 66 … 253, then 172.16.0/24 … 172.31.255/24. Machine
/// number `index` gets the `index`-th address of the network, the host's left out.
///
/// `in_use` should hold the host's networks without the profile's own bridge
/// ([`super::networks_of_host`]), the other profiles' networks, and the cluster's ranges.
///
/// # Errors
/// Each reason to refuse is a variant of its own.
pub fn plan_network(
    request: &NetworkRequest<'_>,
    in_use: &[InUse],
) -> Result<NetworkPlan, CidrRefused> {
    let host = match request.cidr {
        Some(given) => free(cidr::parse(given)?, in_use)?,
        None => choose(in_use)?,
    };
    Ok(NetworkPlan {
        mode: request.mode,
        cidr: own_network(host),
        host_address: host.ip(),
        address: machine_address(host, request.index)?,
        mac_nat: MacAddress::derive(request.profile, request.machine, "nat"),
        mac_hostonly: MacAddress::derive(request.profile, request.machine, "hostonly"),
    })
}

fn choose(in_use: &[InUse]) -> Result<Ipv4Network, CidrRefused> {
    let habit = |x: &u8| !TAKEN_BY_HABIT.contains(x);
    let class_c = (FIRST..=253).filter(habit).map(|x| Ipv4Addr::new(192, 168, x, 1));
    let class_b = (16..=31).flat_map(|b| (0..=255).map(move |c| Ipv4Addr::new(172, b, c, 1)));
    let mut tried = 0;
    for address in class_c.chain(class_b) {
        tried += 1;
        // A /24 is always a valid prefix.
        let Ok(candidate) = Ipv4Network::new(address, 24) else { continue };
        if let Ok(candidate) = free(candidate, in_use) {
            return Ok(candidate);
        }
    }
    Err(CidrRefused::NoneFree { tried })
}

fn free(given: Ipv4Network, in_use: &[InUse]) -> Result<Ipv4Network, CidrRefused> {
    let nat = Ipv4Network::new(NAT_NETWORK.0, NAT_NETWORK.1)
        .map(|network| InUse { network, by: "the machine's way out".to_owned() });
    match in_use.iter().chain(nat.iter()).find(|used| used.network.overlaps(given)) {
        Some(used) => {
            Err(CidrRefused::Overlaps { given, network: used.network, by: used.by.clone() })
        }
        None => Ok(given),
    }
}

fn own_network(of: Ipv4Network) -> Ipv4Network {
    Ipv4Network::new(of.network(), of.prefix()).unwrap_or(of)
}

fn machine_address(host: Ipv4Network, index: u32) -> Result<Ipv4Addr, CidrRefused> {
    let network = u32::from(host.network());
    // Without the network's own, the broadcast and the host's address.
    let room = (u32::from(host.broadcast()) - network).saturating_sub(2);
    if index >= room {
        return Err(CidrRefused::Full { network: own_network(host), room, wanted: index + 1 });
    }
    let nth = network + 1 + index;
    let skip = u32::from(nth >= u32::from(host.ip()));
    Ok(Ipv4Addr::from(nth + skip))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;
    use crate::network::NetworkMode;

    fn request(cidr: Option<&str>, index: u32) -> NetworkRequest<'_> {
        let mode = NetworkMode::Tap;
        NetworkRequest { profile: "dev", machine: "dev", index, mode, cidr }
    }

    fn used(list: &[(&str, &str)]) -> Vec<InUse> {
        list.iter()
            .map(|(network, by)| InUse {
                network: network.parse().expect("the test writes networks"),
                by: (*by).to_owned(),
            })
            .collect()
    }

    fn answer(cidr: Option<&str>, index: u32, in_use: &[(&str, &str)]) -> String {
        match plan_network(&request(cidr, index), &used(in_use)) {
            Ok(plan) => {
                format!("{} host {} machine {}", plan.cidr, plan.host_address, plan.address)
            }
            Err(refused) => refused.to_string(),
        }
    }

    #[test_case(&[], "192.168.60.0/24 host 192.168.60.1 machine 192.168.60.2"; "the first")]
    #[test_case(&[("192.168.60.0/24", "profile a")], "192.168.62.0/24 host 192.168.62.1 machine 192.168.62.2"; "the next, past a habit")]
    #[test_case(&[("192.168.0.0/16", "interface tun0")], "172.16.0.0/24 host 172.16.0.1 machine 172.16.0.2"; "192.168 is all taken")]
    #[test_case(&[("192.168.0.0/16", "a"), ("172.16.0.0/15", "b")], "172.18.0.0/24 host 172.18.0.1 machine 172.18.0.2"; "and some of 172.16")]
    #[test_case(&[("192.168.0.0/16", "a"), ("172.16.0.0/12", "b")], "none of the 4267 private networks that minik chooses from is free; choose one with --host-only-cidr"; "nothing left")]
    fn chosen(in_use: &[(&str, &str)], expected: &str) {
        assert_eq!(answer(None, 0, in_use), expected);
    }

    #[test_case("10.7.0.1/24", 0, "10.7.0.0/24 host 10.7.0.1 machine 10.7.0.2"; "first machine")]
    #[test_case("10.7.0.1/24", 2, "10.7.0.0/24 host 10.7.0.1 machine 10.7.0.4"; "third machine")]
    #[test_case("10.7.0.2/24", 0, "10.7.0.0/24 host 10.7.0.2 machine 10.7.0.1"; "before the host")]
    #[test_case("10.7.0.2/24", 1, "10.7.0.0/24 host 10.7.0.2 machine 10.7.0.3"; "after the host")]
    #[test_case("10.7.0.1/29", 4, "10.7.0.0/29 host 10.7.0.1 machine 10.7.0.6"; "the last of a small network")]
    #[test_case("10.7.0.1/29", 5, "10.7.0.0/29 has room for 5 machines; this one would be number 6"; "full")]
    #[test_case("10.0.2.1/24", 0, "10.0.2.1/24 overlaps with 10.0.2.0/24 of the machine's way out"; "the guest's other network")]
    #[test_case("192.168.7.1/24", 0, "192.168.7.1/24 overlaps with 192.168.0.0/20 of interface eth0"; "a route of the host")]
    #[test_case("127.0.0.1/8", 0, "127.0.0.1/8 is loopback, which never leaves the host"; "refused before overlaps")]
    fn given(cidr: &str, index: u32, expected: &str) {
        assert_eq!(answer(Some(cidr), index, &[("192.168.0.0/20", "interface eth0")]), expected);
    }

    #[test]
    fn a_plan_survives_its_file() {
        let plan = plan_network(&request(None, 0), &[]).expect("nothing is in use");
        let text = serde_json::to_string(&plan).expect("plain data");
        assert!(text.contains(r#""cidr":"192.168.60.0/24""#), "{text}");
        assert_eq!(serde_json::from_str::<NetworkPlan>(&text).ok(), Some(plan));
    }
}
