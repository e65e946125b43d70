//! What the kubelet needs from a container runtime, as a trait that real and fake ones implement.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::v1;

/// The future every [`Runtime`] call returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RuntimeError>> + Send + 'a>>;

/// Events as they come. An error is the last thing sent; a closed channel means that the stream
/// must be opened again, after which the state has to be listed: events may have been missed.
pub type EventReceiver = mpsc::Receiver<Result<v1::ContainerEventResponse, RuntimeError>>;

/// Why a call to the runtime failed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RuntimeError {
    /// Nobody answers on the socket.
    #[error("the container runtime at {endpoint} does not answer: {message}")]
    Unreachable {
        /// The socket that was tried.
        endpoint: String,
        /// What the transport said.
        message: String,
    },
    /// The object is not there (any more).
    #[error("{message}")]
    NotFound {
        /// The runtime's words.
        message: String,
    },
    /// The runtime did not answer within the deadline of the call.
    #[error("{call} took longer than {} s", .after.as_secs())]
    TimedOut {
        /// Name of the call.
        call: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// The runtime does not offer this call.
    #[error("{message}")]
    Unsupported {
        /// The runtime's words.
        message: String,
    },
    /// The runtime refused or failed.
    #[error("{message}")]
    Failed {
        /// The gRPC code by name, e.g. `Internal`.
        code: String,
        /// The runtime's words.
        message: String,
    },
}

impl RuntimeError {
    /// Whether the object was not found: for stop and remove that is as good as done.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// A CRI v1 runtime. Every call has a deadline of its own and can be dropped at any time.
pub trait Runtime: Send + Sync + 'static {
    /// Name and version of the runtime.
    fn version(&self) -> Answer<'_, v1::VersionResponse>;
    /// The conditions `RuntimeReady` and `NetworkReady`.
    fn status(&self) -> Answer<'_, v1::RuntimeStatus>;

    /// Creates and starts a sandbox; returns its id. `handler` is the runtime class' one, empty
    /// for the default.
    fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Answer<'_, String>;
    /// Stops a sandbox with everything in it and frees its network. Idempotent.
    fn stop_sandbox(&self, id: &str) -> Answer<'_, ()>;
    /// Removes a sandbox and its containers. Idempotent.
    fn remove_sandbox(&self, id: &str) -> Answer<'_, ()>;
    /// All sandboxes, running or not.
    fn sandboxes(&self) -> Answer<'_, Vec<v1::PodSandbox>>;
    /// State and addresses of one sandbox.
    fn sandbox_status(&self, id: &str) -> Answer<'_, v1::PodSandboxStatus>;

    /// The sandbox's own process on this machine, if the runtime tells.
    fn sandbox_pid(&self, id: &str) -> Answer<'_, Option<i32>>;

    /// Creates a container in a sandbox; returns its id.
    fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Answer<'_, String>;
    /// Starts a created container.
    fn start_container(&self, id: &str) -> Answer<'_, ()>;
    /// Sends the stop signal and, after `grace`, SIGKILL. Returns when it has exited. Idempotent.
    fn stop_container(&self, id: &str, grace: Duration) -> Answer<'_, ()>;
    /// Changes the limits of a running container.
    fn update_resources(&self, id: &str, linux: v1::LinuxContainerResources) -> Answer<'_, ()>;
    /// Removes a container, by force if it runs. Idempotent.
    fn remove_container(&self, id: &str) -> Answer<'_, ()>;
    /// All containers, running or not.
    fn containers(&self) -> Answer<'_, Vec<v1::Container>>;
    /// Everything about one container.
    fn container_status(&self, id: &str) -> Answer<'_, v1::ContainerStatus>;
    /// The container's first process on this machine, if the runtime tells: it is not part of
    /// CRI proper, but what `crictl inspect` shows.
    fn container_pid(&self, id: &str) -> Answer<'_, Option<i32>>;
    /// Tells the runtime that the log file was renamed and a new one is wanted.
    fn reopen_log(&self, id: &str) -> Answer<'_, ()>;

    /// Runs a command in a container and collects its output.
    fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Answer<'_, v1::ExecSyncResponse>;
    /// Prepares an interactive command; returns the URL to stream from.
    fn exec(&self, request: v1::ExecRequest) -> Answer<'_, String>;
    /// Prepares attaching to a container; returns the URL to stream from.
    fn attach(&self, request: v1::AttachRequest) -> Answer<'_, String>;
    /// Prepares forwarding ports of a sandbox; returns the URL to stream from.
    fn port_forward(&self, request: v1::PortForwardRequest) -> Answer<'_, String>;

    /// Pulls an image; returns the reference to run it by.
    fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Answer<'_, String>;
    /// The image if it is on the node.
    fn image_status(&self, image: &str) -> Answer<'_, Option<v1::Image>>;
    /// All images on the node.
    fn images(&self) -> Answer<'_, Vec<v1::Image>>;
    /// Removes an image. Idempotent.
    fn remove_image(&self, image: &str) -> Answer<'_, ()>;
    /// Usage of the file systems that hold images.
    fn image_fs(&self) -> Answer<'_, v1::ImageFsInfoResponse>;

    /// CPU and memory of all running containers.
    fn container_stats(&self) -> Answer<'_, Vec<v1::ContainerStats>>;
    /// Opens the stream of container events.
    fn events(&self) -> Answer<'_, EventReceiver>;
}
