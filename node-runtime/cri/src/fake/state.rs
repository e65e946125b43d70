//! What the scripted runtime remembers: plain data and transitions, no async.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use super::Script;
use crate::runtime::RuntimeError;
use crate::v1;

#[derive(Default)]
pub(super) struct State {
    pub(super) scripts: BTreeMap<String, Script>,
    pub(super) images: BTreeMap<String, v1::Image>,
    pub(super) calls: Vec<String>,
    pub(super) listeners: Vec<mpsc::Sender<Result<v1::ContainerEventResponse, RuntimeError>>>,
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<String, Container>,
    made: u32,
}

struct Sandbox {
    config: v1::PodSandboxConfig,
    created_at: i64,
    ready: bool,
    ip: String,
}

struct Container {
    sandbox: String,
    config: v1::ContainerConfig,
    status: v1::ContainerStatus,
}

impl State {
    fn script_of(&self, image: &str) -> Script {
        self.scripts.get(image).cloned().unwrap_or_default()
    }

    pub(super) fn add_image(&mut self, image: &str) -> String {
        let id = format!("sha256:{:064x}", u64::from(u32::try_from(image.len()).unwrap_or(0)));
        let user = self.script_of(image).user;
        let entry = v1::Image {
            id: id.clone(),
            repo_tags: vec![image.to_owned()],
            repo_digests: vec![format!("{image}@{id}")],
            size: 1 << 20,
            uid: user.map(|value| v1::Int64Value { value }),
            ..Default::default()
        };
        self.images.insert(image.to_owned(), entry);
        id
    }

    pub(super) fn pull_image(&mut self, image: &str) -> Result<String, RuntimeError> {
        self.calls.push(format!("pull {image}"));
        match self.script_of(image).pull_error {
            Some(message) => Err(failed("Unknown", message)),
            None => Ok(self.add_image(image)),
        }
    }

    pub(super) fn run_sandbox(&mut self, config: v1::PodSandboxConfig) -> String {
        self.made += 1;
        let id = format!("sandbox-{}", self.made);
        let host_network = namespaces(&config).network() == v1::NamespaceMode::Node;
        let ip = if host_network { String::new() } else { format!("10.244.0.{}", self.made + 1) };
        let pod = config.metadata.clone().unwrap_or_default().name;
        self.calls.push(format!("sandbox {pod}"));
        let sandbox = Sandbox { config, created_at: now(), ready: true, ip };
        self.sandboxes.insert(id.clone(), sandbox);
        id
    }

    pub(super) fn stop_sandbox(&mut self, id: &str) {
        let inside: Vec<String> = self.ids_in(id);
        for container in inside {
            self.exit(&container, 137, "");
        }
        let Some(sandbox) = self.sandboxes.get_mut(id) else { return };
        let was_ready = std::mem::replace(&mut sandbox.ready, false);
        let pod = sandbox.config.metadata.clone().unwrap_or_default().name;
        if was_ready {
            self.calls.push(format!("stop sandbox {pod}"));
            self.tell(id, id, v1::ContainerEventType::ContainerStoppedEvent);
        }
    }

    pub(super) fn remove_sandbox(&mut self, id: &str) {
        self.stop_sandbox(id);
        for container in self.ids_in(id) {
            self.containers.remove(&container);
        }
        if let Some(sandbox) = self.sandboxes.remove(id) {
            let pod = sandbox.config.metadata.unwrap_or_default().name;
            self.calls.push(format!("remove sandbox {pod}"));
        }
    }

