//! Whether the machine runs short of something.

use std::fs;
use std::path::Path;

use super::facts::memory_field;

/// Less free memory than this is too little.
const MEMORY_BYTES_MIN: u64 = 100 << 20;
/// Less of the disk free than one part in this many is too little.
const DISK_PART_MIN: u64 = 10;
/// Fewer of the file entries free than one part in this many is too little.
const INODES_PART_MIN: u64 = 20;

/// What the machine is short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pressure {
    pub(super) memory: bool,
    pub(super) disk: bool,
    pub(super) pids: bool,
}

/// Measures now.
pub(super) fn measure(root: &Path) -> Pressure {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let available = memory_field(&read("/proc/meminfo"), "MemAvailable");
    let disk = rustix::fs::statvfs(root);
    let pids_max: Option<u64> = read("/proc/sys/kernel/pid_max").trim().parse().ok();
    let pids = processes(&read("/proc/loadavg"));
    Pressure {
        memory: available.is_some_and(|bytes| bytes < MEMORY_BYTES_MIN),
        disk: disk.is_ok_and(|fs| {
            fs.f_bavail < fs.f_blocks / DISK_PART_MIN
                || (fs.f_files > 0 && fs.f_favail < fs.f_files / INODES_PART_MIN)
        }),
        pids: pids.zip(pids_max).is_some_and(|(now, max)| now > max / 10 * 9),
    }
}

/// The number of threads, from `/proc/loadavg`: `0.1 0.2 0.3 RUNNING/ALL LAST`.
fn processes(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads() {
        assert_eq!(processes("0.20 0.18 0.12 1/80 11206\n"), Some(80));
        assert_eq!(processes(""), None);
    }
}
