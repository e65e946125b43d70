//! The node agent: runs the pods that the API says run here, through a CRI runtime, and tells
//! the API how they are.
//!
//! ```text
//! API ──watch──▶ kubelet ──Signal──▶ pod/worker (one per pod) ──▶ minik_cri::Runtime
//!                   ▲                     │    spec, volume, images, probe
//! CRI events ───────┘                     ▼
//!                                 status ──▶ publish ──▶ API
//! ```
//!
//! Start reading in `kubelet` (the loop) and `pod` (the states of a pod).

mod backoff;
mod config;
mod gc;
mod host_port;
mod housekeeping;
mod http;
mod images;
mod kubelet;
mod node;
mod object;
mod pod;
mod probe;
mod publish;
mod server;
mod shared;
mod sources;
mod spec;
mod status;
mod volume;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use minik_client::EventRecorder;
use minik_cri::{Runtime, v1};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use config::{CgroupDriver, Config, EvictionHard, Paths, ServerConfig};
pub use server::ServerError;

/// How long the runtime may take to answer at first.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(120);

/// Why the kubelet cannot work.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// The kubelet's folder cannot be made.
    #[error("{path}: {source}")]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The runtime did not answer in time.
    #[error("the container runtime did not answer within {} s: {last}", RUNTIME_DEADLINE.as_secs())]
    NoRuntime {
        /// What it said last.
        last: minik_cri::RuntimeError,
    },
    /// The HTTPS server cannot be started.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// Runs the kubelet until `drain` is cancelled. Pods go on running; the next kubelet takes them
/// over. Returns early only if it cannot start.
///
/// # Errors
/// If the folder, the runtime or the server cannot be used.
pub async fn run(
    config: Config,
    client: Client,
    runtime: Arc<dyn Runtime>,
    drain: CancellationToken,
) -> Result<(), KubeletError> {
    let root = config.paths.root.clone();
    std::fs::create_dir_all(&root)
        .map_err(|source| KubeletError::Folder { path: root.clone(), source })?;
    let version = tokio::select! {
        version = wait_for_runtime(&runtime) => version?,
        () = drain.cancelled() => return Ok(()),
    };
    let machine = node::facts::Machine::read(&root, config.max_pods, &version);
    let (services, _services_task) = follow_services(&client);
    let shared = Arc::new(shared::Shared {
        runtime_name: version.runtime_name.clone(),
        images: images::Images::new(runtime.clone()),
        sources: sources::Sources::new(client.clone()),
        host_ports: host_port::HostPorts::new(config.nft.clone()),
        recorder: EventRecorder::start(client.clone(), "kubelet", Some(&config.node_name)),
        services,
        allocatable: machine.allocatable.clone(),
        memory_bytes: i64::try_from(machine.memory_bytes).unwrap_or(i64::MAX),
        runtime,
        client,
        config,
    });
    if let Err(error) = shared.host_ports.start().await {
        tracing::warn!(%error, "ports of the node are as they were left");
    }
    let kubelet = kubelet::Kubelet::new(shared.clone());
    let _server = server::start(&shared, kubelet.pods(), drain.clone()).await?;
    let node = tokio::select! {
        node = node::register(&shared, &machine) => node,
        () = drain.cancelled() => return Ok(()),
    };
    let housekeeping = tokio::spawn(housekeeping::run(shared.clone()));
    let _housekeeping = AbortOnDropHandle::new(housekeeping);
    let keeper = tokio::spawn(node::keep(shared, machine, node, drain.clone()));
    let _keeper = AbortOnDropHandle::new(keeper);
    kubelet.run(drain).await;
    Ok(())
}

async fn wait_for_runtime(runtime: &Arc<dyn Runtime>) -> Result<v1::VersionResponse, KubeletError> {
    let deadline = tokio::time::Instant::now() + RUNTIME_DEADLINE;
    let mut wait = Duration::from_millis(50);
    loop {
        match runtime.version().await {
            Ok(version) => return Ok(version),
            Err(last) if tokio::time::Instant::now() > deadline => {
                return Err(KubeletError::NoRuntime { last });
            }
            Err(error) => tracing::info!(%error, "waiting for the container runtime"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(2));
    }
}

/// Keeps a copy of all services, for the variables that name them.
fn follow_services(client: &Client) -> (Store<Service>, AbortOnDropHandle<()>) {
    let (store, writer) = reflector::store();
    let services = Api::<Service>::all(client.clone());
    let stream = watcher::watcher(services, watcher::Config::default());
    let stream = stream.default_backoff().reflect(writer);
    let task = tokio::spawn(stream.for_each(|said| async move {
        if let Err(error) = said {
            tracing::debug!(%error, "the watch of services broke");
        }
    }));
    (store, AbortOnDropHandle::new(task))
}
