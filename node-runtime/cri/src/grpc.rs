//! [`Runtime`] over gRPC on a unix socket: containerd, CRI-O or any other CRI v1 runtime.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Response, Status};

use crate::runtime::{Answer, EventReceiver, Runtime, RuntimeError};
use crate::v1;
use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;

/// Deadline of calls that only look or change one small thing.
const CALL_DEADLINE: Duration = Duration::from_secs(120);
/// Deadline of making and stopping sandboxes: CNI plugins run inside.
const SANDBOX_DEADLINE: Duration = Duration::from_secs(240);
/// Deadline of a pull; a slow link may need most of it.
const PULL_DEADLINE: Duration = Duration::from_secs(30 * 60);
/// Answers up to this size are taken (a node with many images lists long).
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Events waiting to be read; the reader only forwards them, so this is never reached in practice.
const EVENTS_MAX: usize = 1024;

/// A connection to a CRI runtime; reconnects by itself after the runtime restarted.
#[derive(Clone, Debug)]
pub struct GrpcRuntime {
    endpoint: String,
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl GrpcRuntime {
    /// A client for the socket at `path`. Connects with the first call, so the runtime may start
    /// later; must be called within a tokio runtime.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let endpoint = format!("unix://{}", path.display());
        let channel = Endpoint::from_static("http://cri.invalid").connect_with_connector_lazy(
            tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }),
        );
        Self {
            endpoint,
            runtime: RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
        }
    }

    fn failure(&self, call: &'static str, after: Duration, status: &Status) -> RuntimeError {
        let message = status.message().to_owned();
        match status.code() {
            Code::NotFound => RuntimeError::NotFound { message },
            Code::Unimplemented => RuntimeError::Unsupported { message },
            Code::Unavailable => {
                RuntimeError::Unreachable { endpoint: self.endpoint.clone(), message }
            }
            Code::DeadlineExceeded => RuntimeError::TimedOut { call, after },
            code => RuntimeError::Failed { code: format!("{code:?}"), message },
        }
    }

    /// Sends one request with a deadline and takes the message out of the answer.
    fn call<'a, Q, A, F>(
        &'a self,
        name: &'static str,
        deadline: Duration,
        message: Q,
        send: impl FnOnce(Request<Q>) -> F + Send + 'a,
    ) -> Answer<'a, A>
    where
        Q: Send + 'a,
        A: 'a,
        F: Future<Output = Result<Response<A>, Status>> + Send + 'a,
    {
        Box::pin(async move {
            let mut request = Request::new(message);
            request.set_timeout(deadline);
            match tokio::time::timeout(deadline, send(request)).await {
                Ok(Ok(answer)) => Ok(answer.into_inner()),
                Ok(Err(status)) => Err(self.failure(name, deadline, &status)),
                Err(_) => Err(RuntimeError::TimedOut { call: name, after: deadline }),
            }
        })
    }
}

/// `rpc!(self.runtime.stop_container, DEADLINE, request)`: the future of one unary call.
macro_rules! rpc {
    ($self:ident . $client:ident . $method:ident, $deadline:expr, $message:expr) => {{
        let mut client = $self.$client.clone();
        $self.call(stringify!($method), $deadline, $message, move |request| async move {
            client.$method(request).await
        })
    }};
}

/// Takes one field out of the answer, or maps it otherwise.
fn then<'a, A: Send + 'a, T>(
    answer: Answer<'a, A>,
    map: impl FnOnce(A) -> T + Send + 'a,
) -> Answer<'a, T> {
    Box::pin(async move { answer.await.map(map) })
}

/// For calls whose goal is absence: what is not there any more counts as done.
fn gone_is_fine<'a, A: Send + 'a>(answer: Answer<'a, A>) -> Answer<'a, ()> {
    Box::pin(async move {
        match answer.await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    })
}

/// A status answer without a status is a broken runtime.
fn required<'a, T: Send + 'a>(what: &'static str, answer: Answer<'a, Option<T>>) -> Answer<'a, T> {
    Box::pin(async move {
        answer.await?.ok_or_else(|| RuntimeError::Failed {
            code: "DataLoss".into(),
            message: format!("the runtime answered without {what}"),
        })
    })
}

