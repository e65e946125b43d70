//! Hardware addresses derived from names: stable over delete and start, so the guest's network
//! configuration can name them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::stable_hash;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address of interface `nic` of a machine. Its first byte marks it as locally
    /// administered and unicast, so it cannot be that of a card somebody bought.
    pub fn derive(profile: &str, machine: &str, nic: &str) -> Self {
        let hash = stable_hash(&["mac", profile, machine, nic]).to_be_bytes();
        Self([0x52, hash[1], hash[2], hash[3], hash[4], hash[5]])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|part| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok())?)
            .collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| format!("{text} is not a hardware address"))
    }
}

impl Serialize for MacAddress {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_addresses_are_stable_local_and_distinct() {
        let mac = MacAddress::derive("minik", "minik", "hostonly");
        assert_eq!(mac, MacAddress::derive("minik", "minik", "hostonly"));
        assert_eq!(mac.0[0] & 0b11, 0b10, "locally administered, not multicast");
        assert_ne!(mac, MacAddress::derive("minik", "minik", "nat"));
        assert_ne!(mac, MacAddress::derive("minik", "minik-m02", "hostonly"));
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in ["", "52:00", "52:00:00:00:00:zz", "52:00:00:00:00:00:00", "5:0:0:0:0:0"] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
    }
}
