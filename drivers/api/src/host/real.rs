//! The host we really run on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{End, FileFacts, Host, OUTPUT_LINES, Tool, ToolOutput, last_lines};
use crate::error::{DriverError, Result};
use crate::process::ProcessRecord;
use crate::resources::HostResources;

/// After a tool ended, how long its output may stay open: a process it left behind may hold it.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);
/// More than this of a tool's output is dropped.
const OUTPUT_MAX: u64 = 4 << 20;

/// The host we really run on.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealHost;

impl Host for RealHost {
    fn run_any(&self, tool: &Tool) -> Result<ToolOutput> {
        let log_start = tool.log.as_deref().and_then(|log| self.facts(log)).map_or(0, |f| f.size);
        let mut child = spawn(tool)?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let said = || match &tool.log {
            Some(log) => read_from(log, log_start),
            None => stderr.recv_timeout(OUTPUT_GRACE).unwrap_or_default(),
        };
        let io = |source| DriverError::io("wait for", &tool.program, source);
        let pidfd = open_process(child.id()).map_err(|e| io(e.into()))?;
        if !readable_within(&pidfd, tool.deadline).map_err(io)? {
            child.kill().map_err(io)?;
            child.wait().map_err(io)?;
            let output = last_lines(&String::from_utf8_lossy(&said()), OUTPUT_LINES);
            let command = tool.to_string();
            return Err(DriverError::ToolTimedOut { command, waited: tool.deadline, output });
        }
        let exit = child.wait().map_err(io)?.code();
        let stdout = stdout.recv_timeout(OUTPUT_GRACE).unwrap_or_default();
        Ok(ToolOutput { exit, stdout, stderr: said() })
    }

    fn find_tools(&self, name: &str) -> Vec<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // A user's PATH often lacks the folders where `ip` lives.
        let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
        let mut found: Vec<PathBuf> = Vec::new();
        for folder in std::env::split_paths(&path).chain(system) {
            let file = folder.join(name);
            let runs = fs::metadata(&file).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0);
            if runs && !found.contains(&file) {
                found.push(file);
            }
        }
        found
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        fs::read(path).map_err(|e| DriverError::io("read", path, e))
    }

    fn write_atomic(&self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        replace(path, content, mode).map_err(|e| DriverError::io("write", path, e))
    }

    fn make_dir(&self, path: &Path, mode: u32) -> Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        made.map_err(|e| DriverError::io("make folder", path, e))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|e| DriverError::io("rename", from, e))
    }

    fn facts(&self, path: &Path) -> Option<FileFacts> {
        let meta = fs::metadata(path).ok()?;
        let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Some(FileFacts { size: meta.len(), modified_ns })
    }

    fn list(&self, path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let removed = match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DriverError::io("remove", path, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn try_open(&self, device: &Path) -> io::Result<()> {
        OpenOptions::new().read(true).write(true).open(device).map(drop)
    }

    fn end(&self, process: &ProcessRecord, how: End) -> Result<()> {
        let Some(pidfd) = self.hold(process)? else { return Ok(()) };
        let signal = match how {
            End::Ask => Signal::TERM,
            End::Force => Signal::KILL,
        };
        match pidfd_send_signal(&pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(process_error("end", process, error.into())),
        }
    }

    fn wait_gone(&self, process: &ProcessRecord, deadline: Duration) -> Result<bool> {
        let Some(pidfd) = self.hold(process)? else { return Ok(true) };
        readable_within(&pidfd, deadline).map_err(|e| process_error("wait for", process, e))
    }

    fn user_id(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn resources(&self, folder: &Path) -> Result<HostResources> {
        let meminfo = self.read_text(Path::new("/proc/meminfo"))?;
        // The folder may not be made yet: the disk is that of the nearest one above.
        let there = folder.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
        let disk = rustix::fs::statvfs(there)
            .map_err(|e| DriverError::io("look at the disk of", there, e.into()))?;
        let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get());
        Ok(HostResources {
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            memory_mib: meminfo_mib(&meminfo, "MemTotal:"),
            memory_available_mib: meminfo_mib(&meminfo, "MemAvailable:"),
            disk_free_mib: disk.f_bavail.saturating_mul(disk.f_frsize) >> 20,
        })
    }
}

impl RealHost {
    /// A handle to this very process, or `None` when it is gone. The check comes after the handle
    /// is open, so the pid cannot change hands in between.
    fn hold(&self, process: &ProcessRecord) -> Result<Option<OwnedFd>> {
        match open_process(process.pid) {
            Ok(pidfd) => Ok(process.is_alive(self).then_some(pidfd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(process_error("look at", process, error.into())),
        }
    }
}

fn process_error(doing: &'static str, process: &ProcessRecord, source: io::Error) -> DriverError {
    DriverError::io(doing, Path::new(&format!("/proc/{}", process.pid)), source)
}

fn spawn(tool: &Tool) -> Result<Child> {
    let stderr = match &tool.log {
        None => Stdio::piped(),
        Some(log) => {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(log);
            file.map_err(|e| DriverError::io("write", log, e))?.into()
        }
    };
    let spawned = Command::new(&tool.program)
        .args(&tool.args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn();
    spawned.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            DriverError::ToolMissing { tool: tool.name(), looked_in: Vec::new() }
        }
        _ => DriverError::io("run", &tool.program, error),
    })
}

/// Reads a pipe to its end on a thread, so that a tool never blocks on a full pipe.
fn collect<R: Read + Send + 'static>(pipe: Option<R>) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::sync_channel(1);
    if let Some(pipe) = pipe {
        thread::spawn(move || {
            let mut kept = Vec::new();
            let mut pipe = pipe.take(OUTPUT_MAX);
            // A broken pipe ends the output like its end does. Nobody may be waiting any more.
            pipe.read_to_end(&mut kept).ok();
            send.send(kept).ok();
            io::copy(&mut pipe.into_inner(), &mut io::sink()).ok();
        });
    }
    receive
}

