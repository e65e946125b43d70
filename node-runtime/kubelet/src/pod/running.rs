//! The sandbox is up: containers are started, watched, probed and started again, as the plan says.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;
use minik_client::Level;
use minik_cri::{RuntimeError, v1};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use super::container::{Later, Now, Record, Trouble};
use super::exits::{Exit, Run};
use super::mailbox::Signal;
use super::plan::{self, Plan, Verdict, plan};
use super::resize::{self, Change};
use super::sandboxing::Sandboxing;
use super::start::{StartError, start};
use super::step::{LeadsTo, Next, Step};
use super::stop::stop;
use super::terminating::{Ending, Terminating};
use super::worker::{Worker, sleep_until};
use crate::images::ImageError;
use crate::object;
use crate::probe::{Finding, Probes, Report, Target};
use crate::spec::resources::container_resources;

/// Reports of probes that wait to be read.
const REPORTS_MAX: usize = 64;
/// An error is shown as such for this long before it is shown as a wait.
const ERROR_SHOWN: Duration = Duration::from_secs(5);
/// What is wrong in the configuration is looked at again after this time, or when it changes.
const CONFIG_RETRY: Duration = Duration::from_secs(10);
/// A stop that failed is not tried again before this.
const STOP_RETRY: Duration = Duration::from_secs(5);
/// Volumes that cannot be brought up to date are tried again after this time.
const VOLUME_RETRY: Duration = Duration::from_secs(30);

/// Containers run.
pub(super) struct Running;

/// Something that was begun is done.
enum Done {
    Started {
        name: String,
        result: Result<String, StartError>,
    },
    Stopped {
        name: String,
        id: String,
        result: Result<(), RuntimeError>,
    },
    Resized {
        name: String,
        id: String,
        resources: ResourceRequirements,
        result: Result<(), RuntimeError>,
    },
}

/// What goes on besides the worker itself.
struct Activity {
    jobs: JoinSet<Done>,
    /// By container, with the run they belong to.
    probes: HashMap<String, (String, Probes)>,
    reports: mpsc::Sender<Report>,
    /// Processes of the runs and of the sandbox.
    exits: Vec<Exit>,
    /// Runs whose resources are being changed.
    resizing: HashSet<String>,
    /// Not before this are volumes looked at for old tokens.
    volumes_due: Instant,
}

impl Step for Running {
    const NAME: &'static str = "Running";

    async fn run(self, worker: &mut Worker) -> Next {
        let (reports, mut inbox) = mpsc::channel(REPORTS_MAX);
        let mut activity = Activity {
            jobs: JoinSet::new(),
            probes: HashMap::new(),
            reports,
            exits: Vec::new(),
            resizing: HashSet::new(),
            volumes_due: Instant::now(),
        };
        let changed = worker.sources_changed.clone();
        loop {
            if let Some(why) = worker.ending() {
                return Self::to(Terminating { why });
            }
            if !worker.sandbox_is_ready() {
                return Self::to(Sandboxing);
            }
            let policy = object::restart_policy(&worker.pod).to_owned();
            let plan = plan(&worker.records, &policy, Instant::now());
            if plan.verdict != Verdict::Going && activity.jobs.is_empty() {
                return Self::to(Terminating { why: Ending::Completed });
            }
            let wake = wake_at(worker, &plan, &activity);
            act(worker, plan, &mut activity);
            follow_resources(worker, &mut activity);
            follow_probes(worker, &mut activity);
            follow_exits(worker, &mut activity);
            worker.publish();
            tokio::select! {
                signal = worker.signal() => worker.attend(signal).await,
                Some(Ok(done)) = activity.jobs.join_next() => {
                    if let Done::Resized { id, .. } = &done {
                        activity.resizing.remove(id);
                    }
                    finish(worker, done).await;
                }
                Some(report) = inbox.recv() => take_report(worker, report, &mut activity),
                () = changed.notified() => refresh(worker, &mut activity).await,
                () = sleep_until(wake) => wake_up(worker, &mut activity).await,
            }
        }
    }
}

/// When to look again though nothing happens.
fn wake_at(worker: &Worker, plan: &Plan, activity: &Activity) -> Option<Instant> {
    let troubles = worker.records.iter().filter_map(|record| record.trouble.as_ref());
    let settles = troubles.filter_map(|trouble| trouble.later.as_ref().map(|later| later.at));
    let tokens = worker.volumes.renew_at().map(|at| at.max(activity.volumes_due));
    settles.chain(plan.wake_at).chain(tokens).chain(worker.active_until()).min()
}

