//! A scripted [`Runtime`] for tests: no process runs, but sandboxes, containers, images and events
//! behave as a real runtime's do.

mod state;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::runtime::{Answer, EventReceiver, Runtime, RuntimeError};
use crate::v1;
use state::State;

const EVENTS_MAX: usize = 4096;

/// How containers of one image behave.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Why the image cannot be pulled.
    pub pull_error: Option<String>,
    /// Why a container cannot be created.
    pub create_error: Option<String>,
    /// Why a container cannot be started.
    pub start_error: Option<String>,
    /// The container exits by itself after this time (of tokio's clock) with this code.
    pub exits: Option<(Duration, i32)>,
    /// The user that the image asks for; `None` is root.
    pub user: Option<i64>,
    /// The container ignores the stop signal: only the end of the grace period ends it.
    pub ignores_stop: bool,
}

/// What a command in a container answers.
#[derive(Clone, Debug, Default)]
pub struct ExecAnswer {
    /// Exit code of the command.
    pub exit_code: i32,
    /// What it printed.
    pub stdout: String,
}

type ExecScript = Box<dyn FnMut(&str, &[String]) -> ExecAnswer + Send>;

/// The scripted runtime. Clones share one state.
#[derive(Clone)]
pub struct FakeRuntime {
    state: Arc<Mutex<State>>,
    exec: Arc<Mutex<ExecScript>>,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeRuntime {
    /// A runtime with no images where every image can be pulled and runs until it is stopped.
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            exec: Arc::new(Mutex::new(Box::new(|_, _| ExecAnswer::default()))),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    /// Sets how containers of `image` behave from now on.
    pub fn script(&self, image: &str, script: Script) {
        self.state().scripts.insert(image.to_owned(), script);
    }

    /// Puts an image on the node without a pull.
    pub fn add_image(&self, image: &str) {
        self.state().add_image(image);
    }

    /// Sets what commands in containers answer; called with the container's name and the command.
    pub fn on_exec(&self, answer: impl FnMut(&str, &[String]) -> ExecAnswer + Send + 'static) {
        *self.exec.lock().expect("no test panics while it holds the script") = Box::new(answer);
    }

    /// Ends the running container named `name` of pod `pod` as if its process had exited.
    /// Returns whether there was one.
    pub fn exit(&self, pod: &str, name: &str, code: i32) -> bool {
        let mut state = self.state();
        let Some(id) = state.running(pod, name) else { return false };
        state.exit(&id, code, "");
        true
    }

    /// Ends a container as the kernel's memory killer would.
    pub fn oom_kill(&self, pod: &str, name: &str) -> bool {
        let mut state = self.state();
        let Some(id) = state.running(pod, name) else { return false };
        state.exit(&id, 137, "OOMKilled");
        true
    }

    /// What a reboot of the machine leaves: everything recorded, nothing running, no events.
    pub fn reboot(&self) {
        self.state().reboot();
    }

    /// Writes a line to the log of the container `name` of pod `pod`, as the runtime does with
    /// what a container prints. Returns whether there is such a container.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn print(&self, pod: &str, name: &str, line: &str) -> std::io::Result<bool> {
        let path = self.state().log_of(pod, name);
        match path {
            Some(path) => state::append(&path, line).map(|()| true),
            None => Ok(false),
        }
    }

    /// Breaks all open event streams, as a restart of the runtime would.
    pub fn break_events(&self) {
        self.state().listeners.clear();
    }

    /// The calls so far that changed something, e.g. `start web/app`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Number of containers that are running now.
    pub fn running_count(&self) -> usize {
        self.state().running_count()
    }

    /// The configuration that the container `name` of pod `pod` was created with last.
    pub fn container_config(&self, pod: &str, name: &str) -> Option<v1::ContainerConfig> {
        self.state().container_config(pod, name)
    }

    /// The configuration that the sandbox of pod `pod` was created with last.
    pub fn sandbox_config(&self, pod: &str) -> Option<v1::PodSandboxConfig> {
        self.state().sandbox_config(pod)
    }

    fn answer<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State) -> Result<T, RuntimeError>,
    ) -> Answer<'_, T> {
        let result = act(&mut self.state());
        Box::pin(async move { result })
    }
}