    fn ids_in(&self, sandbox: &str) -> Vec<String> {
        let inside = self.containers.iter().filter(|(_, container)| container.sandbox == sandbox);
        inside.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn list_sandboxes(&self) -> Vec<v1::PodSandbox> {
        self.sandboxes
            .iter()
            .map(|(id, sandbox)| v1::PodSandbox {
                id: id.clone(),
                metadata: sandbox.config.metadata.clone(),
                state: sandbox_state(sandbox).into(),
                created_at: sandbox.created_at,
                labels: sandbox.config.labels.clone(),
                annotations: sandbox.config.annotations.clone(),
                runtime_handler: String::new(),
            })
            .collect()
    }

    pub(super) fn sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, RuntimeError> {
        let sandbox = self.sandboxes.get(id).ok_or_else(|| missing("sandbox", id))?;
        Ok(v1::PodSandboxStatus {
            id: id.to_owned(),
            metadata: sandbox.config.metadata.clone(),
            state: sandbox_state(sandbox).into(),
            created_at: sandbox.created_at,
            network: Some(v1::PodSandboxNetworkStatus {
                ip: sandbox.ip.clone(),
                additional_ips: Vec::new(),
            }),
            linux: Some(v1::LinuxPodSandboxStatus {
                namespaces: Some(v1::Namespace { options: Some(namespaces(&sandbox.config)) }),
            }),
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
            runtime_handler: String::new(),
        })
    }

    pub(super) fn create_container(
        &mut self,
        sandbox: &str,
        config: v1::ContainerConfig,
    ) -> Result<String, RuntimeError> {
        let home = self.sandboxes.get(sandbox).ok_or_else(|| missing("sandbox", sandbox))?;
        let pod = home.config.metadata.clone().unwrap_or_default().name;
        let image = config.image.clone().unwrap_or_default();
        let asked = if image.user_specified_image.is_empty() {
            image.image.clone()
        } else {
            image.user_specified_image.clone()
        };
        if let Some(message) = self.script_of(&asked).create_error {
            return Err(failed("Unknown", message));
        }
        self.made += 1;
        let id = format!("container-{}", self.made);
        let status = v1::ContainerStatus {
            id: id.clone(),
            metadata: config.metadata.clone(),
            state: v1::ContainerState::ContainerCreated.into(),
            created_at: now(),
            image: Some(v1::ImageSpec { image: asked, ..Default::default() }),
            image_ref: image.image,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            log_path: format!("{}/{}", home.config.log_directory, config.log_path),
            ..Default::default()
        };
        let name = config.metadata.clone().unwrap_or_default().name;
        self.calls.push(format!("create {pod}/{name}"));
        let container = Container { sandbox: sandbox.to_owned(), config, status };
        self.containers.insert(id.clone(), container);
        self.tell(sandbox, &id, v1::ContainerEventType::ContainerCreatedEvent);
        Ok(id)
    }

    /// Starts a container; says when and how it will exit by itself.
    pub(super) fn start_container(
        &mut self,
        id: &str,
    ) -> Result<Option<(Duration, i32)>, RuntimeError> {
        let container = self.containers.get(id).ok_or_else(|| missing("container", id))?;
        let image = container.status.image.clone().unwrap_or_default().image;
        let script = self.script_of(&image);
        if let Some(message) = script.start_error {
            self.exit(id, 128, "StartError");
            return Err(failed("Unknown", message));
        }
        let pod = self.pod_of(id);
        let container = self.containers.get_mut(id).ok_or_else(|| missing("container", id))?;
        container.status.state = v1::ContainerState::ContainerRunning.into();
        container.status.started_at = now();
        let name = container.config.metadata.clone().unwrap_or_default().name;
        let sandbox = container.sandbox.clone();
        self.calls.push(format!("start {pod}/{name}"));
        self.tell(&sandbox, id, v1::ContainerEventType::ContainerStartedEvent);
        Ok(script.exits)
    }

    /// Notes a stop; returns whether the container ignores the signal.
    pub(super) fn stop_requested(&mut self, id: &str, grace: Duration) -> bool {
        let pod = self.pod_of(id);
        let Some(container) = self.containers.get(id) else { return false };
        if container.status.state() != v1::ContainerState::ContainerRunning {
            return false;
        }
        let name = container.config.metadata.clone().unwrap_or_default().name;
        let image = container.status.image.clone().unwrap_or_default().image;
        self.calls.push(format!("stop {pod}/{name} grace={}", grace.as_secs()));
        self.script_of(&image).ignores_stop
    }

    pub(super) fn exit(&mut self, id: &str, code: i32, reason: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.status.state() == v1::ContainerState::ContainerExited {
            return;
        }
        let default_reason = if code == 0 { "Completed" } else { "Error" };
        let reason = if reason.is_empty() { default_reason } else { reason };
        container.status.state = v1::ContainerState::ContainerExited.into();
        container.status.finished_at = now();
        container.status.exit_code = code;
        container.status.reason = reason.into();
        let sandbox = container.sandbox.clone();
        self.tell(&sandbox, id, v1::ContainerEventType::ContainerStoppedEvent);
    }

    pub(super) fn update_resources(
        &mut self,
        id: &str,
        linux: v1::LinuxContainerResources,
    ) -> Result<(), RuntimeError> {
        let pod = self.pod_of(id);
        let container = self.containers.get_mut(id).ok_or_else(|| missing("container", id))?;
        let name = container.config.metadata.clone().unwrap_or_default().name;
        let (quota, memory) = (linux.cpu_quota, linux.memory_limit_in_bytes);
        container.config.linux.get_or_insert_default().resources = Some(linux);
        self.calls.push(format!("update {pod}/{name} quota={quota} memory={memory}"));
        Ok(())
    }

    /// Where the present run's log is.
    pub(super) fn log_of(&self, pod: &str, name: &str) -> Option<String> {
        let id = self.running(pod, name)?;
        self.containers.get(&id).map(|container| container.status.log_path.clone())
    }

    pub(super) fn remove_container(&mut self, id: &str) {
        let pod = self.pod_of(id);
        if let Some(container) = self.containers.remove(id) {
            let name = container.config.metadata.unwrap_or_default().name;
            self.calls.push(format!("remove {pod}/{name}"));
            self.tell(&container.sandbox, id, v1::ContainerEventType::ContainerDeletedEvent);
        }
    }

    pub(super) fn list_containers(&self) -> Vec<v1::Container> {
        self.containers
            .iter()
            .map(|(id, container)| v1::Container {
                id: id.clone(),
                pod_sandbox_id: container.sandbox.clone(),
                metadata: container.config.metadata.clone(),
                image: container.status.image.clone(),
                image_ref: container.status.image_ref.clone(),
                state: container.status.state,
                created_at: container.status.created_at,
                labels: container.config.labels.clone(),
                annotations: container.config.annotations.clone(),
                image_id: container.status.image_ref.clone(),
            })
            .collect()
    }

    pub(super) fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, RuntimeError> {
        let container = self.containers.get(id).ok_or_else(|| missing("container", id))?;
        Ok(container.status.clone())
    }

    pub(super) fn reboot(&mut self) {
        self.listeners.clear();
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            self.exit(&id, 255, "Unknown");
        }
        for sandbox in self.sandboxes.values_mut() {
            sandbox.ready = false;
        }
    }

