//! The owner of one pod: keeps what is known of it, listens to what happens to it, and runs its
//! states one after the other.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use minik_cri::v1;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::container::{Now, Record};
use super::inventory::{Belongings, Inventory};
use super::mailbox::{Mailbox, Signal};
use super::message;
use super::preparing::Preparing;
use super::start::Place;
use super::step::Next;
use super::terminating::{Ending, Terminating};
use crate::object;
use crate::publish::Publisher;
use crate::shared::Shared;
use crate::sources;
use crate::spec::names;
use crate::status::{self, Failure, View};
use crate::volume::{Tools, Volumes};
use minik_client::Level;

/// The sandbox of the pod.
#[derive(Clone, Debug)]
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) attempt: u32,
    pub(super) is_ready: bool,
}

/// The owner of one pod.
pub(crate) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) pod: Arc<Pod>,
    pub(super) records: Vec<Record>,
    pub(super) sandbox: Option<Sandbox>,
    pub(super) pod_ips: Vec<String>,
    /// Ports of the node that lead to this address of the pod.
    open_ports: Option<(String, Vec<v1::PortMapping>)>,
    pub(super) volumes: Volumes,
    pub(super) sources_changed: Arc<Notify>,
    pub(super) failure: Option<Failure>,
    /// No container will be started any more.
    pub(super) is_ending: bool,
    is_removed: bool,
    start_time: Time,
    publisher: Publisher,
    pub(super) mailbox: Mailbox,
}