/// Begins what the plan says.
fn act(worker: &mut Worker, plan: Plan, activity: &mut Activity) {
    for (index, trouble) in plan.wait {
        worker.records[index].trouble = Some(trouble);
        tell_of_wait(worker, index);
    }
    for index in plan.start {
        begin_start(worker, index, activity);
    }
    for index in plan.replace {
        let why = "definition changed, will be restarted";
        begin_stop(worker, index, object::grace(&worker.pod), why, activity);
    }
}

/// The event for a container that waits for its next try.
fn tell_of_wait(worker: &Worker, index: usize) {
    let Some(place) = worker.place() else { return };
    let record = &worker.records[index];
    let Some(trouble) = &record.trouble else { return };
    let (name, namespace) = (object::name(&worker.pod), object::namespace(&worker.pod));
    let (level, text) = match trouble.reason.as_str() {
        "CrashLoopBackOff" => {
            let (container, uid) = (record.name(), object::uid(&worker.pod));
            let text = format!(
                "Back-off restarting failed container {container} in pod {name}_{namespace}({uid})"
            );
            (Level::Warning, text)
        }
        _ => {
            let image = record.spec.container.image.as_deref().unwrap_or_default();
            (Level::Normal, format!("Back-off pulling image \"{image}\""))
        }
    };
    place.event(&record.spec, level, "BackOff", text);
}

fn begin_start(worker: &mut Worker, index: usize, activity: &mut Activity) {
    let Some(place) = worker.place() else { return };
    let target_id = worker.records[index].spec.target.as_ref().and_then(|target| {
        let record = worker.records.iter().find(|record| record.name() == target)?;
        record.running().map(|running| running.id.clone())
    });
    let record = &mut worker.records[index];
    let attempt = record.next_attempt();
    record.begin_start(Instant::now());
    let spec = record.spec.clone();
    activity.jobs.spawn(async move {
        let result = start(&place, &spec, attempt, target_id).await;
        Done::Started { name: spec.container.name, result }
    });
}

fn begin_stop(
    worker: &mut Worker,
    index: usize,
    grace: Duration,
    why: &'static str,
    activity: &mut Activity,
) {
    let Some(place) = worker.place() else { return };
    let record = &mut worker.records[index];
    let spec = record.spec.clone();
    let Now::Running(running) = &mut record.now else { return };
    if std::mem::replace(&mut running.stopping, true) {
        return;
    }
    let id = running.id.clone();
    activity.jobs.spawn(async move {
        let result = stop(&place, &spec, &id, grace, why).await;
        if result.is_err() {
            tokio::time::sleep(STOP_RETRY).await;
        }
        Done::Stopped { name: spec.container.name, id, result }
    });
}

async fn finish(worker: &mut Worker, done: Done) {
    match done {
        Done::Started { name, result: Ok(id) } => {
            note_started(worker, &name, &id).await;
            remove_old_runs(worker, &name).await;
        }
        Done::Started { name, result: Err(error) } => note_failure(worker, &name, error).await,
        Done::Stopped { id, result: Ok(()), .. } => {
            worker.attend(Signal::Runtime(id)).await;
        }
        Done::Resized { name, id, resources, result } => {
            note_resize(worker, &name, &id, resources, result)
        }
        Done::Stopped { name, id, result: Err(error) } => {
            warn!(container = name, %error, "container not stopped");
            let record = worker.records.iter_mut().find(|record| record.name() == name);
            if let Some(Now::Running(running)) = record.map(|record| &mut record.now)
                && running.id == id
            {
                running.stopping = false;
            }
        }
    }
}

/// Gives running containers the resources that their specification says by now.
fn follow_resources(worker: &mut Worker, activity: &mut Activity) {
    for index in 0..worker.records.len() {
        let record = &worker.records[index];
        let Some(change) = resize::needed(record) else { continue };
        if change == Change::Restart {
            let why = "has to be restarted for its new resources";
            begin_stop(worker, index, object::grace(&worker.pod), why, activity);
            continue;
        }
        let Some(id) = record.running().map(|running| running.id.clone()) else { continue };
        if activity.resizing.contains(&id) {
            continue;
        }
        let (shared, container) = (worker.shared.clone(), record.spec.container.clone());
        let linux = container_resources(&worker.pod, &container, shared.memory_bytes);
        let resources = container.resources.clone().unwrap_or_default();
        activity.resizing.insert(id.clone());
        activity.jobs.spawn(async move {
            let result = shared.runtime.update_resources(&id, linux).await;
            if result.is_err() {
                tokio::time::sleep(STOP_RETRY).await;
            }
            Done::Resized { name: container.name, id, resources, result }
        });
    }
}

