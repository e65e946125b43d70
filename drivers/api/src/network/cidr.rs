//! Reads `--host-only-cidr`: which networks machines may live in, and why the others are refused.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

/// The shortest prefix: 65,534 addresses are enough for any class.
pub(crate) const PREFIX_MIN: u8 = 16;
/// The longest prefix: the host and five machines.
pub(crate) const PREFIX_MAX: u8 = 29;

/// Why a host-only network was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrRefused {
    /// Not an address with a prefix length.
    #[error("`{given}` is not an address with a prefix length, as 192.168.60.1/24 is")]
    NotACidr {
        /// What was given.
        given: String,
    },
    /// An IPv6 network.
    #[error("{given} is an IPv6 network; the host-only network is IPv4")]
    Ipv6 {
        /// What was given.
        given: String,
    },
    /// 127.0.0.0/8.
    #[error("{given} is loopback, which never leaves the host")]
    Loopback {
        /// What was given.
        given: Ipv4Network,
    },
    /// 169.254.0.0/16.
    #[error("{given} is link-local, whose addresses hosts choose for themselves")]
    LinkLocal {
        /// What was given.
        given: Ipv4Network,
    },
    /// 224.0.0.0/4.
    #[error("{given} is multicast, not addresses of machines")]
    Multicast {
        /// What was given.
        given: Ipv4Network,
    },
    /// 0.0.0.0/8, 240.0.0.0/4, documentation, benchmarks, shared address space.
    #[error(
        "{given} is reserved for another purpose; private networks are 10/8, 172.16/12 and 192.168/16"
    )]
    Reserved {
        /// What was given.
        given: Ipv4Network,
    },
    /// Addresses of the Internet.
    #[error("{given} is public; private networks are 10/8, 172.16/12 and 192.168/16")]
    Public {
        /// What was given.
        given: Ipv4Network,
    },
    /// More addresses than a host-only network may have.
    #[error("{given} is too large a network, the prefix length is at least {min}")]
    TooLarge {
        /// What was given.
        given: Ipv4Network,
        /// The shortest prefix.
        min: u8,
    },
    /// Too few addresses for the host and its machines.
    #[error("{given} is too small a network, the prefix length is at most {max}")]
    TooSmall {
        /// What was given.
        given: Ipv4Network,
        /// The longest prefix.
        max: u8,
    },
    /// The network's own address where the host's belongs.
    #[error("{given} is the network's own address; the host's could be {suggestion}")]
    NetworkAddress {
        /// What was given.
        given: Ipv4Network,
        /// The first address a host may have, in the form of the flag.
        suggestion: Ipv4Network,
    },
    /// The broadcast address where the host's belongs.
    #[error("{given} is the network's broadcast address; the host's could be {suggestion}")]
    BroadcastAddress {
        /// What was given.
        given: Ipv4Network,
        /// The first address a host may have, in the form of the flag.
        suggestion: Ipv4Network,
    },
    /// Some of it belongs to somebody else.
    #[error("{given} overlaps with {network} of {by}")]
    Overlaps {
        /// What was given.
        given: Ipv4Network,
        /// What it overlaps with.
        network: Ipv4Network,
        /// Whose that is.
        by: String,
    },
    /// No candidate is left to choose.
    #[error(
        "none of the {tried} private networks that minik chooses from is free; choose one with --host-only-cidr"
    )]
    NoneFree {
        /// How many were looked at.
        tried: usize,
    },
    /// The network has no address left for this machine.
    #[error("{network} has room for {room} machines; this one would be number {wanted}")]
    Full {
        /// The network.
        network: Ipv4Network,
        /// Machines it has room for.
        room: u32,
        /// The machine's place, counted from 1.
        wanted: u32,
    },
}

/// Reads a network with the host's address in it. The result's `ip()` is the host's address.
pub(crate) fn parse(given: &str) -> Result<Ipv4Network, CidrRefused> {
    let not_a_cidr = || CidrRefused::NotACidr { given: given.to_owned() };
    // An address alone would silently become a /32.
    if !given.contains('/') {
        return Err(match given.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => CidrRefused::Ipv6 { given: given.to_owned() },
            Ok(IpAddr::V4(_)) | Err(_) => not_a_cidr(),
        });
    }
    let network = match given.parse::<IpNetwork>() {
        Ok(IpNetwork::V4(network)) => network,
        Ok(IpNetwork::V6(_)) => return Err(CidrRefused::Ipv6 { given: given.to_owned() }),
        Err(_) => return Err(not_a_cidr()),
    };
    check_range(network)?;
    check_size(network)?;
    check_host_address(network)?;
    Ok(network)
}

