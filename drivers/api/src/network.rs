//! The host-only network: who gets which address, decided before anything runs (no lease to wait
//! for), so that the seed, the certificates and `minik ip` agree and stay the same over restarts.

mod cidr;
mod host_networks;
mod mac;
mod plan;

use std::fmt;
use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;
use serde::{Deserialize, Serialize};

use crate::hash::stable_hash;

pub use cidr::CidrRefused;
pub use host_networks::networks_of_host;
pub use mac::MacAddress;
pub use plan::plan_network;

/// The network of the guest's first, outgoing interface. Every machine has its own, invisible from
/// outside; the host-only network must not overlap with it, as the guest is on both.
pub const NAT_NETWORK: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 2, 0), 24);

/// How the host reaches machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// By their own addresses, over a bridge and a tap device. Needs the right to make these.
    Tap,
    /// By forwards on loopback. Needs no rights at all.
    User,
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tap => "tap",
            Self::User => "user",
        })
    }
}

/// What a plan is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRequest<'a> {
    /// The profile, whose machines share one network.
    pub profile: &'a str,
    /// The machine's name.
    pub machine: &'a str,
    /// The machine's place in the profile, from 0. Fixes its address.
    pub index: u32,
    /// How it will be reached.
    pub mode: NetworkMode,
    /// The host's address and the prefix length, as `192.168.60.1/24`; `None` chooses.
    pub cidr: Option<&'a str>,
}

/// The addresses of one machine. Stored in the profile; the same in both modes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPlan {
    /// How the host reaches the machine.
    pub mode: NetworkMode,
    /// The host-only network; its `ip()` is the network's own address.
    #[serde(with = "cidr::text")]
    pub cidr: Ipv4Network,
    /// The host's address in it.
    pub host_address: Ipv4Addr,
    /// The machine's address in it.
    pub address: Ipv4Addr,
    /// Hardware address of the outgoing interface.
    pub mac_nat: MacAddress,
    /// Hardware address of the host-only interface.
    pub mac_hostonly: MacAddress,
}

/// A network that a plan must not overlap with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// The network.
    pub network: Ipv4Network,
    /// Whose it is, to be read in "overlaps with …": `interface eth0`, `profile dev`.
    pub by: String,
}

/// The name of a profile's bridge on the host: at most 15 bytes, the same on every start.
pub fn bridge_name(profile: &str) -> String {
    format!("mk{:010x}", stable_hash(&["bridge", profile]) >> 24)
}

/// The name of a machine's tap device on the host.
pub fn tap_name(profile: &str, machine: &str) -> String {
    format!("mt{:010x}", stable_hash(&["tap", profile, machine]) >> 24)
}
