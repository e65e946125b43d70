//! What the kubelet knows about one container of a pod.
//!
//! ```text
//! New ──start──▶ Starting ──▶ Running ──exit──▶ Exited ──restart──▶ Starting …
//!                   └── failed: New or Exited again, with `trouble` until the next try
//! ```

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use minik_cri::v1;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::object::{self, ContainerSpec};
use crate::spec::names;

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exit {
    pub(crate) id: String,
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) message: Option<String>,
    pub(crate) started_at: Option<Time>,
    pub(crate) finished_at: Option<Time>,
    /// When the kubelet learned of it: what waits are counted from.
    pub(crate) noticed: Instant,
}

impl Exit {
    pub(crate) fn is_success(&self) -> bool {
        self.code == 0
    }
}

/// A container that runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running {
    pub(crate) id: String,
    pub(crate) started_at: Option<Time>,
    /// The specification it was made from, see [`names::container_hash`].
    pub(crate) hash: String,
    /// It was told to stop.
    pub(crate) stopping: bool,
    /// What it may use.
    pub(crate) resources: ResourceRequirements,
}

/// What a container does at present.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Now {
    New,
    Starting,
    Running(Running),
    Exited(Exit),
}

/// Why a container does not run though it should.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trouble {
    /// For `state.waiting.reason`.
    pub(crate) reason: String,
    pub(crate) message: String,
    /// The next try.
    pub(crate) retry_at: Instant,
    /// What the wait for the next try is called, from a moment on: first people see the error,
    /// then that it is waited for.
    pub(crate) later: Option<Later>,
}

/// See [`Trouble::later`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Later {
    pub(crate) at: Instant,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Trouble {
    /// Goes over to what the wait is called, if it is time. Returns whether it did.
    pub(crate) fn settle(&mut self, now: Instant) -> bool {
        let Some(later) = self.later.take_if(|later| later.at <= now) else { return false };
        self.reason = later.reason.into();
        self.message = later.message;
        true
    }
}

/// One container: what it should be and what it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) spec: ContainerSpec,
    pub(crate) now: Now,
    /// The exit before the present run.
    pub(crate) last: Option<Exit>,
    /// Number of the present or latest run, counted from 0; none if there was no run.
    pub(crate) attempt: Option<u32>,
    /// There was a start in the present sandbox.
    pub(crate) here: bool,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) crashes: Backoff,
    pub(crate) pulls: Backoff,
    /// The image by name and by digest, as the runtime says.
    pub(crate) image: String,
    pub(crate) image_id: String,
    /// The startup probe succeeded, or there is none.
    pub(crate) started: bool,
    /// The readiness probe succeeds, or there is none.
    pub(crate) ready: bool,
}

impl Record {
    pub(crate) fn new(spec: ContainerSpec) -> Self {
        Self {
            spec,
            now: Now::New,
            last: None,
            attempt: None,
            here: false,
            trouble: None,
            crashes: Backoff::default(),
            pulls: Backoff::default(),
            image: String::new(),
            image_id: String::new(),
            started: false,
            ready: false,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.container.name
    }

    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.now {
            Now::Running(running) => Some(running),
            Now::New | Now::Starting | Now::Exited(_) => None,
        }
    }

    pub(crate) fn exit(&self) -> Option<&Exit> {
        match &self.now {
            Now::Exited(exit) => Some(exit),
            Now::New | Now::Starting | Now::Running(_) => None,
        }
    }

    /// The number of the next run.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempt.map_or(0, |attempt| attempt + 1)
    }

    /// A start begins: the exit before it becomes the last one.
    pub(crate) fn begin_start(&mut self, now: Instant) {
        if let Now::Exited(exit) = std::mem::replace(&mut self.now, Now::Starting) {
            self.last = Some(exit);
            self.crashes.tried(now);
        }
        self.here = true;
        self.ready = false;
        self.started = false;
    }

    /// The pod gets a new sandbox: what ran is over, and what is to run again starts anew.
    pub(crate) fn leave_sandbox(&mut self, runs_again: bool, now: Instant) {
        self.lose(now);
        self.here = false;
        match std::mem::replace(&mut self.now, Now::New) {
            Now::Exited(exit) if runs_again => self.last = Some(exit),
            Now::Exited(exit) => self.now = Now::Exited(exit),
            Now::New | Now::Starting | Now::Running(_) => {}
        }
        self.trouble = None;
    }

    /// Takes over what the runtime says about the container's latest run. Returns whether it
    /// ended with this.
    pub(crate) fn observe(&mut self, status: &v1::ContainerStatus, now: Instant) -> bool {
        let attempt = attempt_of(status);
        if self.attempt.is_some_and(|known| known > attempt) {
            return false;
        }
        self.attempt = Some(attempt);
        if let Some(image) = &status.image {
            self.image.clone_from(&image.image);
        }
        self.image_id.clone_from(&status.image_ref);
        match status.state() {
            v1::ContainerState::ContainerRunning => {
                let same = self.running().filter(|running| running.id == status.id);
                let stopping = same.is_some_and(|running| running.stopping);
                let resources = same.map(|running| running.resources.clone());
                let from_spec = || self.spec.container.resources.clone().unwrap_or_default();
                self.now = Now::Running(Running {
                    id: status.id.clone(),
                    started_at: object::from_nanos(status.started_at),
                    hash: status
                        .annotations
                        .get(names::CONTAINER_HASH)
                        .cloned()
                        .unwrap_or_default(),
                    stopping,
                    resources: resources.unwrap_or_else(from_spec),
                });
                self.trouble = None;
                false
            }
            v1::ContainerState::ContainerExited => {
                let was_known = matches!(&self.now, Now::Exited(exit) if exit.id == status.id);
                if !was_known {
                    self.now = Now::Exited(exit_of(status, now));
                    self.ready = false;
                    self.started = false;
                }
                !was_known
            }
            // Not started yet, or the runtime does not know: whoever starts it will say more.
            v1::ContainerState::ContainerCreated | v1::ContainerState::ContainerUnknown => false,
        }
    }

    /// The run is lost with its sandbox, and the runtime has no record of how it ended.
    pub(crate) fn lose(&mut self, now: Instant) {
        let id = match &self.now {
            Now::Running(running) => running.id.clone(),
            Now::New | Now::Starting | Now::Exited(_) => return,
        };
        self.now = Now::Exited(Exit {
            id,
            code: 137,
            reason: "ContainerStatusUnknown".into(),
            message: Some("The container could not be located when the pod was terminated".into()),
            started_at: None,
            finished_at: None,
            noticed: now,
        });
        self.ready = false;
        self.started = false;
    }
}

/// The run's number, from the runtime's record.
pub(crate) fn attempt_of(status: &v1::ContainerStatus) -> u32 {
    let noted = status.annotations.get(names::RESTART_COUNT).and_then(|text| text.parse().ok());
    noted.unwrap_or_else(|| status.metadata.as_ref().map_or(0, |metadata| metadata.attempt))
}

/// How a container ended, as the runtime says it.
fn exit_of(status: &v1::ContainerStatus, now: Instant) -> Exit {
    let by_code = if status.exit_code == 0 { "Completed" } else { "Error" };
    Exit {
        id: status.id.clone(),
        code: status.exit_code,
        reason: if status.reason.is_empty() { by_code.into() } else { status.reason.clone() },
        message: Some(status.message.clone()).filter(|message| !message.is_empty()),
        started_at: object::from_nanos(status.started_at),
        finished_at: object::from_nanos(status.finished_at),
        noticed: now,
    }
}
