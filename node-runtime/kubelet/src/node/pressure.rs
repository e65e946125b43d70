//! Whether the machine runs short of something.

use std::fs;
use std::path::Path;

use rustix::fs::StatVfs;

use super::facts::memory_field;
use crate::config::EvictionHard;

/// What the machine is short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pressure {
    pub(super) memory: bool,
    pub(super) disk: bool,
    pub(super) pids: bool,
}

/// Measures now, against `limits`.
pub(super) fn measure(root: &Path, limits: &EvictionHard) -> Pressure {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let available = memory_field(&read("/proc/meminfo"), "MemAvailable");
    let disk = rustix::fs::statvfs(root);
    let pids_max: Option<u64> = read("/proc/sys/kernel/pid_max").trim().parse().ok();
    let pids = processes(&read("/proc/loadavg"));
    Pressure {
        memory: available.is_some_and(|bytes| bytes < limits.memory_available),
        disk: disk.is_ok_and(|disk| is_short(&disk, limits)),
        pids: pids.zip(pids_max).is_some_and(|(now, max)| now > max / 10 * 9),
    }
}

/// Whether room or file entries are short. File systems without a fixed number of entries say 0.
fn is_short(disk: &StatVfs, limits: &EvictionHard) -> bool {
    let below = |free: u64, all: u64, percent: u64| free < all / 100 * percent;
    below(disk.f_bavail, disk.f_blocks, limits.nodefs_available)
        || below(disk.f_favail, disk.f_files, limits.nodefs_inodes_free)
}

/// The number of threads, from `/proc/loadavg`: `0.1 0.2 0.3 RUNNING/ALL LAST`.
fn processes(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_short_of_room_or_of_entries() {
        let disk = |free, entries_free| StatVfs {
            f_bsize: 4096,
            f_frsize: 4096,
            f_blocks: 1000,
            f_bfree: free,
            f_bavail: free,
            f_files: 1000,
            f_ffree: entries_free,
            f_favail: entries_free,
            f_fsid: 0,
            f_flag: rustix::fs::StatVfsMountFlags::empty(),
            f_namemax: 255,
        };
        let usual = EvictionHard::default();
        assert!(!is_short(&disk(100, 50), &usual));
        assert!(is_short(&disk(99, 50), &usual));
        assert!(is_short(&disk(100, 49), &usual));
        assert!(!is_short(&disk(0, 0), &EvictionHard::NEVER));
    }

    #[test]
    fn threads() {
        assert_eq!(processes("0.20 0.18 0.12 1/80 11206\n"), Some(80));
        assert_eq!(processes(""), None);
    }
}