impl Worker {
    /// Takes over a pod; `inventory` is what the runtime has already.
    pub(crate) fn new(shared: Arc<Shared>, pod: Arc<Pod>, mailbox: Mailbox) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let records = object::containers(&pod).into_iter().map(Record::new).collect();
        Self {
            publisher: Publisher::start(shared.client.clone(), pod.clone()),
            start_time: status.start_time.unwrap_or_else(object::now),
            pod_ips: status.pod_ips.into_iter().flatten().map(|ip| ip.ip).collect(),
            shared,
            pod,
            records,
            sandbox: None,
            open_ports: None,
            volumes: Volumes::default(),
            sources_changed: Arc::default(),
            failure: None,
            is_ending: false,
            is_removed: false,
            mailbox,
        }
    }

    /// Lives until nothing of the pod is left.
    pub(crate) async fn run(mut self, inventory: Arc<Inventory>) {
        let uid = object::uid(&self.pod).to_owned();
        self.use_sources();
        self.inspect(inventory.of(&uid)).await;
        let mut next = if object::is_terminal(&self.pod) {
            Next::from(Terminating { why: Ending::Over })
        } else {
            Next::from(Preparing)
        };
        loop {
            debug!(pod = object::name(&self.pod), uid, state = next.name(), "pod state");
            match next.run(&mut self).await {
                Some(following) => next = following,
                None => break,
            }
        }
        self.shared.sources.forget(&uid);
    }

    fn use_sources(&self) {
        let keys = sources::used_by(&self.pod);
        self.shared.sources.set_used(object::uid(&self.pod), &keys, &self.sources_changed);
    }

    /// The next thing that happens.
    pub(super) async fn signal(&self) -> Signal {
        self.mailbox.take().await
    }

    /// Takes a signal into account.
    pub(super) async fn attend(&mut self, signal: Signal) {
        match signal {
            Signal::Changed(pod) => self.change(pod),
            Signal::Removed => self.is_removed = true,
            Signal::Runtime(id) => self.look_at(&id).await,
            Signal::Resync => self.look_at_all().await,
        }
    }

    fn change(&mut self, pod: Arc<Pod>) {
        self.publisher.seen(pod.clone());
        let old = std::mem::replace(&mut self.pod, pod);
        let (old, new) = (&old.metadata, &self.pod.metadata);
        if old.labels != new.labels || old.annotations != new.annotations {
            // Files of the downward API show them.
            self.sources_changed.notify_one();
        }
        let mut known: HashMap<String, Record> =
            self.records.drain(..).map(|record| (record.name().to_owned(), record)).collect();
        for spec in object::containers(&self.pod) {
            let record = match known.remove(&spec.container.name) {
                Some(record) => Record { spec, ..record },
                None => Record::new(spec),
            };
            self.records.push(record);
        }
        self.use_sources();
    }

    /// Asks the runtime about one sandbox or container.
    async fn look_at(&mut self, id: &str) {
        let sandbox = self.sandbox.as_ref().map(|sandbox| sandbox.id.clone());
        if sandbox.as_deref() == Some(id) {
            let status = self.shared.runtime.sandbox_status(id).await;
            let is_ready = match status {
                Ok(status) => status.state() == v1::PodSandboxState::SandboxReady,
                Err(error) if error.is_not_found() => false,
                Err(error) => return warn!(%error, id, "cannot look at sandbox"),
            };
            if let Some(sandbox) = &mut self.sandbox {
                sandbox.is_ready = is_ready;
            }
            return;
        }
        match self.shared.runtime.container_status(id).await {
            Ok(status) => self.observe(&status),
            Err(error) if error.is_not_found() => self.lose(id),
            Err(error) => warn!(%error, id, "cannot look at container"),
        }
    }

    /// The runtime has forgotten a container: if it is a present run, that is over.
    fn lose(&mut self, id: &str) {
        let of_run = |record: &&mut Record| record.running().is_some_and(|run| run.id == id);
        if let Some(record) = self.records.iter_mut().find(of_run) {
            record.lose(Instant::now());
        }
    }

    /// Asks the runtime about everything that runs.
    async fn look_at_all(&mut self) {
        let runs = self.records.iter().filter_map(Record::running).map(|run| run.id.clone());
        let sandbox = self.sandbox.iter().map(|sandbox| sandbox.id.clone());
        let ids: Vec<String> = runs.chain(sandbox).collect();
        for id in ids {
            self.look_at(&id).await;
        }
    }

    /// Takes over what the runtime says about a container.
    pub(super) fn observe(&mut self, status: &v1::ContainerStatus) {
        let name = status.metadata.as_ref().map(|metadata| metadata.name.as_str());
        let root = &self.shared.config.paths.root;
        let Some(record) = self.records.iter_mut().find(|record| Some(record.name()) == name)
        else {
            return;
        };
        // Whoever is starting it will look when that is done, hooks included.
        if record.now == Now::Starting && status.state() != v1::ContainerState::ContainerExited {
            return;
        }
        let ended = record.observe(status, Instant::now());
        if ended && let Now::Exited(exit) = &mut record.now {
            let words = message::read(root, &self.pod, &record.spec.container.name, status);
            exit.message = words.or_else(|| exit.message.take());
        }
    }

    /// Takes over what the runtime has when the worker begins.
    async fn inspect(&mut self, belongings: Belongings) {
        if let Some(newest) = belongings.sandboxes.first() {
            let is_ready = newest.state() == v1::PodSandboxState::SandboxReady;
            let attempt = newest.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
            self.sandbox = Some(Sandbox { id: newest.id.clone(), attempt, is_ready });
            if is_ready {
                self.read_addresses().await;
            }
        } else {
            self.sandbox = None;
        }
        // Oldest first, so that the newest run is what remains.
        let sandbox = self.sandbox.as_ref().map(|sandbox| sandbox.id.clone());
        for container in belongings.containers.iter().rev() {
            let Ok(status) = self.shared.runtime.container_status(&container.id).await else {
                continue;
            };
            let before = self.exit_of(&status);
            self.observe(&status);
            let is_here = sandbox.as_ref() == Some(&container.pod_sandbox_id);
            let name = status.metadata.as_ref().map(|metadata| metadata.name.clone());
            let found =
                self.records.iter_mut().find(|record| Some(record.name()) == name.as_deref());
            if let Some(record) = found {
                let is_newer = before.as_ref().is_some_and(|exit| exit.id != status.id);
                if is_newer && record.attempt != Some(0) {
                    record.last = before;
                }
                record.here |= is_here && record.attempt.is_some();
                adopt(&self.pod, record);
            }
        }
    }

    fn exit_of(&self, status: &v1::ContainerStatus) -> Option<super::container::Exit> {
        let name = status.metadata.as_ref().map(|metadata| metadata.name.as_str());
        let record = self.records.iter().find(|record| Some(record.name()) == name)?;
        record.exit().cloned()
    }

    /// Asks the runtime for the sandbox's addresses.
    pub(super) async fn read_addresses(&mut self) {
        let Some(sandbox) = &self.sandbox else { return };
        if object::is_host_network(&self.pod) {
            self.pod_ips = self.shared.host_ips();
            return;
        }
        match self.shared.runtime.sandbox_status(&sandbox.id).await {
            Ok(status) => {
                let network = status.network.unwrap_or_default();
                let more = network.additional_ips.into_iter().map(|ip| ip.ip);
                let all = std::iter::once(network.ip).chain(more);
                self.pod_ips = all.filter(|ip| !ip.is_empty()).collect();
            }
            Err(error) => warn!(%error, id = sandbox.id, "cannot read the pod's addresses"),
        }
    }

    /// Lets the node's ports that the pod asks for lead to it.
    pub(super) async fn open_host_ports(&mut self) {
        let ports = self.sandbox_config(0).port_mappings;
        let Some(address) = self.pod_ips.first().filter(|_| !ports.is_empty()).cloned() else {
            return;
        };
        match self.shared.host_ports.open(&address, &ports).await {
            Ok(()) => self.open_ports = Some((address, ports)),
            Err(error) => {
                let text = format!("ports of the node not opened: {error}");
                self.event(Level::Warning, "HostPortFailed", &text);
            }
        }
    }

    /// Takes them back.
    pub(super) async fn close_host_ports(&mut self) {
        let Some((address, ports)) = self.open_ports.take() else { return };
        if let Err(error) = self.shared.host_ports.close(&address, &ports).await {
            warn!(%error, address, "ports of the node not closed");
        }
    }

    /// Whether the pod's life must end, and why.
    pub(super) fn ending(&self) -> Option<Ending> {
        if self.is_removed {
            return Some(Ending::Removed);
        }
        if object::is_deleted(&self.pod) {
            return Some(Ending::Deleted);
        }
        if object::is_terminal(&self.pod) {
            return Some(Ending::Over);
        }
        let left = self.active_left()?;
        left.is_zero().then(|| {
            Ending::Failed(Failure {
                reason: "DeadlineExceeded".into(),
                message: "Pod was active on the node longer than the specified deadline".into(),
            })
        })
    }

    /// How much longer the pod may be active; none if it has no such limit.
    fn active_left(&self) -> Option<Duration> {
        let seconds = object::spec(&self.pod).active_deadline_seconds?;
        let end = self.start_time.0.as_second().saturating_add(seconds);
        let left = end.saturating_sub(Timestamp::now().as_second());
        Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }

    /// When the pod has been active for too long.
    pub(super) fn active_until(&self) -> Option<Instant> {
        Some(Instant::now() + self.active_left()?)
    }

    /// Works while listening; stops working when the pod's life must end.
    pub(super) async fn unless_ended<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Ending> {
        tokio::pin!(work);
        loop {
            if let Some(ending) = self.ending() {
                return Err(ending);
            }
            let deadline = self.active_until();
            tokio::select! {
                done = &mut work => return Ok(done),
                signal = self.signal() => self.attend(signal).await,
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Where this pod's containers run; none without a sandbox.
    pub(super) fn place(&self) -> Option<Place> {
        let sandbox = self.sandbox.as_ref()?;
        Some(Place {
            shared: self.shared.clone(),
            pod: self.pod.clone(),
            sandbox: sandbox.id.clone(),
            sandbox_config: self.sandbox_config(sandbox.attempt),
            pod_ips: self.pod_ips.clone(),
            volumes: self.volumes.paths(),
        })
    }

    pub(super) fn sandbox_config(&self, attempt: u32) -> v1::PodSandboxConfig {
        let dns = self.shared.resolv_conf();
        crate::spec::sandbox::sandbox_config(&self.shared.config, &self.pod, attempt, &dns)
    }

    pub(super) fn sandbox_is_ready(&self) -> bool {
        self.sandbox.as_ref().is_some_and(|sandbox| sandbox.is_ready)
    }

    /// Makes the volumes, or brings them up to date.
    pub(super) async fn set_up_volumes(&mut self) -> Result<(), String> {
        let shared = self.shared.clone();
        let pod = self.pod.clone();
        let facts = shared.facts(&self.pod_ips);
        let tools = Tools {
            client: &shared.client,
            sources: &shared.sources,
            root: &shared.config.paths.root,
        };
        let done = self.volumes.set_up(tools, &pod, &facts).await;
        done.map_err(|error| {
            let source: &dyn std::error::Error = &error.source;
            let text = format!("{error}{}", deeper(source));
            self.event(Level::Warning, "FailedMount", &text);
            text
        })
    }

    /// Says in the API what is known now.
    pub(super) fn publish(&self) {
        let view = View {
            pod: &self.pod,
            records: &self.records,
            runtime: &self.shared.runtime_name,
            host_ips: &self.shared.host_ips(),
            pod_ips: &self.pod_ips,
            sandbox_ready: self.sandbox_is_ready() && !self.pod_ips.is_empty(),
            start_time: &self.start_time,
            failure: self.failure.clone(),
            ending: self.is_ending,
        };
        self.publisher.status(status::status(&view));
    }

    /// Asks for the object to be removed once its last status is written.
    pub(super) fn remove_object(&self) {
        self.publisher.remove();
    }

    pub(super) fn event(&self, level: Level, reason: &str, message: &str) {
        let about = object::reference(&self.pod, None);
        self.shared.recorder.record_ref(about, level, reason, message);
    }

    /// What the runtime has of this pod now.
    pub(super) async fn belongings(&self) -> Result<Belongings, minik_cri::RuntimeError> {
        let inventory = Inventory::take(&self.shared.runtime).await?;
        Ok(inventory.of(object::uid(&self.pod)))
    }

    /// Folder of the pod's logs.
    pub(super) fn log_directory(&self) -> std::path::PathBuf {
        names::log_directory(&self.shared.config.paths.pod_logs, &self.pod)
    }
}

/// What a kubelet before this one had found out about a run, and made of it, stays believed.
fn adopt(pod: &Pod, record: &mut Record) {
    let Some(running) = record.running() else { return };
    let status = pod.status.as_ref();
    let lists = status.map(|status| [&status.container_statuses, &status.init_container_statuses]);
    let known = lists.into_iter().flatten().flatten().flatten().find(|known| {
        let id = known.container_id.as_deref().and_then(|id| id.split_once("://"));
        id.is_some_and(|(_, id)| id == running.id)
    });
    if let Some(resources) = known.and_then(|known| known.resources.clone())
        && let Now::Running(running) = &mut record.now
    {
        running.resources = resources;
    }
    let (started, ready) =
        known.map_or((false, false), |known| (known.started.unwrap_or(false), known.ready));
    let container = &record.spec.container;
    let (has_startup, has_readiness) =
        (container.startup_probe.is_some(), container.readiness_probe.is_some());
    record.started = !has_startup || started;
    record.ready = record.started && (!has_readiness || ready);
}

/// The causes of an error that its own text does not repeat.
fn deeper(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) if !error.to_string().contains(&source.to_string()) => format!(": {source}"),
        Some(_) | None => String::new(),
    }
}

/// Sleeps until then; for ever without a time.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
