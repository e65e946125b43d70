//! Whether a machine may have the CPUs, memory and disk that were asked for.

/// Fewest virtual CPUs. One is enough for the node; builds and several pods want two.
pub const CPUS_MIN: u32 = 1;
/// Least memory in MiB a node starts with: kernel, systemd, containerd and the node runtime, and
/// some room for small pods.
pub const MEMORY_MIN_MIB: u64 = 768;
/// Memory in MiB below which a node runs but is warned about.
pub const MEMORY_WANTED_MIB: u64 = 1536;
/// Smallest data disk in MiB: the writable layer, images and pods.
pub const DISK_MIN_MIB: u64 = 2000;
/// Free room in MiB a host's disk must have when a machine is made, as its disk grows with use.
const DISK_FREE_MIN_MIB: u64 = 512;

/// What is asked for one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceRequest {
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Size of the data disk in MiB.
    pub disk_mib: u64,
}

/// What the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostResources {
    /// CPUs this process may use.
    pub cpus: u32,
    /// All memory in MiB.
    pub memory_mib: u64,
    /// Memory in MiB that can be had now without swapping.
    pub memory_available_mib: u64,
    /// Free room in MiB where the machine's disk will be.
    pub disk_free_mib: u64,
}

/// Why resources were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceRefused {
    /// Fewer CPUs than a node needs.
    #[error("{asked} CPUs are too few, a node needs at least {min}")]
    CpusTooFew {
        /// What was asked for.
        asked: u32,
        /// The least.
        min: u32,
    },
    /// More CPUs than the host has.
    #[error("{asked} CPUs were asked for, but this host has {have}")]
    CpusTooMany {
        /// What was asked for.
        asked: u32,
        /// What the host has.
        have: u32,
    },
    /// Less memory than a node needs.
    #[error("{asked} MiB of memory are too little, a node needs at least {min} MiB")]
    MemoryTooLittle {
        /// What was asked for, in MiB.
        asked: u64,
        /// The least, in MiB.
        min: u64,
    },
    /// More memory than the host has.
    #[error("{asked} MiB of memory were asked for, but this host has {have} MiB")]
    MemoryTooMuch {
        /// What was asked for, in MiB.
        asked: u64,
        /// What the host has, in MiB.
        have: u64,
    },
    /// A smaller disk than a node needs.
    #[error("a disk of {asked} MiB is too small, a node needs at least {min} MiB")]
    DiskTooSmall {
        /// What was asked for, in MiB.
        asked: u64,
        /// The least, in MiB.
        min: u64,
    },
    /// The host's disk is as good as full.
    #[error("{free} MiB are free on the disk, a machine needs at least {min} MiB to begin with")]
    DiskNotFree {
        /// Free room, in MiB.
        free: u64,
        /// The least, in MiB.
        min: u64,
    },
}

/// What may be had, but will not be pleasant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceWarning {
    /// The node will be short of memory.
    MemoryTight {
        /// What was asked for, in MiB.
        asked: u64,
        /// What a node wants, in MiB.
        wanted: u64,
    },
    /// The host does not have this much memory free now.
    MemoryNotAvailable {
        /// What was asked for, in MiB.
        asked: u64,
        /// What is available, in MiB.
        available: u64,
    },
    /// The disk can grow beyond the room the host has.
    DiskOvercommitted {
        /// What was asked for, in MiB.
        asked: u64,
        /// Free room, in MiB.
        free: u64,
    },
}

/// Checks what is asked for one machine against what a node needs and what the host has.
///
/// # Errors
/// The first that cannot be: CPUs, then memory, then disk.
pub fn check_resources(
    asked: ResourceRequest,
    host: HostResources,
) -> Result<Vec<ResourceWarning>, ResourceRefused> {
    let ResourceRequest { cpus, memory_mib: memory, disk_mib: disk } = asked;
    if cpus < CPUS_MIN {
        return Err(ResourceRefused::CpusTooFew { asked: cpus, min: CPUS_MIN });
    }
    if cpus > host.cpus {
        return Err(ResourceRefused::CpusTooMany { asked: cpus, have: host.cpus });
    }
    if memory < MEMORY_MIN_MIB {
        return Err(ResourceRefused::MemoryTooLittle { asked: memory, min: MEMORY_MIN_MIB });
    }
    if memory > host.memory_mib {
        return Err(ResourceRefused::MemoryTooMuch { asked: memory, have: host.memory_mib });
    }
    if disk < DISK_MIN_MIB {
        return Err(ResourceRefused::DiskTooSmall { asked: disk, min: DISK_MIN_MIB });
    }
    if host.disk_free_mib < DISK_FREE_MIN_MIB {
        let (free, min) = (host.disk_free_mib, DISK_FREE_MIN_MIB);
        return Err(ResourceRefused::DiskNotFree { free, min });
    }
    Ok(warnings(asked, host))
}

fn warnings(asked: ResourceRequest, host: HostResources) -> Vec<ResourceWarning> {
    let ResourceRequest { memory_mib: memory, disk_mib: disk, .. } = asked;
    let mut warnings = Vec::new();
    if memory < MEMORY_WANTED_MIB {
        let wanted = MEMORY_WANTED_MIB;
        warnings.push(ResourceWarning::MemoryTight { asked: memory, wanted });
    }
    if memory > host.memory_available_mib {
        let available = host.memory_available_mib;
        warnings.push(ResourceWarning::MemoryNotAvailable { asked: memory, available });
    }
    if disk > host.disk_free_mib {
        let free = host.disk_free_mib;
        warnings.push(ResourceWarning::DiskOvercommitted { asked: disk, free });
    }
    warnings
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    const HOST: HostResources = HostResources {
        cpus: 4,
        memory_mib: 8000,
        memory_available_mib: 4000,
        disk_free_mib: 30_000,
    };

    #[test_case(2, 2000, 20_000, "[]"; "usual")]
    #[test_case(0, 2000, 20_000, "0 CPUs are too few, a node needs at least 1"; "no cpu")]
    #[test_case(5, 2000, 20_000, "5 CPUs were asked for, but this host has 4"; "too many cpus")]
    #[test_case(1, 500, 20_000, "500 MiB of memory are too little, a node needs at least 768 MiB"; "little memory")]
    #[test_case(1, 9000, 20_000, "9000 MiB of memory were asked for, but this host has 8000 MiB"; "much memory")]
    #[test_case(1, 2000, 1999, "a disk of 1999 MiB is too small, a node needs at least 2000 MiB"; "small disk")]
    #[test_case(1, 1000, 20_000, "[MemoryTight { asked: 1000, wanted: 1536 }]"; "tight memory")]
    #[test_case(1, 5000, 40_000, "[MemoryNotAvailable { asked: 5000, available: 4000 }, DiskOvercommitted { asked: 40000, free: 30000 }]"; "more than is free now")]
    fn resources(cpus: u32, memory_mib: u64, disk_mib: u64, expected: &str) {
        let answer = check_resources(ResourceRequest { cpus, memory_mib, disk_mib }, HOST);
        assert_eq!(answer.map_or_else(|e| e.to_string(), |w| format!("{w:?}")), expected);
    }

    #[test]
    fn a_full_host_disk_is_refused() {
        let asked = ResourceRequest { cpus: 1, memory_mib: 2000, disk_mib: 20_000 };
        let host = HostResources { disk_free_mib: 100, ..HOST };
        let answer = check_resources(asked, host);
        assert_eq!(answer, Err(ResourceRefused::DiskNotFree { free: 100, min: 512 }));
    }
}