/// The process in a verbose answer: `info` holds JSON with a `pid`.
fn pid(info: &HashMap<String, String>) -> Option<i32> {
    let info: serde_json::Value = serde_json::from_str(info.get("info")?).ok()?;
    let pid = info["pid"].as_i64()?;
    i32::try_from(pid).ok().filter(|pid| *pid > 0)
}

fn image_spec(image: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() })
}

impl Runtime for GrpcRuntime {
    fn version(&self) -> Answer<'_, v1::VersionResponse> {
        rpc!(self.runtime.version, CALL_DEADLINE, v1::VersionRequest { version: "v1".into() })
    }

    fn status(&self) -> Answer<'_, v1::RuntimeStatus> {
        let answer = rpc!(self.runtime.status, CALL_DEADLINE, v1::StatusRequest { verbose: false });
        required("a status", then(answer, |answer| answer.status))
    }

    fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Answer<'_, String> {
        let request =
            v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        let answer = rpc!(self.runtime.run_pod_sandbox, SANDBOX_DEADLINE, request);
        then(answer, |answer| answer.pod_sandbox_id)
    }

    fn stop_sandbox(&self, id: &str) -> Answer<'_, ()> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        gone_is_fine(rpc!(self.runtime.stop_pod_sandbox, SANDBOX_DEADLINE, request))
    }

    fn remove_sandbox(&self, id: &str) -> Answer<'_, ()> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        gone_is_fine(rpc!(self.runtime.remove_pod_sandbox, SANDBOX_DEADLINE, request))
    }

    fn sandboxes(&self) -> Answer<'_, Vec<v1::PodSandbox>> {
        let request = v1::ListPodSandboxRequest { filter: None };
        let answer = rpc!(self.runtime.list_pod_sandbox, CALL_DEADLINE, request);
        then(answer, |answer| answer.items)
    }

    fn sandbox_status(&self, id: &str) -> Answer<'_, v1::PodSandboxStatus> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let answer = rpc!(self.runtime.pod_sandbox_status, CALL_DEADLINE, request);
        required("a sandbox status", then(answer, |answer| answer.status))
    }

    fn sandbox_pid(&self, id: &str) -> Answer<'_, Option<i32>> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let answer = rpc!(self.runtime.pod_sandbox_status, CALL_DEADLINE, request);
        then(answer, |answer| pid(&answer.info))
    }

    fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Answer<'_, String> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let answer = rpc!(self.runtime.create_container, CALL_DEADLINE, request);
        then(answer, |answer| answer.container_id)
    }

    fn start_container(&self, id: &str) -> Answer<'_, ()> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        then(rpc!(self.runtime.start_container, CALL_DEADLINE, request), |_| ())
    }

    fn stop_container(&self, id: &str, grace: Duration) -> Answer<'_, ()> {
        let request = v1::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: i64::try_from(grace.as_secs()).unwrap_or(i64::MAX),
        };
        let deadline = grace.saturating_add(CALL_DEADLINE);
        gone_is_fine(rpc!(self.runtime.stop_container, deadline, request))
    }

    fn update_resources(&self, id: &str, linux: v1::LinuxContainerResources) -> Answer<'_, ()> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(linux),
            ..Default::default()
        };
        then(rpc!(self.runtime.update_container_resources, CALL_DEADLINE, request), |_| ())
    }

    fn remove_container(&self, id: &str) -> Answer<'_, ()> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        gone_is_fine(rpc!(self.runtime.remove_container, CALL_DEADLINE, request))
    }

    fn containers(&self) -> Answer<'_, Vec<v1::Container>> {
        let request = v1::ListContainersRequest { filter: None };
        let answer = rpc!(self.runtime.list_containers, CALL_DEADLINE, request);
        then(answer, |answer| answer.containers)
    }

    fn container_status(&self, id: &str) -> Answer<'_, v1::ContainerStatus> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer = rpc!(self.runtime.container_status, CALL_DEADLINE, request);
        required("a container status", then(answer, |answer| answer.status))
    }

    fn container_pid(&self, id: &str) -> Answer<'_, Option<i32>> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
        let answer = rpc!(self.runtime.container_status, CALL_DEADLINE, request);
        then(answer, |answer| pid(&answer.info))
    }

    fn reopen_log(&self, id: &str) -> Answer<'_, ()> {
        let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        then(rpc!(self.runtime.reopen_container_log, CALL_DEADLINE, request), |_| ())
    }

    fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Answer<'_, v1::ExecSyncResponse> {
        let request = v1::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command,
            timeout: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        };
        rpc!(self.runtime.exec_sync, timeout.saturating_add(Duration::from_secs(5)), request)
    }

    fn exec(&self, request: v1::ExecRequest) -> Answer<'_, String> {
        then(rpc!(self.runtime.exec, CALL_DEADLINE, request), |answer| answer.url)
    }

    fn attach(&self, request: v1::AttachRequest) -> Answer<'_, String> {
        then(rpc!(self.runtime.attach, CALL_DEADLINE, request), |answer| answer.url)
    }

    fn port_forward(&self, request: v1::PortForwardRequest) -> Answer<'_, String> {
        then(rpc!(self.runtime.port_forward, CALL_DEADLINE, request), |answer| answer.url)
    }

    fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Answer<'_, String> {
        let request = v1::PullImageRequest {
            image: image_spec(image),
            auth,
            sandbox_config: Some(sandbox_config),
        };
        then(rpc!(self.images.pull_image, PULL_DEADLINE, request), |answer| answer.image_ref)
    }

    fn image_status(&self, image: &str) -> Answer<'_, Option<v1::Image>> {
        let request = v1::ImageStatusRequest { image: image_spec(image), verbose: false };
        then(rpc!(self.images.image_status, CALL_DEADLINE, request), |answer| answer.image)
    }

    fn images(&self) -> Answer<'_, Vec<v1::Image>> {
        let request = v1::ListImagesRequest { filter: None };
        then(rpc!(self.images.list_images, CALL_DEADLINE, request), |answer| answer.images)
    }

    fn remove_image(&self, image: &str) -> Answer<'_, ()> {
        let request = v1::RemoveImageRequest { image: image_spec(image) };
        gone_is_fine(rpc!(self.images.remove_image, CALL_DEADLINE, request))
    }

    fn image_fs(&self) -> Answer<'_, v1::ImageFsInfoResponse> {
        rpc!(self.images.image_fs_info, CALL_DEADLINE, v1::ImageFsInfoRequest {})
    }

    fn container_stats(&self) -> Answer<'_, Vec<v1::ContainerStats>> {
        let request = v1::ListContainerStatsRequest { filter: None };
        then(rpc!(self.runtime.list_container_stats, CALL_DEADLINE, request), |answer| answer.stats)
    }

    fn events(&self) -> Answer<'_, EventReceiver> {
        let mut client = self.runtime.clone();
        let runtime = self.clone();
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        // The answer's head comes with the first event, so opening is not awaited either. There
        // is no deadline: the stream lives as long as the runtime does.
        tokio::spawn(async move {
            let failure = tokio::select! {
                failure = forward(&mut client, &sender) => failure,
                () = sender.closed() => return,
            };
            if let Some(status) = failure {
                let error = runtime.failure("get_container_events", CALL_DEADLINE, &status);
                // A reader that left does not need to know.
                drop(sender.send(Err(error)).await);
            }
        });
        Box::pin(async move { Ok(receiver) })
    }
}

/// Passes events on until the stream ends; returns why, if there is a reason.
async fn forward(
    client: &mut RuntimeServiceClient<Channel>,
    sender: &mpsc::Sender<Result<v1::ContainerEventResponse, RuntimeError>>,
) -> Option<Status> {
    let mut stream = match client.get_container_events(v1::GetEventsRequest {}).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Some(status),
    };
    loop {
        match stream.message().await {
            Ok(Some(event)) => sender.send(Ok(event)).await.ok()?,
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid_in(json: &str) -> Option<i32> {
        pid(&HashMap::from([("info".to_owned(), json.to_owned())]))
    }

    #[test]
    fn processes_in_verbose_answers() {
        assert_eq!(pid_in(r#"{"sandboxID": "a", "pid": 516}"#), Some(516));
        assert_eq!(pid_in(r#"{"pid": 0}"#), None, "not started yet");
        assert_eq!(pid_in("not JSON"), None);
        assert_eq!(pid(&HashMap::new()), None, "another runtime");
    }
}