fn read_from(file: &Path, start: u64) -> Vec<u8> {
    let content = fs::read(file).unwrap_or_default();
    let start = usize::try_from(start).unwrap_or(usize::MAX).min(content.len());
    content[start..].to_vec()
}

fn open_process(pid: u32) -> rustix::io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}

/// A process handle becomes readable when the process ends.
fn readable_within(fd: &impl AsFd, deadline: Duration) -> io::Result<bool> {
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // The name is fixed, so what a crash leaves behind is overwritten by the next write.
    let temporary = path.with_file_name(format!(".{name}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn meminfo_mib(meminfo: &str, key: &str) -> u64 {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(key));
    let kib = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) >> 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_ends_with_its_output_or_at_its_deadline() {
        let sh = |script: &str| Tool::new("sh").args(["-c", script]);
        let done = RealHost.run_any(&sh("echo out; echo err >&2; exit 3")).expect("sh is there");
        assert_eq!(
            (done.exit, &done.stdout[..], &done.stderr[..]),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );

        let failed = RealHost.run(&sh("echo broken >&2; exit 3")).expect_err("it fails");
        assert_eq!(
            failed.to_string(),
            "`sh -c echo broken >&2; exit 3` failed with exit code 3: broken"
        );

        let late = RealHost.run(&sh("exec sleep 600").deadline(Duration::from_millis(20)));
        assert!(matches!(late, Err(DriverError::ToolTimedOut { .. })), "{late:?}");

        let missing = RealHost.run(&Tool::new("no-such-tool")).expect_err("it is not there");
        assert_eq!(missing.to_string(), "`no-such-tool` was not found on PATH");
    }

    #[test]
    fn a_written_file_has_its_mode_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("state.json");
        fs::write(folder.path().join(".state.json.new"), "left by a crash").expect("it is ours");
        RealHost.write_atomic(&file, b"one", 0o600).expect("there is room");
        RealHost.write_atomic(&file, b"two", 0o600).expect("there is room");
        assert_eq!(RealHost.read_text(&file).expect("just written"), "two");
        assert_eq!(fs::metadata(&file).expect("just written").mode() & 0o777, 0o600);
        assert_eq!(RealHost.list(folder.path()), ["state.json"]);
        RealHost.remove(folder.path()).expect("it is ours");
        RealHost.remove(folder.path()).expect("nothing there is fine");
    }

    #[test]
    fn a_process_is_waited_for_and_ended() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("sleep is there");
        let process = ProcessRecord::of(&RealHost, child.id()).expect("it runs");
        assert!(!RealHost.wait_gone(&process, Duration::ZERO).expect("it is ours"));
        RealHost.end(&process, End::Force).expect("it is ours");
        assert!(RealHost.wait_gone(&process, Duration::from_secs(60)).expect("it is ours"));
        RealHost.end(&process, End::Force).expect("gone is fine");
        child.wait().expect("it ended");
    }

    #[test]
    fn this_host_has_something() {
        let found = RealHost.resources(Path::new("/no/such/folder")).expect("the root is there");
        assert!(found.cpus > 0 && found.memory_mib > 0 && found.memory_available_mib > 0);
    }
}
