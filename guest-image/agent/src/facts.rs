//! What the host wants to know about this guest.

use std::fs;

use serde::Serialize;

use crate::seed::Seed;

/// The facts, as they stand in `ready` and in the answer to `facts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facts {
    pub(crate) hostname: String,
    /// With prefix length.
    pub(crate) addresses: Vec<String>,
    pub(crate) ssh_host_key: String,
    pub(crate) boot_id: String,
    /// Since the kernel started, in milliseconds.
    pub(crate) uptime_ms: u64,
    pub(crate) machine_id: String,
}

/// Collects the facts; what the seed decided comes from the seed, the rest from the kernel.
pub(crate) fn collect(seed: &Seed) -> Facts {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    Facts {
        hostname: seed.hostname.clone(),
        addresses: seed.nics.iter().flat_map(|nic| nic.addresses.clone()).collect(),
        ssh_host_key: seed.host_key.public.trim().to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id").trim().to_owned(),
        uptime_ms: uptime_ms(&read("/proc/uptime")),
        machine_id: seed.machine_id.clone(),
    }
}

fn uptime_ms(text: &str) -> u64 {
    let (seconds, rest) = text.split_once('.').unwrap_or((text, "0"));
    let hundredths: u64 = rest.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    seconds.trim().parse::<u64>().unwrap_or(0) * 1000 + hundredths * 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_read_in_milliseconds() {
        assert_eq!(uptime_ms("12.34 20.00\n"), 12_340);
        assert_eq!(uptime_ms("0.05 0.01\n"), 50);
    }
}
