//! Passes a request on to another server (a kubelet, a pod, a service) and its answer back.
//!
//! Upgrades (WebSocket, SPDY) are passed through byte for byte: what they carry is between the
//! client and the other server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::debug;

use crate::audit::Trail;
use crate::body::{self, Body, BodyError};

/// How long connecting may take, with TLS.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Where a request is passed on to.
#[derive(Clone)]
pub(crate) struct Upstream {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// Set for `https`: how, and which name the certificate must have.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The `Host` header.
    pub(crate) host: String,
}

/// Why a request could not be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("dial tcp {address}: {source}")]
    Connect { address: SocketAddr, source: std::io::Error },
    #[error("dial tcp {address}: i/o timeout")]
    ConnectTimeout { address: SocketAddr },
    #[error("no answer from {address}: {source}")]
    Answer { address: SocketAddr, source: hyper::Error },
    #[error("{0:?} cannot be requested")]
    Path(String),
    #[error("this connection cannot be upgraded")]
    NoUpgrade,
}

/// Sends `request` to `path` (with query) at `to` and returns the answer. After an answer of 101
/// the two connections are joined until both sides are done.
pub(crate) async fn forward(
    to: &Upstream,
    path: &str,
    mut request: Request<Body>,
) -> Result<Response<Body>, ForwardError> {
    let wants_upgrade = request.headers().contains_key(UPGRADE);
    let trail = Trail::of(&request);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    if wants_upgrade && upgrade.is_none() {
        return Err(ForwardError::NoUpgrade);
    }
    let outgoing = outgoing(&to.host, path, request, wants_upgrade)?;
    let connecting = tokio::time::timeout(CONNECT_MAX, connect(to, outgoing));
    let answer = match connecting.await {
        Ok(answer) => answer?,
        Err(_) => return Err(ForwardError::ConnectTimeout { address: to.address }),
    };
    let answer =
        answer.await.map_err(|source| ForwardError::Answer { address: to.address, source })?;
    finish(answer, upgrade, trail)
}

/// Like [`forward`], for an upgrade over a connection that is open already.
pub(crate) async fn upgrade_over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    address: SocketAddr,
    host: &str,
    path: &str,
    mut request: Request<Body>,
) -> Result<Response<Body>, ForwardError> {
    let trail = Trail::of(&request);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    if upgrade.is_none() {
        return Err(ForwardError::NoUpgrade);
    }
    let outgoing = outgoing(host, path, request, true)?;
    let answer = start(address, stream, outgoing).await?;
    let answer = answer.await.map_err(|source| ForwardError::Answer { address, source })?;
    finish(answer, upgrade, trail)
}

/// The answer as the client gets it; after one of 101 the two connections are joined.
fn finish(
    mut answer: Response<hyper::body::Incoming>,
    upgrade: Option<OnUpgrade>,
    trail: Trail,
) -> Result<Response<Body>, ForwardError> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = upgrade else { return Err(ForwardError::NoUpgrade) };
        let server = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            join(client, server).await;
            // The request ends here.
            drop(trail);
        });
        let (head, _) = answer.into_parts();
        return Ok(Response::from_parts(head, body::empty()));
    }
    strip_hop_by_hop(answer.headers_mut(), false);
    Ok(answer.map(|body| body.map_err(BodyError::new).boxed_unsync()))
}

/// The request as the other server gets it.
fn outgoing(
    host: &str,
    path: &str,
    request: Request<Body>,
    wants_upgrade: bool,
) -> Result<Request<Body>, ForwardError> {
    let (head, body) = request.into_parts();
    let mut out = Request::new(body);
    *out.method_mut() = head.method;
    *out.uri_mut() = path.parse::<Uri>().map_err(|_| ForwardError::Path(path.to_owned()))?;
    *out.headers_mut() = head.headers;
    let headers = out.headers_mut();
    clean(headers, wants_upgrade);
    let host = HeaderValue::from_str(host).map_err(|_| ForwardError::Path(host.to_owned()))?;
    headers.insert(HOST, host);
    Ok(out)
}

/// Removes from the headers of a request what is between the client and us.
pub(crate) fn clean(headers: &mut HeaderMap, upgrading: bool) {
    strip_hop_by_hop(headers, upgrading);
    // The caller's credentials are for us, not for what runs behind us.
    headers.remove(http::header::AUTHORIZATION);
    let impersonation: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in impersonation {
        headers.remove(name);
    }
}

/// Removes what concerns one connection only; an upgrade's own headers stay.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap, upgrading: bool) {
    if !upgrading {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
    headers.remove(TRANSFER_ENCODING);
    for name in ["keep-alive", "proxy-connection", "te", "trailer"] {
        headers.remove(name);
    }
}

/// Connects and hands over the request; the result is the wait for the head of the answer, which
/// may take as long as the other server likes.
async fn connect(
    to: &Upstream,
    request: Request<Body>,
) -> Result<
    impl Future<Output = hyper::Result<Response<hyper::body::Incoming>>> + use<>,
    ForwardError,
> {
    let address = to.address;
    let failed = |source| ForwardError::Connect { address, source };
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    match &to.tls {
        None => start(address, stream, request).await,
        Some((config, name)) => {
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name.clone(), stream).await.map_err(failed)?;
            start(address, stream, request).await
        }
    }
}

async fn start<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    address: SocketAddr,
    stream: S,
    request: Request<Body>,
) -> Result<
    std::pin::Pin<Box<dyn Future<Output = hyper::Result<Response<hyper::body::Incoming>>> + Send>>,
    ForwardError,
> {
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream))
        .await
        .map_err(|source| ForwardError::Answer { address, source })?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%address, %error, "forwarded connection ended");
        }
    });
    Ok(Box::pin(async move { sender.send_request(request).await }))
}

/// Copies bytes both ways until both sides have said all they had to say.
async fn join(client: OnUpgrade, server: OnUpgrade) {
    let (client, server) = match tokio::try_join!(client, server) {
        Ok(both) => both,
        Err(error) => {
            debug!(%error, "upgrade failed");
            return;
        }
    };
    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
        debug!(%error, "upgraded connection ended");
    }
}
