//! Hears of a process's end from the kernel. The runtime's events say the same, but may be lost:
//! containerd 1.7 gives the first event after a restart of the kubelet to the connection of the
//! one before.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use minik_cri::{Runtime, v1};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::mailbox::{Mailbox, Signal};

/// The runtime has taken note of an exit after this time, in steps.
const NOTED_WITHIN: Duration = Duration::from_secs(30);
const FIRST_LOOK: Duration = Duration::from_millis(20);

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Container(String),
    Sandbox(String),
}

/// A watched process; the watch ends when this is dropped.
pub(super) struct Exit {
    pub(super) run: Run,
    _task: AbortOnDropHandle<()>,
}

impl Exit {
    /// Puts a signal into `mailbox` when the run's process has ended and the runtime knows it.
    pub(super) fn watch(runtime: Arc<dyn Runtime>, run: Run, mailbox: Mailbox) -> Self {
        let watched = run.clone();
        let task = tokio::spawn(async move {
            let Some(process) = process_of(&runtime, &watched).await else { return };
            if let Err(error) = process.ready(Interest::READABLE).await {
                debug!(?watched, %error, "process not watched");
                return;
            }
            wait_until_noted(&runtime, &watched).await;
            let (Run::Container(id) | Run::Sandbox(id)) = watched;
            mailbox.put(Signal::Runtime(id));
        });
        Self { run, _task: AbortOnDropHandle::new(task) }
    }
}

/// The run's process as a descriptor that is readable once it has ended.
async fn process_of(runtime: &Arc<dyn Runtime>, run: &Run) -> Option<AsyncFd<OwnedFd>> {
    let pid = match run {
        Run::Container(id) => runtime.container_pid(id).await,
        Run::Sandbox(id) => runtime.sandbox_pid(id).await,
    };
    let pid = pid.ok().flatten().and_then(Pid::from_raw)?;
    match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an owned descriptor is always valid"
        )]
        Ok(fd) => AsyncFd::with_interest(fd, Interest::READABLE).ok(),
        Err(error) => {
            debug!(?run, %error, "process cannot be watched");
            None
        }
    }
}

/// The kernel is faster than the runtime: what is read before this may be old.
async fn wait_until_noted(runtime: &Arc<dyn Runtime>, run: &Run) {
    let noted = async {
        let mut wait = FIRST_LOOK;
        while runs(runtime, run).await {
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    };
    drop(tokio::time::timeout(NOTED_WITHIN, noted).await);
}

async fn runs(runtime: &Arc<dyn Runtime>, run: &Run) -> bool {
    match run {
        Run::Container(id) => {
            let status = runtime.container_status(id).await;
            status.is_ok_and(|status| status.state() == v1::ContainerState::ContainerRunning)
        }
        Run::Sandbox(id) => {
            let status = runtime.sandbox_status(id).await;
            status.is_ok_and(|status| status.state() == v1::PodSandboxState::SandboxReady)
        }
    }
}
