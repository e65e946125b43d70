//! `--cpus`: how many virtual CPUs each machine gets.

use std::str::FromStr;

use minik_driver::HostResources;

use crate::error::SpecError;

/// How many CPUs each machine gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpus {
    /// That many.
    Count(u32),
    /// All of the host.
    Max,
}

impl Default for Cpus {
    fn default() -> Cpus {
        Cpus::Count(2)
    }
}

impl Cpus {
    /// The number on this host.
    pub fn on(self, host: &HostResources) -> u32 {
        match self {
            Cpus::Count(count) => count,
            Cpus::Max => host.cpus,
        }
    }
}

impl FromStr for Cpus {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Cpus, SpecError> {
        if matches!(text, "max" | "no-limit") {
            return Ok(Cpus::Max);
        }
        let refused = || SpecError::setting("cpus", text, "is not a number of CPUs, nor max");
        text.parse().map(Cpus::Count).map_err(|_| refused())
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("2", "2")]
    #[test_case("max", "8")]
    #[test_case("no-limit", "8"; "minikube's other word")]
    #[test_case("2.5", "cpus: `2.5` is not a number of CPUs, nor max"; "part of a CPU")]
    #[test_case("-1", "cpus: `-1` is not a number of CPUs, nor max"; "negative")]
    fn cpus(text: &str, expected: &str) {
        let host =
            HostResources { cpus: 8, memory_mib: 1, memory_available_mib: 1, disk_free_mib: 1 };
        let got = text.parse::<Cpus>().map(|cpus| cpus.on(&host).to_string());
        assert_eq!(got.unwrap_or_else(|err| err.to_string()), expected);
    }
}