impl Runtime for FakeRuntime {
    fn version(&self) -> Answer<'_, v1::VersionResponse> {
        self.answer(|_| {
            Ok(v1::VersionResponse {
                version: "0.1.0".into(),
                runtime_name: "fake".into(),
                runtime_version: "1.0.0".into(),
                runtime_api_version: "v1".into(),
            })
        })
    }

    fn status(&self) -> Answer<'_, v1::RuntimeStatus> {
        let ready = |name: &str| v1::RuntimeCondition {
            r#type: name.into(),
            status: true,
            ..Default::default()
        };
        self.answer(|_| {
            Ok(v1::RuntimeStatus { conditions: vec![ready("RuntimeReady"), ready("NetworkReady")] })
        })
    }

    fn run_sandbox(&self, config: v1::PodSandboxConfig, _handler: &str) -> Answer<'_, String> {
        self.answer(|state| Ok(state.run_sandbox(config)))
    }

    fn stop_sandbox(&self, id: &str) -> Answer<'_, ()> {
        self.answer(|state| {
            state.stop_sandbox(id);
            Ok(())
        })
    }

    fn remove_sandbox(&self, id: &str) -> Answer<'_, ()> {
        self.answer(|state| {
            state.remove_sandbox(id);
            Ok(())
        })
    }

    fn sandboxes(&self) -> Answer<'_, Vec<v1::PodSandbox>> {
        self.answer(|state| Ok(state.list_sandboxes()))
    }

    fn sandbox_status(&self, id: &str) -> Answer<'_, v1::PodSandboxStatus> {
        self.answer(|state| state.sandbox_status(id))
    }

    fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        _sandbox_config: v1::PodSandboxConfig,
    ) -> Answer<'_, String> {
        self.answer(|state| state.create_container(sandbox, config))
    }

    fn start_container(&self, id: &str) -> Answer<'_, ()> {
        let exits = match self.state().start_container(id) {
            Ok(exits) => exits,
            Err(error) => return Box::pin(async move { Err(error) }),
        };
        if let Some((after, code)) = exits {
            let (runtime, id) = (self.clone(), id.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                runtime.state().exit(&id, code, "");
            });
        }
        Box::pin(async move { Ok(()) })
    }

    fn stop_container(&self, id: &str, grace: Duration) -> Answer<'_, ()> {
        let id = id.to_owned();
        Box::pin(async move {
            let ignores = self.state().stop_requested(&id, grace);
            if ignores {
                tokio::time::sleep(grace).await;
            }
            self.state().exit(&id, if ignores { 137 } else { 143 }, "");
            Ok(())
        })
    }

    fn update_resources(&self, id: &str, linux: v1::LinuxContainerResources) -> Answer<'_, ()> {
        self.answer(|state| state.update_resources(id, linux))
    }

    fn remove_container(&self, id: &str) -> Answer<'_, ()> {
        self.answer(|state| {
            state.remove_container(id);
            Ok(())
        })
    }

    fn containers(&self) -> Answer<'_, Vec<v1::Container>> {
        self.answer(|state| Ok(state.list_containers()))
    }

    fn container_status(&self, id: &str) -> Answer<'_, v1::ContainerStatus> {
        self.answer(|state| state.container_status(id))
    }

    fn container_pid(&self, _id: &str) -> Answer<'_, Option<i32>> {
        self.answer(|_| Ok(None))
    }

    fn sandbox_pid(&self, _id: &str) -> Answer<'_, Option<i32>> {
        self.answer(|_| Ok(None))
    }

    fn reopen_log(&self, id: &str) -> Answer<'_, ()> {
        self.answer(|state| state.container_status(id).map(|_| ()))
    }

    fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        _timeout: Duration,
    ) -> Answer<'_, v1::ExecSyncResponse> {
        let status = self.state().container_status(id);
        Box::pin(async move {
            let name = status?.metadata.unwrap_or_default().name;
            let mut exec = self.exec.lock().expect("no test panics while it holds the script");
            let answer = exec(&name, &command);
            Ok(v1::ExecSyncResponse {
                stdout: answer.stdout.into_bytes(),
                stderr: Vec::new(),
                exit_code: answer.exit_code,
            })
        })
    }

    fn exec(&self, _request: v1::ExecRequest) -> Answer<'_, String> {
        unsupported("exec")
    }

    fn attach(&self, _request: v1::AttachRequest) -> Answer<'_, String> {
        unsupported("attach")
    }

    fn port_forward(&self, _request: v1::PortForwardRequest) -> Answer<'_, String> {
        unsupported("port-forward")
    }

    fn pull_image(
        &self,
        image: &str,
        _auth: Option<v1::AuthConfig>,
        _sandbox_config: v1::PodSandboxConfig,
    ) -> Answer<'_, String> {
        self.answer(|state| state.pull_image(image))
    }

    fn image_status(&self, image: &str) -> Answer<'_, Option<v1::Image>> {
        self.answer(|state| Ok(state.images.get(image).cloned()))
    }

    fn images(&self) -> Answer<'_, Vec<v1::Image>> {
        self.answer(|state| Ok(state.images.values().cloned().collect()))
    }

    fn remove_image(&self, image: &str) -> Answer<'_, ()> {
        self.answer(|state| {
            state.images.remove(image);
            Ok(())
        })
    }

    fn image_fs(&self) -> Answer<'_, v1::ImageFsInfoResponse> {
        self.answer(|_| Ok(v1::ImageFsInfoResponse::default()))
    }

    fn container_stats(&self) -> Answer<'_, Vec<v1::ContainerStats>> {
        self.answer(|_| Ok(Vec::new()))
    }

    fn events(&self) -> Answer<'_, EventReceiver> {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        self.answer(move |state| {
            state.listeners.push(sender);
            Ok(receiver)
        })
    }
}

fn unsupported<'a>(what: &str) -> Answer<'a, String> {
    let message = format!("the scripted runtime streams no {what}");
    Box::pin(async move { Err(RuntimeError::Unsupported { message }) })
}
