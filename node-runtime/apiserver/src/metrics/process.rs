//! What the system knows of this process.

use std::fs;

use super::registry::{Kind, Text};

/// Clock ticks in a second, as `/proc` counts them on all architectures Linux runs on today.
const TICKS: f64 = 100.0;
const PAGE_BYTES: f64 = 4096.0;

/// Writes what can be found out; nothing on systems without `/proc`.
pub(super) fn write(text: &mut Text) {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return };
    let Some(facts) = Facts::parse(&stat) else { return };
    let gauge = Kind::Gauge;
    text.single(
        "process_cpu_seconds_total",
        "Seconds of processor time, of user and system.",
        Kind::Counter,
        facts.cpu_s,
    );
    text.single(
        "process_resident_memory_bytes",
        "Bytes of memory in use.",
        gauge,
        facts.resident_bytes,
    );
    text.single(
        "process_virtual_memory_bytes",
        "Bytes of addresses in use.",
        gauge,
        facts.virtual_bytes,
    );
    if let Some(began) = began_at(facts.started_s) {
        let help = "[STABLE] When the process began, in seconds since 1970.";
        text.single("process_start_time_seconds", help, gauge, began);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let help = "Open file descriptors.";
        text.single("process_open_fds", help, gauge, open.count());
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = files_max(&limits) {
        text.single("process_max_fds", "File descriptors that may be open.", gauge, most);
    }
}

#[derive(Debug, PartialEq)]
struct Facts {
    cpu_s: f64,
    /// After the system began.
    started_s: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Facts {
    fn parse(stat: &str) -> Option<Facts> {
        // The name, in parentheses, may contain anything.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered from one in proc(5), and the third is the first here.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Facts {
            cpu_s: (field(14)? + field(15)?) / TICKS,
            started_s: field(22)? / TICKS,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * PAGE_BYTES,
        })
    }
}

fn began_at(started_s: f64) -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + started_s)
}

fn files_max(limits: &str) -> Option<&str> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        let stat = "77 (a) (b c) S 1 77 77 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 4 0 1200 8192000 \
                    300 18446744073709551615 1 1 0";
        let expected = Facts {
            cpu_s: 3.0,
            started_s: 12.0,
            virtual_bytes: 8_192_000.0,
            resident_bytes: 1_228_800.0,
        };
        assert_eq!(Facts::parse(stat), Some(expected));
        let limits = "Limit  Soft  Hard  Units\nMax open files            1024    4096    files\n";
        assert_eq!(files_max(limits), Some("1024"));
        assert_eq!(Facts::parse("nonsense"), None);
    }
}