    pub(super) fn running(&self, pod: &str, name: &str) -> Option<String> {
        let found = self.containers.iter().find(|(_, container)| {
            container.status.state() == v1::ContainerState::ContainerRunning
                && container.config.metadata.as_ref().is_some_and(|meta| meta.name == name)
                && self.pod_name(&container.sandbox) == pod
        });
        found.map(|(id, _)| id.clone())
    }

    pub(super) fn running_count(&self) -> usize {
        let running = |container: &&Container| {
            container.status.state() == v1::ContainerState::ContainerRunning
        };
        self.containers.values().filter(running).count()
    }

    pub(super) fn container_config(&self, pod: &str, name: &str) -> Option<v1::ContainerConfig> {
        let of_pod = self.containers.values().filter(|container| {
            container.config.metadata.as_ref().is_some_and(|meta| meta.name == name)
                && self.pod_name(&container.sandbox) == pod
        });
        let last = of_pod.max_by_key(|container| container.status.created_at);
        last.map(|container| container.config.clone())
    }

    pub(super) fn sandbox_config(&self, pod: &str) -> Option<v1::PodSandboxConfig> {
        let of_pod = self.sandboxes.iter().filter(|(id, _)| self.pod_name(id) == pod);
        let last = of_pod.max_by_key(|(_, sandbox)| sandbox.created_at);
        last.map(|(_, sandbox)| sandbox.config.clone())
    }

    fn pod_name(&self, sandbox: &str) -> String {
        let sandbox = self.sandboxes.get(sandbox);
        sandbox.and_then(|sandbox| sandbox.config.metadata.clone()).unwrap_or_default().name
    }

    fn pod_of(&self, container: &str) -> String {
        let container = self.containers.get(container);
        container.map(|container| self.pod_name(&container.sandbox)).unwrap_or_default()
    }

    fn tell(&mut self, sandbox: &str, id: &str, kind: v1::ContainerEventType) {
        let statuses = self.ids_in(sandbox);
        let event = v1::ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind.into(),
            created_at: now(),
            pod_sandbox_status: self.sandbox_status(sandbox).ok(),
            containers_statuses: statuses
                .iter()
                .filter_map(|id| self.container_status(id).ok())
                .collect(),
        };
        // A reader that left, or is hopelessly behind, loses its stream as it would with gRPC.
        self.listeners.retain(|listener| listener.try_send(Ok(event.clone())).is_ok());
    }
}

fn sandbox_state(sandbox: &Sandbox) -> v1::PodSandboxState {
    match sandbox.ready {
        true => v1::PodSandboxState::SandboxReady,
        false => v1::PodSandboxState::SandboxNotready,
    }
}

fn namespaces(config: &v1::PodSandboxConfig) -> v1::NamespaceOption {
    let linux = config.linux.clone().unwrap_or_default();
    linux.security_context.unwrap_or_default().namespace_options.unwrap_or_default()
}

fn missing(kind: &str, id: &str) -> RuntimeError {
    RuntimeError::NotFound { message: format!("{kind} {id:?} not found") }
}

fn failed(code: &str, message: String) -> RuntimeError {
    RuntimeError::Failed { code: code.into(), message }
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Writes one line as CRI runtimes do.
pub(super) fn append(path: &str, line: &str) -> std::io::Result<()> {
    use std::io::Write;

    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    // Any time will do, as long as it is one.
    writeln!(file, "2026-01-01T00:00:00.000000000Z stdout F {line}")
}