fn note_resize(
    worker: &mut Worker,
    name: &str,
    id: &str,
    resources: ResourceRequirements,
    result: Result<(), RuntimeError>,
) {
    if let Err(error) = result {
        let text = format!("container {name} keeps its resources for now: {error}");
        return worker.event(Level::Warning, "ResizeError", &text);
    }
    worker.event(
        Level::Normal,
        "ResizeCompleted",
        &format!("container {name} has its new resources"),
    );
    let record = worker.records.iter_mut().find(|record| record.name() == name);
    if let Some(Now::Running(running)) = record.map(|record| &mut record.now)
        && running.id == id
    {
        running.resources = resources;
    }
}

async fn note_started(worker: &mut Worker, name: &str, id: &str) {
    let status = worker.shared.runtime.container_status(id).await;
    let now = Instant::now();
    let Some(record) = worker.records.iter_mut().find(|record| record.name() == name) else {
        return;
    };
    record.trouble = None;
    record.pulls = Default::default();
    let container = &record.spec.container;
    let (no_startup, no_readiness) =
        (container.startup_probe.is_none(), container.readiness_probe.is_none());
    match status {
        Ok(status) => {
            if record.now == Now::Starting {
                record.now = Now::New;
            }
            record.started = no_startup;
            record.ready = no_startup && no_readiness;
            worker.observe(&status);
        }
        Err(error) => {
            warn!(%error, id, "container started, but cannot be looked at");
            record.now = Now::New;
            record.trouble = Some(Trouble {
                reason: "RunContainerError".into(),
                message: error.to_string(),
                retry_at: now + CONFIG_RETRY,
                later: None,
            });
        }
    }
}

async fn note_failure(worker: &mut Worker, name: &str, error: StartError) {
    let now = Instant::now();
    let policy = object::restart_policy(&worker.pod).to_owned();
    let Some(record) = worker.records.iter_mut().find(|record| record.name() == name) else {
        return;
    };
    if record.now == Now::Starting {
        record.now = Now::New;
    }
    let (reason, message) = (error.reason().to_owned(), error.to_string());
    let image = record.spec.container.image.clone().unwrap_or_default();
    let waits =
        |reason, message, delay| Trouble { reason, message, retry_at: now + delay, later: None };
    record.trouble = Some(match &error {
        StartError::Image(ImageError::Name(_) | ImageError::NeverPulled(_))
        | StartError::Config(_) => waits(reason, message, CONFIG_RETRY),
        StartError::Image(ImageError::Inspect { .. } | ImageError::Pull { .. }) => {
            record.pulls.tried(now);
            let message_later = format!("Back-off pulling image \"{image}\": {reason}: {message}");
            let later =
                Later { at: now + ERROR_SHOWN, reason: "ImagePullBackOff", message: message_later };
            Trouble { later: Some(later), ..waits(reason, message, record.pulls.delay()) }
        }
        StartError::Create(_) | StartError::Run { .. } | StartError::PostStart { .. } => {
            record.crashes.tried(now);
            let delay = record.crashes.delay();
            let message_later = plan::crash_message(record);
            let later =
                Later { at: now + ERROR_SHOWN, reason: "CrashLoopBackOff", message: message_later };
            Trouble { later: Some(later), ..waits(reason, message, delay) }
        }
    });
    let (StartError::Run { id, .. } | StartError::PostStart { id, .. }) = &error else { return };
    if let Ok(status) = worker.shared.runtime.container_status(id).await {
        worker.observe(&status);
    }
    let record = worker.records.iter_mut().find(|record| record.name() == name);
    if let Some(record) = record
        && record.exit().is_some_and(|exit| !plan::restarts(record, exit, &policy))
    {
        record.trouble = None;
    }
}

/// Keeps the present run and the one before, whose log people may want; removes older ones, and
/// old sandboxes that nothing is left of.
async fn remove_old_runs(worker: &Worker, name: &str) {
    let Some(present) = worker.records.iter().find(|record| record.name() == name) else { return };
    let Some(oldest_kept) = present.attempt.and_then(|attempt| attempt.checked_sub(1)) else {
        return;
    };
    let Ok(belongings) = worker.belongings().await else { return };
    let runtime = &worker.shared.runtime;
    let is_old = |container: &v1::Container| {
        let metadata = container.metadata.clone().unwrap_or_default();
        metadata.name == name && metadata.attempt < oldest_kept
    };
    let (old, kept): (Vec<_>, Vec<_>) = belongings.containers.into_iter().partition(is_old);
    for container in old {
        if let Err(error) = runtime.remove_container(&container.id).await {
            warn!(%error, id = container.id, "old run not removed");
        }
        let attempt = container.metadata.unwrap_or_default().attempt;
        let log = crate::spec::names::log_path(name, attempt);
        // A log that is gone already is as good.
        drop(tokio::fs::remove_file(worker.log_directory().join(log)).await);
    }
    let present = worker.sandbox.as_ref().map(|sandbox| sandbox.id.as_str());
    for sandbox in belongings.sandboxes {
        let is_empty = !kept.iter().any(|container| container.pod_sandbox_id == sandbox.id);
        if is_empty
            && present != Some(sandbox.id.as_str())
            && let Err(error) = runtime.remove_sandbox(&sandbox.id).await
        {
            warn!(%error, id = sandbox.id, "old sandbox not removed");
        }
    }
}

