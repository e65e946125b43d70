//! Connections to webhooks and other API servers, kept for the next question.
//!
//! One HTTP client for each place and bundle of authorities: it keeps a few idle connections (one,
//! with HTTP/2) and drops them after a while. The number of clients is bounded, too; the one that
//! was not used for longest goes first.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use minik_pki::CertKey;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::WebhookError;
use super::place::{Dial, Place};
use crate::tls::{self, Trust};

/// Clients that are kept.
const CLIENTS_MAX: usize = 64;
/// Connections that each of them keeps while nobody asks.
const IDLE_MAX: usize = 4;
/// How long.
const IDLE: Duration = Duration::from_secs(90);
/// How long connecting may take, with TLS.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// The clients by what they connect to and whom they trust; `B` is the body of requests.
pub(crate) struct Clients<B> {
    held: Mutex<Held<B>>,
    /// What is shown to the other side.
    identity: Option<CertKey>,
}

struct Held<B> {
    by_place: HashMap<Key, (Client<Dialer, B>, u64)>,
    /// Counts uses, so that the oldest can be found.
    uses: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    trust: Trust,
    host: String,
    dial: Dial,
}

impl<B> Clients<B>
where
    B: http_body::Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(crate) fn new(identity: Option<CertKey>) -> Clients<B> {
        Clients { held: Mutex::new(Held { by_place: HashMap::new(), uses: 0 }), identity }
    }

    /// The client for a place.
    pub(crate) fn client(
        &self,
        place: &Place,
        trust: &Trust,
    ) -> Result<Client<Dialer, B>, WebhookError> {
        let key = Key { trust: trust.clone(), host: place.host.clone(), dial: place.dial.clone() };
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(self.dialer(place, trust, &[b"h2", b"http/1.1"])?);
        let mut held = self.held.lock().expect("no holder panics");
        if held.by_place.len() >= CLIENTS_MAX {
            let oldest = held.by_place.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                held.by_place.remove(&oldest);
            }
        }
        held.uses += 1;
        let used = held.uses;
        held.by_place.insert(key, (client.clone(), used));
        Ok(client)
    }

    /// How to connect to a place, to speak one of `protocols`.
    pub(crate) fn dialer(
        &self,
        place: &Place,
        trust: &Trust,
        protocols: &[&[u8]],
    ) -> Result<Dialer, WebhookError> {
        let mut config = tls::outgoing_config(trust, self.identity.as_ref())?;
        config.alpn_protocols = protocols.iter().map(|&one| one.to_vec()).collect();
        let name =
            ServerName::try_from(place.host.clone()).map_err(|_| WebhookError::Url(place.url()))?;
        Ok(Dialer { config: Arc::new(config), name, dial: place.dial.clone() })
    }

    fn known(&self, key: &Key) -> Option<Client<Dialer, B>> {
        let mut held = self.held.lock().expect("no holder panics");
        held.uses += 1;
        let now = held.uses;
        let (client, used) = held.by_place.get_mut(key)?;
        *used = now;
        Some(client.clone())
    }
}

/// Why no connection came about.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("dial tcp {address}: {}", in_go(source))]
    Connect { address: SocketAddr, source: Arc<io::Error> },
    #[error("dial tcp {to}: i/o timeout")]
    Timeout { to: String },
    #[error("dial tcp: lookup {host}: {}", in_go(source))]
    Lookup { host: String, source: Arc<io::Error> },
    #[error("dial tcp: lookup {host}: no such host")]
    NoHost { host: String },
    #[error("{}", of_tls(source))]
    Tls { source: Arc<io::Error> },
}

/// The kinds of failure that people search for, as Go's library words them.
fn in_go(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

fn of_tls(error: &io::Error) -> String {
    use rustls::{CertificateError, Error};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            .to_owned(),
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => {
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
                .to_owned()
        }
        Some(Error::InvalidCertificate(wrong)) => {
            format!("tls: failed to verify certificate: x509: {wrong}")
        }
        Some(other) => format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => in_go(error),
    }
}

/// Connects to one place.
#[derive(Clone)]
pub(crate) struct Dialer {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    dial: Dial,
}

impl Dialer {
    pub(crate) async fn connect(self) -> Result<Secured, DialError> {
        let tcp = self.tcp().await?;
        let tls = |source: io::Error| DialError::Tls { source: Arc::new(source) };
        tcp.set_nodelay(true).map_err(tls)?;
        let stream = TlsConnector::from(self.config).connect(self.name, tcp).await.map_err(tls)?;
        Ok(Secured(TokioIo::new(stream)))
    }

    /// The first address that answers.
    async fn tcp(&self) -> Result<TcpStream, DialError> {
        let addresses: Vec<SocketAddr> = match &self.dial {
            Dial::Address(address) => vec![*address],
            Dial::Name(host, port) => tokio::net::lookup_host((host.as_str(), *port))
                .await
                .map_err(|source| DialError::Lookup {
                    host: host.clone(),
                    source: Arc::new(source),
                })?
                .collect(),
        };
        let mut failure = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(source) => {
                    failure = Some(DialError::Connect { address, source: Arc::new(source) });
                }
            }
        }
        let host = match &self.dial {
            Dial::Address(address) => address.to_string(),
            Dial::Name(host, _) => host.clone(),
        };
        Err(failure.unwrap_or(DialError::NoHost { host }))
    }
}

impl tower::Service<Uri> for Dialer {
    type Response = Secured;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Secured, DialError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let to = match &dialer.dial {
                Dial::Address(address) => address.to_string(),
                Dial::Name(host, port) => format!("{host}:{port}"),
            };
            let connecting = tokio::time::timeout(CONNECT_MAX, dialer.connect());
            connecting.await.unwrap_or(Err(DialError::Timeout { to }))
        })
    }
}

/// A connection that says which HTTP was agreed on.
pub(crate) struct Secured(TokioIo<TlsStream<TcpStream>>);

impl Secured {
    /// The connection below.
    pub(crate) fn into_inner(self) -> TlsStream<TcpStream> {
        self.0.into_inner()
    }
}

impl Connection for Secured {
    fn connected(&self) -> Connected {
        let (_, session) = self.0.inner().get_ref();
        match session.alpn_protocol() == Some(b"h2") {
            true => Connected::new().negotiated_h2(),
            false => Connected::new(),
        }
    }
}

impl Read for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
