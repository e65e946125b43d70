//! Notices when the SSH server listens: it then writes its pid file, and a watch on the folder costs no process.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use rustix::fs::inotify;

use crate::error::{Error, on_file, on_system};

const RUN: &str = "/run";
const PID_FILE: &str = "/run/sshd.pid";
/// Where the server locks its unprivileged half in.
const EMPTY_FOLDER: &str = "/run/sshd";

/// Watches for the server.
pub(crate) struct Watch {
    events: OwnedFd,
}

impl Watch {
    /// Starts watching. To be done before the server may start.
    pub(crate) fn new() -> Result<Self, Error> {
        fs::create_dir_all(EMPTY_FOLDER).map_err(on_file("make", EMPTY_FOLDER))?;
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let events = inotify::init(flags).map_err(on_system("watch /run"))?;
        inotify::add_watch(&events, RUN, inotify::WatchFlags::CLOSE_WRITE)
            .map_err(on_system("watch /run"))?;
        Ok(Self { events })
    }

    /// For the event loop.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Takes what happened off the queue; whether the server has come up.
    pub(crate) fn came_up(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut buffer);
        let name = Path::new(PID_FILE).file_name().unwrap_or_default();
        let mut came = false;
        while let Ok(event) = reader.next() {
            came |=
                event.file_name().is_some_and(|file| file.to_bytes() == name.as_encoded_bytes());
        }
        came
    }
}

/// Whether it listened before this agent started, which happens when only the agent is restarted.
pub(crate) fn is_up_already() -> bool {
    fs::read_to_string(PID_FILE)
        .is_ok_and(|pid| Path::new("/proc").join(pid.trim()).join("fd").exists())
}

/// Starts it anew: it reads its host key at start only.
pub(crate) fn restart() -> Result<(), Error> {
    drop(fs::remove_file(PID_FILE));
    let status = Command::new("/usr/bin/systemctl")
        .args(["restart", "--no-block", "ssh.service"])
        .status()
        .map_err(on_file("run", "/usr/bin/systemctl"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program { program: "systemctl restart ssh".into(), said: status.to_string() })
}
