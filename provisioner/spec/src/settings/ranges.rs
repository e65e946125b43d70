//! `--service-cluster-ip-range`: the range of ClusterIPs, checked against the pods' range.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use crate::error::SpecError;

const SETTING: &str = "service-cluster-ip-range";

/// A network in CIDR form; `10.96.0.1/12` is taken as its network.
pub(crate) fn parse_range(text: &str) -> Result<Ipv4Network, SpecError> {
    let network: IpNetwork = text
        .parse()
        .map_err(|_| SpecError::setting(SETTING, text, "is not a range like 10.96.0.0/12"))?;
    let IpNetwork::V4(network) = network else {
        return Err(SpecError::setting(SETTING, text, "is an IPv6 range; services have IPv4 here"));
    };
    if !(8..=24).contains(&network.prefix()) {
        return Err(SpecError::setting(SETTING, text, "must be between /8 and /24"));
    }
    if !network.ip().is_private() {
        return Err(SpecError::setting(SETTING, text, "is not a private range"));
    }
    Ok(Ipv4Network::new(network.network(), network.prefix()).unwrap_or(network))
}

/// Services and pods must not share addresses.
pub(crate) fn check_ranges(services: Ipv4Network, pods: Ipv4Network) -> Result<(), SpecError> {
    if services.overlaps(pods) {
        let reason = format!("overlaps the pods' range {pods}");
        return Err(SpecError::setting(SETTING, services.to_string(), reason));
    }
    Ok(())
}

/// The `n`-th address of a range: 1 is the `kubernetes` service, 10 the DNS service.
pub(crate) fn nth(range: Ipv4Network, n: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(range.network()).wrapping_add(n)).into()
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("10.96.0.0/12", "10.96.0.0/12 10.96.0.10")]
    #[test_case("10.96.0.1/12", "10.96.0.0/12 10.96.0.10"; "taken as its network")]
    #[test_case("172.20.0.0/16", "172.20.0.0/16 172.20.0.10")]
    #[test_case("10.244.8.0/24", "service-cluster-ip-range: `10.244.8.0/24` overlaps the pods' range 10.244.0.0/16"; "overlap")]
    #[test_case("10.96.0.0/30", "service-cluster-ip-range: `10.96.0.0/30` must be between /8 and /24"; "too small")]
    #[test_case("8.8.0.0/16", "service-cluster-ip-range: `8.8.0.0/16` is not a private range"; "public")]
    #[test_case("10.96", "service-cluster-ip-range: `10.96` is not a range like 10.96.0.0/12"; "nonsense")]
    fn service_ranges(text: &str, expected: &str) {
        let pods = "10.244.0.0/16".parse().unwrap();
        let got = parse_range(text).and_then(|range| {
            check_ranges(range, pods)?;
            Ok(format!("{range} {}", nth(range, 10)))
        });
        assert_eq!(got.unwrap_or_else(|err| err.to_string()), expected);
    }
}
