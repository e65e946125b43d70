//! The pod's life ends: its containers are stopped, sidecars last, then the sandbox.

use std::collections::HashMap;
use std::time::Duration;

use minik_cri::{RuntimeError, v1};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use super::container::Now;
use super::finished::Finished;
use super::gone::Gone;
use super::removing::Removing;
use super::start::Place;
use super::step::{LeadsTo, Next, Step};
use super::stop::stop;
use super::worker::Worker;
use crate::object::{self, ContainerSpec, Kind};
use crate::status::Failure;
use crate::volume;

/// The runtime is asked again after this time.
const RETRY: Duration = Duration::from_secs(2);

/// Why a pod's life ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Somebody asked for it.
    Deleted,
    /// The object is gone already.
    Removed,
    /// All its containers have ended and none is started again.
    Completed,
    /// The API says that it has ended.
    Over,
    /// It must not go on.
    Failed(Failure),
}

/// Containers are stopped.
pub(super) struct Terminating {
    pub(super) why: Ending,
}

impl Step for Terminating {
    const NAME: &'static str = "Terminating";

    async fn run(self, worker: &mut Worker) -> Next {
        worker.is_ending = true;
        if let Ending::Failed(failure) = &self.why {
            worker.failure = Some(failure.clone());
        }
        let is_quiet = self.why == Ending::Over && !has_running(worker);
        if !is_quiet {
            worker.publish();
        }
        let deadline = Instant::now() + object::grace(&worker.pod);
        stop_all(worker, deadline).await;
        stop_sandboxes(worker).await;
        worker.close_host_ports().await;
        if !is_quiet {
            worker.publish();
        }
        remove_volumes(worker).await;
        match worker.ending() {
            Some(Ending::Removed) => Self::to(Gone),
            Some(Ending::Deleted) => Self::to(Removing),
            Some(Ending::Over | Ending::Completed | Ending::Failed(_)) | None => Self::to(Finished),
        }
    }
}

fn has_running(worker: &Worker) -> bool {
    worker.records.iter().any(|record| record.running().is_some())
}

/// A container that runs, and what is needed to stop it.
struct Target {
    spec: ContainerSpec,
    id: String,
}

/// Stops containers group after group: first those the pod is for, then its sidecars, the one
/// started last first.
async fn stop_all(worker: &mut Worker, deadline: Instant) {
    let targets = running_containers(worker).await;
    let mut groups: Vec<Vec<Target>> = vec![Vec::new()];
    let mut sidecars = Vec::new();
    for target in targets {
        match target.spec.kind {
            Kind::Sidecar => sidecars.push(vec![target]),
            Kind::Init | Kind::App | Kind::Ephemeral => groups[0].push(target),
        }
    }
    sidecars.reverse();
    groups.extend(sidecars);
    let mut deadline = deadline;
    for group in groups {
        deadline = stop_group(worker, group, deadline).await;
    }
}

/// All that run, by the runtime's word: a start that was cut off may have gone through.
async fn running_containers(worker: &mut Worker) -> Vec<Target> {
    let belongings = loop {
        match worker.belongings().await {
            Ok(belongings) => break belongings,
            Err(error) => warn!(%error, "cannot list what is to be stopped"),
        }
        tokio::time::sleep(RETRY).await;
    };
    let specs: HashMap<&str, &ContainerSpec> =
        worker.records.iter().map(|record| (record.name(), &record.spec)).collect();
    let running = belongings
        .containers
        .iter()
        .filter(|container| container.state() == v1::ContainerState::ContainerRunning);
    let mut targets: Vec<Target> = running
        .filter_map(|container| {
            let name = container.metadata.as_ref()?.name.as_str();
            Some(Target { spec: (*specs.get(name)?).clone(), id: container.id.clone() })
        })
        .collect();
    let order = |name: &str| worker.records.iter().position(|record| record.name() == name);
    targets.sort_by_key(|target| order(&target.spec.container.name));
    targets
}

/// Stops containers at the same time. Returns the deadline, which a second deletion with a
/// shorter grace period may have moved.
async fn stop_group(worker: &mut Worker, group: Vec<Target>, deadline: Instant) -> Instant {
    let mut deadline = deadline;
    let Some(place) = worker.place() else { return deadline };
    let mut left: HashMap<String, ContainerSpec> =
        group.into_iter().map(|target| (target.id, target.spec)).collect();
    let mut jobs = begin(&place, &left, deadline);
    while !left.is_empty() {
        tokio::select! {
            Some(done) = jobs.join_next() => {
                let Ok((id, result)) = done else { continue };
                match result {
                    Ok(()) => {
                        left.remove(&id);
                        look_at(worker, &id).await;
                        worker.publish();
                    }
                    Err(error) => {
                        warn!(%error, id, "container not stopped yet");
                        if jobs.is_empty() {
                            tokio::time::sleep(RETRY).await;
                            jobs = begin(&place, &left, deadline);
                        }
                    }
                }
            }
            signal = worker.signal() => {
                worker.attend(signal).await;
                worker.publish();
                let sooner = Instant::now() + object::grace(&worker.pod);
                if object::is_deleted(&worker.pod) && sooner < deadline {
                    deadline = sooner;
                    // The old jobs wait with the old patience.
                    jobs = begin(&place, &left, deadline);
                }
            }
        }
    }
    deadline
}

fn begin(
    place: &Place,
    left: &HashMap<String, ContainerSpec>,
    deadline: Instant,
) -> JoinSet<(String, Result<(), RuntimeError>)> {
    let grace = deadline.saturating_duration_since(Instant::now());
    let mut jobs = JoinSet::new();
    for (id, spec) in left {
        let (place, id, spec) = (place.clone(), id.clone(), spec.clone());
        jobs.spawn(async move {
            let result = stop(&place, &spec, &id, grace, "").await;
            (id, result)
        });
    }
    jobs
}

async fn look_at(worker: &mut Worker, id: &str) {
    match worker.shared.runtime.container_status(id).await {
        Ok(status) => worker.observe(&status),
        Err(error) => warn!(%error, id, "cannot see how the container ended"),
    }
}

/// Stops all sandboxes of the pod: nothing of it runs after this.
async fn stop_sandboxes(worker: &mut Worker) {
    loop {
        let stopped = async {
            let belongings = worker.belongings().await?;
            for sandbox in &belongings.sandboxes {
                worker.shared.runtime.stop_sandbox(&sandbox.id).await?;
            }
            Ok::<_, RuntimeError>(belongings)
        };
        match stopped.await {
            Ok(belongings) => {
                for container in belongings.containers.iter().rev() {
                    look_at(worker, &container.id).await;
                }
                break;
            }
            Err(error) => warn!(%error, "sandbox not stopped yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
    if let Some(sandbox) = &mut worker.sandbox {
        sandbox.is_ready = false;
    }
    let now = Instant::now();
    for record in &mut worker.records {
        record.lose(now);
        if record.now == Now::Starting {
            record.now = Now::New;
        }
    }
}

async fn remove_volumes(worker: &mut Worker) {
    worker.volumes = volume::Volumes::default();
    let root = worker.shared.config.paths.root.clone();
    let uid = object::uid(&worker.pod).to_owned();
    let done = tokio::task::spawn_blocking(move || volume::tear_down(&root, &uid)).await;
    if let Ok(Err(error)) = done {
        warn!(%error, "volumes not removed yet");
    }
}

impl LeadsTo<Finished> for Terminating {}
impl LeadsTo<Removing> for Terminating {}
impl LeadsTo<Gone> for Terminating {}