fn check_range(given: Ipv4Network) -> Result<(), CidrRefused> {
    let ip = given.ip();
    let [a, b, c, _] = ip.octets();
    if ip.is_loopback() {
        Err(CidrRefused::Loopback { given })
    } else if ip.is_link_local() {
        Err(CidrRefused::LinkLocal { given })
    } else if ip.is_multicast() {
        Err(CidrRefused::Multicast { given })
    } else if ip.is_private() {
        Ok(())
    } else if a == 0
        || a >= 240
        || ip.is_documentation()
        || (a == 100 && b & 0xc0 == 64)
        || (a == 198 && b & 0xfe == 18)
        || (a == 192 && b == 0 && c == 0)
    {
        Err(CidrRefused::Reserved { given })
    } else {
        Err(CidrRefused::Public { given })
    }
}

fn check_size(given: Ipv4Network) -> Result<(), CidrRefused> {
    match given.prefix() {
        prefix if prefix < PREFIX_MIN => Err(CidrRefused::TooLarge { given, min: PREFIX_MIN }),
        prefix if prefix > PREFIX_MAX => Err(CidrRefused::TooSmall { given, max: PREFIX_MAX }),
        _ => Ok(()),
    }
}

fn check_host_address(given: Ipv4Network) -> Result<(), CidrRefused> {
    let first = Ipv4Addr::from(u32::from(given.network()) + 1);
    let suggestion = Ipv4Network::new(first, given.prefix()).unwrap_or(given);
    if given.ip() == given.network() {
        Err(CidrRefused::NetworkAddress { given, suggestion })
    } else if given.ip() == given.broadcast() {
        Err(CidrRefused::BroadcastAddress { given, suggestion })
    } else {
        Ok(())
    }
}

/// Networks in files: as text, `192.168.60.0/24`.
pub(crate) mod text {
    use ipnetwork::Ipv4Network;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(of: &Ipv4Network, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(of)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ipv4Network, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("192.168.60.1/24", "192.168.60.1/24"; "the usual form")]
    #[test_case("10.1.2.3/16", "10.1.2.3/16"; "any private host address")]
    #[test_case("172.31.255.254/29", "172.31.255.254/29"; "smallest")]
    #[test_case("192.168.60.1", "`192.168.60.1` is not an address with a prefix length, as 192.168.60.1/24 is"; "no prefix")]
    #[test_case("banana", "`banana` is not an address with a prefix length, as 192.168.60.1/24 is"; "no address")]
    #[test_case("192.168.60.1/33", "`192.168.60.1/33` is not an address with a prefix length, as 192.168.60.1/24 is"; "prefix out of range")]
    #[test_case("fd00::1/64", "fd00::1/64 is an IPv6 network; the host-only network is IPv4"; "ipv6")]
    #[test_case("127.0.0.1/24", "127.0.0.1/24 is loopback, which never leaves the host"; "loopback")]
    #[test_case("169.254.1.1/24", "169.254.1.1/24 is link-local, whose addresses hosts choose for themselves"; "link local")]
    #[test_case("224.0.0.1/24", "224.0.0.1/24 is multicast, not addresses of machines"; "multicast")]
    #[test_case("8.8.8.8/24", "8.8.8.8/24 is public; private networks are 10/8, 172.16/12 and 192.168/16"; "public")]
    #[test_case("172.32.0.1/24", "172.32.0.1/24 is public; private networks are 10/8, 172.16/12 and 192.168/16"; "just after 172.16/12")]
    #[test_case("100.64.0.1/24", "100.64.0.1/24 is reserved for another purpose; private networks are 10/8, 172.16/12 and 192.168/16"; "shared address space")]
    #[test_case("0.0.0.1/24", "0.0.0.1/24 is reserved for another purpose; private networks are 10/8, 172.16/12 and 192.168/16"; "unspecified")]
    #[test_case("10.0.0.1/8", "10.0.0.1/8 is too large a network, the prefix length is at least 16"; "too large")]
    #[test_case("10.0.0.1/30", "10.0.0.1/30 is too small a network, the prefix length is at most 29"; "too small")]
    #[test_case("192.168.60.0/24", "192.168.60.0/24 is the network's own address; the host's could be 192.168.60.1/24"; "network address")]
    #[test_case("192.168.60.255/24", "192.168.60.255/24 is the network's broadcast address; the host's could be 192.168.60.1/24"; "broadcast address")]
    fn host_only_cidr(given: &str, expected: &str) {
        let answer = parse(given).map_or_else(|refused| refused.to_string(), |net| net.to_string());
        assert_eq!(answer, expected);
    }
}
