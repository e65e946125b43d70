//! One HTTP request into a pod, for probes and hooks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPHeader;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const REDIRECTS_MAX: usize = 10;

/// What to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Get {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) headers: Vec<HTTPHeader>,
}

/// Why there is no answer; the text is what people read in events.
#[derive(Debug, thiserror::Error)]
#[error("Get \"{url}\": {message}")]
pub(crate) struct HttpError {
    url: String,
    message: String,
}

impl Get {
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", authority(&self.host, self.port), self.path)
    }

    /// Asks, following redirects that stay on the host; one that leaves it is the answer. Returns
    /// the status code.
    pub(crate) async fn send(mut self, deadline: Duration) -> Result<u16, HttpError> {
        let first = self.url();
        let fail = |message: String| HttpError { url: first.clone(), message };
        let work = async {
            for _ in 0..REDIRECTS_MAX {
                let (code, location) = self.send_once().await.map_err(&fail)?;
                match location.and_then(|location| self.redirected(&location)) {
                    Some(next) => self = next,
                    None => return Ok(code),
                }
            }
            Err(fail(format!("stopped after {REDIRECTS_MAX} redirects")))
        };
        match tokio::time::timeout(deadline, work).await {
            Ok(result) => result,
            Err(_) => {
                let message = "context deadline exceeded (no answer in time)".to_owned();
                Err(HttpError { url: first.clone(), message })
            }
        }
    }

    /// Where a redirect leads, if it stays on the host.
    fn redirected(&self, location: &str) -> Option<Self> {
        let uri: Uri = location.parse().ok()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let Some(host) = uri.host() else { return Some(Self { path, ..self.clone() }) };
        if host != self.host {
            return None;
        }
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self { tls, port, path, ..self.clone() })
    }

    async fn send_once(&self) -> Result<(u16, Option<String>), String> {
        let connected = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = connected.map_err(|error| {
            format!("dial tcp {}: connect: {error}", authority(&self.host, self.port))
        })?;
        if !self.tls {
            return self.exchange(stream).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(unverified()?);
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        self.exchange(stream).await
    }

    async fn exchange<S>(&self, stream: S) -> Result<(u16, Option<String>), String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let text = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
        let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
        let answer = sender.send_request(self.request()?).await.map_err(text)?;
        let code = answer.status().as_u16();
        let location =
            answer.headers().get(header::LOCATION).filter(|_| (300..400).contains(&code));
        let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
        // Nobody reads the body.
        drop(connection);
        Ok((code, location))
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let path =
            if self.path.starts_with('/') { self.path.clone() } else { format!("/{}", self.path) };
        let mut request = Request::get(path)
            .body(Empty::new())
            .map_err(|error| format!("invalid path: {error}"))?;
        let headers = request.headers_mut();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(header::HOST, &authority(&self.host, self.port));
        set(header::USER_AGENT, "kube-probe/1.36");
        set(header::ACCEPT, "*/*");
        set(header::CONNECTION, "close");
        for wanted in &self.headers {
            if let Ok(name) = wanted.name.parse() {
                set(name, &wanted.value);
            }
        }
        Ok(request)
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Pods answer probes with certificates that nobody signed: none is checked.
fn unverified() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnything(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct TrustAnything(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
