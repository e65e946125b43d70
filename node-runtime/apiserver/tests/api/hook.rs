//! A server with TLS on the loopback that is asked things: a webhook, or another API server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use minik_pki::{CA_VALIDITY, Ca, LeafRequest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// What a server answers.
pub(crate) enum Reply {
    /// This object.
    Object(Value),
    /// Another code than 200.
    Code(u16, &'static str),
    /// Nothing, until the client is gone.
    Never,
    /// This object, once somebody says so.
    When(Arc<Notify>, Value),
}

type Handler = dyn Fn(&str, &Value) -> Reply + Send + Sync;

/// A running server.
pub(crate) struct HookServer {
    pub(crate) address: SocketAddr,
    /// The authority that vouches for it, as configurations name it.
    pub(crate) bundle: String,
    /// Paths and bodies of what it was asked.
    pub(crate) asked: Arc<Mutex<Vec<(String, Value)>>>,
    /// How many connections it accepted.
    pub(crate) connections: Arc<AtomicUsize>,
}

/// Names that the certificate is good for.
const NAMES: &[&str] = &["127.0.0.1", "hook.default.svc"];

impl HookServer {
    pub(crate) async fn start(
        handler: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static,
    ) -> HookServer {
        let ca = Ca::new("webhook", CA_VALIDITY).expect("authority");
        let names = NAMES.iter().map(|&name| name.to_owned()).collect();
        let leaf = ca.issue(&LeafRequest::server("webhook", names)).expect("certificate");
        let certificate = CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes()).expect("pem");
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("pem");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("config");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("address");
        let (asked, connections) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let running = Running { handler: Arc::new(handler), asked: Arc::clone(&asked) };
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, running) = (acceptor.clone(), running.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| running.clone().answer(request));
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        HookServer { address, bundle: BASE64_STANDARD.encode(ca.cert_pem()), asked, connections }
    }

    /// The client configuration of a webhook at `path`.
    pub(crate) fn client(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": self.bundle})
    }

    /// What it was asked, and forgets it.
    pub(crate) fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.asked.lock().expect("no holder panics"))
    }
}

#[derive(Clone)]
struct Running {
    handler: Arc<Handler>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Running {
    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let path = request.uri().path_and_query().expect("a path").as_str().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        self.asked.lock().expect("no holder panics").push((path.clone(), body.clone()));
        let (code, text) = match (self.handler)(&path, &body) {
            Reply::Object(value) => (200, value.to_string()),
            Reply::Code(code, text) => (code, text.to_owned()),
            Reply::Never => std::future::pending().await,
            Reply::When(notify, value) => {
                notify.notified().await;
                (200, value.to_string())
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = StatusCode::from_u16(code).expect("code");
        Ok(response)
    }
}