/// Probes follow the runs: they begin with a run and end with it.
fn follow_probes(worker: &Worker, activity: &mut Activity) {
    let Some(place) = worker.place() else { return };
    for record in &worker.records {
        let name = record.name();
        let run = record.running().filter(|running| !running.stopping);
        let Some(run) = run else {
            activity.probes.remove(name);
            continue;
        };
        if activity.probes.get(name).is_some_and(|(id, _)| *id == run.id) {
            continue;
        }
        let target = Target {
            shared: worker.shared.clone(),
            pod: worker.pod.clone(),
            spec: record.spec.clone(),
            id: run.id.clone(),
            address: place.address(),
        };
        let probes = Probes::start(&target, record.started, &activity.reports);
        activity.probes.insert(name.to_owned(), (run.id.clone(), probes));
    }
}

/// So do the watches on their processes.
fn follow_exits(worker: &Worker, activity: &mut Activity) {
    let running = worker.records.iter().filter_map(Record::running);
    let runs = running.map(|running| Run::Container(running.id.clone()));
    let sandbox = worker.sandbox.iter().map(|sandbox| Run::Sandbox(sandbox.id.clone()));
    let wanted: Vec<Run> = runs.chain(sandbox).collect();
    activity.exits.retain(|exit| wanted.contains(&exit.run));
    for run in wanted {
        if !activity.exits.iter().any(|exit| exit.run == run) {
            let runtime = worker.shared.runtime.clone();
            activity.exits.push(Exit::watch(runtime, run, worker.mailbox.clone()));
        }
    }
}

fn take_report(worker: &mut Worker, report: Report, activity: &mut Activity) {
    let found = worker.records.iter().position(|record| {
        record.name() == report.container
            && record.running().is_some_and(|running| running.id == report.id)
    });
    // A report about a run that is over already.
    let Some(index) = found else { return };
    let record = &mut worker.records[index];
    match report.finding {
        Finding::Started => {
            record.started = true;
            record.ready = record.spec.container.readiness_probe.is_none();
        }
        Finding::Ready(ready) => record.ready = ready,
        Finding::Dead { probe, grace } => {
            let grace = grace.unwrap_or_else(|| object::grace(&worker.pod));
            let why = match probe {
                "startup" => "failed startup probe, will be restarted",
                _ => "failed liveness probe, will be restarted",
            };
            begin_stop(worker, index, grace, why, activity);
        }
    }
}

/// An object that the pod uses changed: files follow, and what was wrong may be right now.
async fn refresh(worker: &mut Worker, activity: &mut Activity) {
    update_volumes(worker, activity).await;
    let now = Instant::now();
    let config_errors = worker.records.iter_mut().filter_map(|record| record.trouble.as_mut());
    for trouble in config_errors.filter(|it| it.reason == "CreateContainerConfigError") {
        trouble.retry_at = now;
    }
}

async fn update_volumes(worker: &mut Worker, activity: &mut Activity) {
    let failed = worker.set_up_volumes().await.is_err();
    let wait = if failed { VOLUME_RETRY } else { Duration::ZERO };
    activity.volumes_due = Instant::now() + wait;
}

/// A wait is over: waits are renamed, old tokens renewed; restarts are the plan's.
async fn wake_up(worker: &mut Worker, activity: &mut Activity) {
    let now = Instant::now();
    for index in 0..worker.records.len() {
        if worker.records[index].trouble.as_mut().is_some_and(|trouble| trouble.settle(now)) {
            tell_of_wait(worker, index);
        }
    }
    let is_due = worker.volumes.renew_at().is_some_and(|at| at.max(activity.volumes_due) <= now);
    if is_due {
        update_volumes(worker, activity).await;
    }
}

impl LeadsTo<Sandboxing> for Running {}
impl LeadsTo<Terminating> for Running {}
