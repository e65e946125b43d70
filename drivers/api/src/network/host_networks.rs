//! Which IPv4 networks the host already has, from `ip` or, without it, from `/proc/net/route`.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use ipnetwork::Ipv4Network;
use serde_json::Value;

use super::InUse;
use crate::error::Result;
use crate::host::{Host, Tool};

/// Shorter prefixes are ways to everywhere (a default route, a VPN's two halves of it), not
/// networks one could overlap with.
const PREFIX_OF_A_NETWORK: u8 = 8;
const DEADLINE: Duration = Duration::from_secs(10);

/// The networks of the host's routes and interfaces, except those of the device `own` (the
/// profile's own bridge, see [`super::bridge_name`]).
///
/// # Errors
/// When neither `ip` answers nor `/proc/net/route` can be read.
pub fn networks_of_host(host: &dyn Host, own: &str) -> Result<Vec<InUse>> {
    let ask = |what: &str| {
        let tool = Tool::new("ip").args(["-4", "-j", what, "show"]).deadline(DEADLINE);
        host.run(&tool).ok().and_then(|out| serde_json::from_slice::<Value>(&out.stdout).ok())
    };
    let mut found = match (ask("route"), ask("addr")) {
        (Some(routes), Some(addresses)) => {
            let mut found = from_routes(&routes);
            found.extend(from_addresses(&addresses));
            found
        }
        _ => from_proc(&host.read_text(Path::new("/proc/net/route"))?),
    };
    found.retain(|(network, device)| device != own && network.prefix() >= PREFIX_OF_A_NETWORK);
    found.sort();
    found.dedup();
    Ok(found
        .into_iter()
        .map(|(network, device)| InUse { network, by: format!("interface {device}") })
        .collect())
}

type Found = Vec<(Ipv4Network, String)>;

fn from_routes(routes: &Value) -> Found {
    let network = |route: &Value| {
        let to = route["dst"].as_str()?;
        // A single host is written without a prefix length, and `default` is no network.
        Some((to.parse().ok()?, route["dev"].as_str().unwrap_or("lo").to_owned()))
    };
    routes.as_array().into_iter().flatten().filter_map(network).collect()
}

fn from_addresses(links: &Value) -> Found {
    let mut found = Vec::new();
    for link in links.as_array().into_iter().flatten() {
        let device = link["ifname"].as_str().unwrap_or("?");
        for address in link["addr_info"].as_array().into_iter().flatten() {
            let ip = address["local"].as_str().and_then(|ip| ip.parse::<Ipv4Addr>().ok());
            let prefix = address["prefixlen"].as_u64().and_then(|prefix| u8::try_from(prefix).ok());
            let (Some(ip), Some(prefix)) = (ip, prefix) else { continue };
            found.extend(whole(ip, prefix).map(|network| (network, device.to_owned())));
        }
    }
    found
}

/// Columns: interface, destination and gateway as little-endian hex, …, the mask as the eighth.
fn from_proc(table: &str) -> Found {
    let hex = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
    let line = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let destination = Ipv4Addr::from(hex(columns.get(1)?)?);
        let mask = hex(columns.get(7)?)?;
        let prefix = u8::try_from(mask.leading_ones()).ok()?;
        Some((whole(destination, prefix)?, (*columns.first()?).to_owned()))
    };
    table.lines().skip(1).filter_map(line).collect()
}

fn whole(ip: Ipv4Addr, prefix: u8) -> Option<Ipv4Network> {
    let network = Ipv4Network::new(ip, prefix).ok()?;
    Ipv4Network::new(network.network(), prefix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::ScriptedHost;

    const ROUTES: &str = r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]},
        {"dst":"0.0.0.0/1","dev":"tun0","flags":[]},
        {"dst":"192.168.60.0/24","dev":"mkown","flags":["linkdown"]},
        {"dst":"10.9.8.7","dev":"tun0","flags":[]},
        {"dst":"192.168.1.0/24","dev":"eth0","flags":[]}]"#;
    const ADDRESSES: &str = r#"[{"ifname":"lo","addr_info":[{"local":"127.0.0.1","prefixlen":8}]},
        {"ifname":"eth0","addr_info":[{"local":"192.168.1.5","prefixlen":24}]},
        {"ifname":"virbr0","addr_info":[{"local":"192.168.122.1","prefixlen":24}]}]"#;
    const PROC: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
        eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\n\
        eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n";

    fn text(host: &ScriptedHost) -> Vec<String> {
        let found = networks_of_host(host, "mkown").expect("one of both answers");
        found.into_iter().map(|used| format!("{} {}", used.network, used.by)).collect()
    }

    #[test]
    fn routes_and_addresses_without_ways_to_everywhere_and_our_own() {
        let host = ScriptedHost::new();
        host.answer("ip -4 -j route show", ROUTES);
        host.answer("ip -4 -j addr show", ADDRESSES);
        assert_eq!(
            text(&host),
            [
                "10.9.8.7/32 interface tun0",
                "127.0.0.0/8 interface lo",
                "192.168.1.0/24 interface eth0",
                "192.168.122.0/24 interface virbr0",
            ]
        );
    }

    #[test]
    fn without_the_tool_the_kernel_is_read() {
        let host = ScriptedHost::new();
        host.file("/proc/net/route", PROC);
        assert_eq!(text(&host), ["192.168.1.0/24 interface eth0"]);
    }
}
