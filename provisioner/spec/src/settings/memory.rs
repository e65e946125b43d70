//! `--memory`: how much memory each machine gets.

use std::str::FromStr;

use minik_driver::HostResources;

use super::size::parse_mib;
use crate::error::SpecError;

/// Left to the host when a machine gets all it can: 1 GiB.
const HOST_KEEPS_MIB: u64 = 1024;
/// Bounds of what a cluster gets when nothing is said.
const DEFAULT_MIB: std::ops::RangeInclusive<u64> = 2048..=6144;

/// How much memory each machine gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// That many MiB.
    Mib(u64),
    /// As much as the host can spare.
    Max,
}

impl Memory {
    /// The amount in MiB on this host.
    pub fn on(self, host: &HostResources) -> u64 {
        match self {
            Memory::Mib(mib) => mib,
            Memory::Max => host.memory_mib.saturating_sub(HOST_KEEPS_MIB),
        }
    }
}

/// What each of `nodes` machines gets when nothing is said: a quarter of the host's memory, in steps
/// of 100 MiB and within 2 to 6 GiB, divided by the number of machines, but never less than 1.5 GiB.
pub fn default_memory_mib(host: &HostResources, nodes: u32) -> u64 {
    let quarter = host.memory_mib / 4 / 100 * 100;
    let cluster = quarter.clamp(*DEFAULT_MIB.start(), *DEFAULT_MIB.end());
    (cluster / u64::from(nodes.max(1))).max(minik_driver::MEMORY_WANTED_MIB)
}

impl FromStr for Memory {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Memory, SpecError> {
        if matches!(text, "max" | "no-limit") {
            return Ok(Memory::Max);
        }
        let reason = "is not a size like 4g, 4096mb or max";
        parse_mib(text).map(Memory::Mib).ok_or_else(|| SpecError::setting("memory", text, reason))
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn host(memory_mib: u64) -> HostResources {
        HostResources { cpus: 4, memory_mib, memory_available_mib: memory_mib, disk_free_mib: 1 }
    }

    #[test_case("4g", "4096"; "a size")]
    #[test_case("max", "7168"; "max leaves a GiB to the host")]
    #[test_case("lots", "memory: `lots` is not a size like 4g, 4096mb or max"; "nonsense")]
    fn memory(text: &str, expected: &str) {
        let got = text.parse::<Memory>().map(|memory| memory.on(&host(8192)).to_string());
        assert_eq!(got.unwrap_or_else(|err| err.to_string()), expected);
    }

    #[test_case(4096, 1, 2048; "small host")]
    #[test_case(16000, 1, 4000; "quarter")]
    #[test_case(65536, 1, 6144; "large host")]
    #[test_case(65536, 3, 2048; "three share")]
    #[test_case(4096, 3, 1536; "never too little for a node")]
    fn defaults(host_mib: u64, nodes: u32, expected: u64) {
        assert_eq!(default_memory_mib(&host(host_mib), nodes), expected);
    }
}
