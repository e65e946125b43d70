//! The kubelet's HTTPS server: what the API server asks on behalf of `kubectl logs`, `exec`,
//! `attach`, `port-forward` and `top`.

mod auth;
mod inotify;
pub(crate) mod log_line;
mod logs;
mod stats;
mod stream;
mod target;
mod tls;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::kubelet::PodList;
use crate::object;
use crate::shared::Shared;

/// Why the server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate or key cannot be read.
    #[error("{path}: {message}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// What the handlers need.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) shared: Arc<Shared>,
    pub(super) pods: watch::Receiver<PodList>,
}

impl Served {
    /// A pod of this node by its name.
    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let pods = self.pods.borrow();
        let found = pods
            .values()
            .filter(|pod| object::namespace(pod) == namespace && object::name(pod) == name);
        // Of two with one name, the one that is not going away.
        found.min_by_key(|pod| object::is_deleted(pod)).cloned()
    }
}

/// Starts the server if one is configured; it ends when the handle is dropped.
pub(crate) async fn start(
    shared: &Arc<Shared>,
    pods: watch::Receiver<PodList>,
    drain: CancellationToken,
) -> Result<Option<AbortOnDropHandle<()>>, ServerError> {
    let Some(config) = &shared.config.server else { return Ok(None) };
    let acceptor = tls::acceptor(config)?;
    let address = config.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServerError::Listen { address, source })?;
    let router = router(Served { shared: shared.clone(), pods });
    info!(%address, "kubelet server listens");
    let task = tokio::spawn(accept(listener, acceptor, router, drain));
    Ok(Some(AbortOnDropHandle::new(task)))
}

fn router(served: Served) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(list_pods))
        .route("/stats/summary", get(stats::summary))
        .route("/metrics/resource", get(stats::resource))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::serve))
        .route("/exec/{namespace}/{pod}/{container}", any(stream::exec))
        .route("/attach/{namespace}/{pod}/{container}", any(stream::attach))
        .route("/portForward/{namespace}/{pod}", any(stream::port_forward))
        .with_state(served)
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    drain: CancellationToken,
) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "connection not accepted");
                    continue;
                }
            },
            () = drain.cancelled() => return,
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            if let Err(error) = serve(stream, acceptor, router).await {
                debug!(error, "connection ended");
            }
        });
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, router: Router) -> Result<(), String> {
    // What is typed into a shell must not wait for more.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let accepted = tokio::time::timeout(tls::HANDSHAKE_DEADLINE, acceptor.accept(stream)).await;
    let stream =
        accepted.map_err(|_| "handshake took too long")?.map_err(|error| error.to_string())?;
    let router = if auth::is_allowed(stream.get_ref().1) {
        router
    } else {
        Router::new().fallback(async || (StatusCode::FORBIDDEN, "Forbidden"))
    };
    Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
        .map_err(|error| error.to_string())
}

async fn list_pods(State(served): State<Served>) -> Response {
    let pods = served.pods.borrow().clone();
    let items: Vec<&Pod> = pods.values().map(AsRef::as_ref).collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    ([(http::header::CONTENT_TYPE, "application/json")], list.to_string()).into_response()
}
