//! Accepts connections, speaks TLS and HTTP/1.1 or HTTP/2 on them, and ends them gracefully.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::authn::Connection;
use crate::body::{Body, BodyError};
use crate::core::Core;
use crate::{pipeline, respond};

/// Connections that are open at the same time; the next one waits in the backlog.
const CONNECTIONS_MAX: usize = 4096;
/// How long a client may take for the TLS handshake, and for the head of a request.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long requests that are being answered may go on after the drain began.
const DRAIN_MAX: Duration = Duration::from_secs(20);
/// Streams that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 250;

/// A bound socket that has not accepted a connection yet.
pub(crate) struct Listener {
    pub(crate) tcp: TcpListener,
    pub(crate) acceptor: TlsAcceptor,
}

/// Serves until `drain` is cancelled, then lets what is being answered finish.
pub(crate) async fn serve(listener: Listener, core: Arc<Core>, drain: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Some(Duration::from_secs(30)));

    let stop = async {
        drain.cancelled().await;
        core.begin_shutdown();
        tokio::time::sleep(core.config.shutdown_delay).await;
    };
    tokio::pin!(stop);
    loop {
        let (slot, accepted) = tokio::select! {
            () = &mut stop => break,
            next = next_connection(&listener.tcp, &slots) => next,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: give the open connections a moment to end.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (acceptor, core, http) = (listener.acceptor.clone(), Arc::clone(&core), http.clone());
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(error) = connection(stream, peer, acceptor, core, http, watcher).await {
                debug!(%peer, %error, "connection ended");
            }
        });
    }

    drop(listener);
    core.begin_drain();
    if tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await.is_err() {
        info!("connections were still open at the end of the drain and are cut");
    }
}

async fn next_connection(
    tcp: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (Option<tokio::sync::OwnedSemaphorePermit>, io::Result<(TcpStream, SocketAddr)>) {
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    (slot, tcp.accept().await)
}

/// One connection, from handshake to end.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    core: Arc<Core>,
    http: auto::Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let shaken = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await;
    if !matches!(shaken, Ok(Ok(_))) {
        core.metrics.handshake_failed();
    }
    let stream = shaken??;
    let shown = stream.get_ref().1.peer_certificates();
    let certificate = shown.and_then(|chain| core.vouchers.judge(chain)).map(Arc::new);
    let connection = Connection { certificate, peer };
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (core, connection) = (Arc::clone(&core), connection.clone());
        async move { Ok::<_, Infallible>(answer(core, connection, request).await) }
    });
    let serving = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
    watcher.watch(serving.into_owned()).await
}

async fn answer(
    core: Arc<Core>,
    connection: Connection,
    request: Request<Incoming>,
) -> Response<Body> {
    if core.draining().is_cancelled() && !may_come_late(&request) {
        return too_late();
    }
    let request = request.map(|body| body.map_err(BodyError::new).boxed_unsync());
    pipeline::handle(core, pipeline::Caller::Connection(connection), request).await
}

/// Whether a request is answered although the server ends: who asks how it is.
fn may_come_late<B>(request: &Request<B>) -> bool {
    const PATHS: [&str; 4] = ["/readyz", "/livez", "/healthz", "/metrics"];
    PATHS.iter().any(|start| request.uri().path().starts_with(start))
}

/// The answer to requests on a connection that is about to be closed.
fn too_late() -> Response<Body> {
    let text = "The apiserver is shutting down, please try again later.\n";
    let mut response = respond::text(StatusCode::TOO_MANY_REQUESTS, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
