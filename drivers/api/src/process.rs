//! A record of a process that proves later whether it still is that process: pids are reused, but
//! never with the same start time within one boot.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{DriverError, Result};
use crate::host::Host;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A process, told apart from every other that had or will have its pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessRecord {
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since the host booted (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
    /// The host's boot it lives in.
    pub boot_id: String,
}

impl ProcessRecord {
    /// Records the process that has `pid` now.
    ///
    /// # Errors
    /// [`DriverError::Io`] when there is no such process, [`DriverError::StateDamaged`] when its
    /// record in `/proc` is not understood.
    pub fn of(host: &dyn Host, pid: u32) -> Result<Self> {
        let path = stat_path(pid);
        let stat = host.read_text(&path)?;
        let Some((_, start_ticks)) = parse_stat(&stat) else {
            let reason = "no start time in it".to_owned();
            return Err(DriverError::StateDamaged { path, reason });
        };
        Ok(Self { pid, start_ticks, boot_id: boot_id(host)? })
    }

    /// Whether this very process still runs. One that ended and was not yet collected does not.
    pub fn is_alive(&self, host: &dyn Host) -> bool {
        if boot_id(host).ok().as_deref() != Some(self.boot_id.as_str()) {
            return false;
        }
        let Ok(stat) = host.read_text(&stat_path(self.pid)) else { return false };
        parse_stat(&stat).is_some_and(|(state, start)| {
            start == self.start_ticks && !matches!(state, 'Z' | 'X' | 'x')
        })
    }
}

/// The id of the host's current boot.
fn boot_id(host: &dyn Host) -> Result<String> {
    Ok(host.read_text(Path::new(BOOT_ID))?.trim().to_owned())
}

fn stat_path(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/stat"))
}

/// State and start time. The program's name, field 2, may hold spaces and parentheses, so fields
/// are counted from the last parenthesis.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3, so field 22 is 18 further on after the one just taken.
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{RealHost, ScriptedHost};

    const STAT: &str = "77 (qemu (x) 8) S 1 77 77 0 -1 1 2 3 4 5 6 7 8 9 20 0 4 0 4242 100 200";

    fn host(stat: Option<&str>, boot: &str) -> ScriptedHost {
        let host = ScriptedHost::new();
        host.file(BOOT_ID, boot);
        if let Some(stat) = stat {
            host.file("/proc/77/stat", stat);
        }
        host
    }

    #[test]
    fn a_record_is_void_after_exit_reuse_or_reboot() {
        let record = ProcessRecord::of(&host(Some(STAT), "boot-1\n"), 77).expect("it runs");
        assert_eq!((record.start_ticks, record.boot_id.as_str()), (4242, "boot-1"));

        let reused = STAT.replace("4242", "9999");
        let zombie = STAT.replace(") S", ") Z");
        for (what, host, alive) in [
            ("the same process", host(Some(STAT), "boot-1\n"), true),
            ("it ended", host(None, "boot-1\n"), false),
            ("its pid was given away", host(Some(&reused), "boot-1\n"), false),
            ("it waits to be collected", host(Some(&zombie), "boot-1\n"), false),
            ("the host was restarted", host(Some(STAT), "boot-2\n"), false),
        ] {
            assert_eq!(record.is_alive(&host), alive, "{what}");
        }
    }

    #[test]
    fn this_process_is_alive() {
        let record = ProcessRecord::of(&RealHost, std::process::id()).expect("we run");
        assert!(record.is_alive(&RealHost));
    }
}
