//! Asks containers whether they are started, alive and ready; reports only what changes.

mod ask;
mod grpc;
mod threshold;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Probe};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::object::{self, ContainerSpec};
use crate::shared::Shared;
pub(crate) use ask::http_get;
use minik_client::Level;
use threshold::Threshold;

/// What a probe found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The startup probe succeeded.
    Started,
    /// The container must be restarted: `probe` failed too often.
    Dead {
        probe: &'static str,
        grace: Option<Duration>,
    },
    Ready(bool),
}

/// A finding about one run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) container: String,
    pub(crate) id: String,
    pub(crate) finding: Finding,
}

/// The run of a container that is probed.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) spec: ContainerSpec,
    pub(crate) id: String,
    /// Address of the pod.
    pub(crate) address: String,
}

/// The probes of one run; they end when this is dropped.
pub(crate) struct Probes {
    _tasks: JoinSet<()>,
}

impl Probes {
    /// Starts the probes that the container has. `started` says that the startup probe already
    /// succeeded (the kubelet was restarted).
    pub(crate) fn start(target: &Target, started: bool, reports: &mpsc::Sender<Report>) -> Self {
        let mut tasks = JoinSet::new();
        let (target, reports) = (target.clone(), reports.clone());
        tasks.spawn(async move { probe_all(target, started, reports).await });
        Self { _tasks: tasks }
    }
}

async fn probe_all(target: Target, started: bool, reports: mpsc::Sender<Report>) {
    let container = &target.spec.container;
    if let (Some(startup), false) = (&container.startup_probe, started) {
        let mut found = Runner::new(&target, "Startup", startup, false);
        loop {
            match found.next().await {
                true => break,
                false => {
                    let finding = Finding::Dead { probe: "startup", grace: grace(startup) };
                    found.report(&reports, finding).await;
                }
            }
        }
        found.report(&reports, Finding::Started).await;
    }
    let liveness = async {
        if let Some(probe) = &container.liveness_probe {
            let mut runner = Runner::new(&target, "Liveness", probe, true);
            loop {
                if !runner.next().await {
                    let finding = Finding::Dead { probe: "liveness", grace: grace(probe) };
                    runner.report(&reports, finding).await;
                }
            }
        }
    };
    let readiness = async {
        if let Some(probe) = &container.readiness_probe {
            let mut runner = Runner::new(&target, "Readiness", probe, false);
            loop {
                let ready = runner.next().await;
                runner.report(&reports, Finding::Ready(ready)).await;
            }
        }
    };
    tokio::join!(liveness, readiness);
}

fn grace(probe: &Probe) -> Option<Duration> {
    let seconds = probe.termination_grace_period_seconds?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    let set = value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    Duration::from_secs(set.unwrap_or(default))
}

/// One probe, asked again and again.
struct Runner<'a> {
    target: &'a Target,
    name: &'static str,
    probe: &'a Probe,
    ticks: tokio::time::Interval,
    threshold: Threshold,
}

impl<'a> Runner<'a> {
    fn new(target: &'a Target, name: &'static str, probe: &'a Probe, initially: bool) -> Self {
        let first = Instant::now() + seconds(probe.initial_delay_seconds, 0);
        let mut ticks = tokio::time::interval_at(first, seconds(probe.period_seconds, 10));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let threshold = Threshold::new(
            initially,
            probe.success_threshold.unwrap_or(1),
            probe.failure_threshold.unwrap_or(3),
        );
        Self { target, name, probe, ticks, threshold }
    }

    /// Asks until the answer changes what is believed, or confirms a failure that calls for
    /// action again.
    async fn next(&mut self) -> bool {
        loop {
            self.ticks.tick().await;
            let deadline = seconds(self.probe.timeout_seconds, 1);
            let answer = ask::ask(self.target, self.probe, deadline).await;
            if let Err(failure) = &answer {
                let about = object::reference(&self.target.pod, Some(&self.target.spec));
                let message = format!("{} probe failed: {failure}", self.name);
                let recorder = &self.target.shared.recorder;
                recorder.record_ref(about, Level::Warning, "Unhealthy", message);
            }
            if let Some(believed) = self.threshold.feed(answer.is_ok()) {
                return believed;
            }
        }
    }

    async fn report(&self, reports: &mpsc::Sender<Report>, finding: Finding) {
        let container = self.target.spec.container.name.clone();
        let report = Report { container, id: self.target.id.clone(), finding };
        // The worker that listened is gone: so will be this probe.
        drop(reports.send(report).await);
    }
}
