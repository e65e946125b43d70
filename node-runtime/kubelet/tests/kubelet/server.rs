//! The HTTPS server on the loopback: who may ask, and what `kubectl logs` gets.

use std::io::ErrorKind;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use minik_kubelet::ServerConfig;
use minik_pki::{CA_VALIDITY, Ca, CertKey, LeafRequest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::world::{World, condition};

/// A node with a server, and the CA whose clients it listens to.
struct Served {
    world: World,
    ca: Ca,
    port: u16,
}

impl Served {
    async fn new() -> Self {
        let ca = Ca::new("test", CA_VALIDITY).expect("a CA");
        // Free now, and nobody else in this process asks for it.
        let probe = StdListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = probe.local_addr().expect("an address").port();
        drop(probe);
        let serving = LeafRequest::server("node-1", vec!["127.0.0.1".into()]);
        let serving = ca.issue(&serving).expect("a certificate");
        let authority = ca.cert_pem().to_owned();
        let world = World::with_server(|folder| {
            let write = |name: &str, text: &str| {
                let path = folder.join(name);
                std::fs::write(&path, text).expect("written");
                path
            };
            ServerConfig {
                listen: ([127, 0, 0, 1], port).into(),
                certificate: write("kubelet.crt", &serving.cert_pem),
                key: write("kubelet.key", &serving.key_pem),
                client_ca: write("ca.crt", &authority),
            }
        })
        .await;
        Self { world, ca, port }
    }

    fn client(&self, name: &str, group: &str) -> CertKey {
        self.ca.issue(&LeafRequest::client(name, &[group])).expect("a certificate")
    }

    /// Asks as the client; an error is one of TLS.
    async fn get(
        &self,
        client: Option<&CertKey>,
        path: &str,
    ) -> Result<(StatusCode, String), std::io::Error> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.ca.cert_pem().as_bytes());
        roots.add(authority.expect("a certificate")).expect("taken");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match client {
            None => config.with_no_client_auth(),
            Some(client) => {
                let chain = CertificateDer::from_pem_slice(client.cert_pem.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(client.key_pem.as_bytes());
                config
                    .with_client_auth_cert(vec![chain.expect("a certificate")], key.expect("a key"))
                    .expect("a client")
            }
        };
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        let connection = tokio::spawn(connection);
        let request = http::Request::get(path).header("host", "node-1").body(Empty::<Bytes>::new());
        let sent = sender.send_request(request.expect("a request")).await;
        // With TLS 1.3 the server's refusal comes after the handshake.
        let Ok(answer) = sent else {
            let ended = connection.await.expect("the task ended");
            return Err(
                ended.map_or_else(std::io::Error::other, |()| ErrorKind::ConnectionReset.into())
            );
        };
        let code = answer.status();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        Ok((code, String::from_utf8_lossy(&body).into_owned()))
    }
}

#[tokio::test]
async fn only_the_api_server_and_administrators_may_ask() {
    let served = Served::new().await;
    assert!(served.get(None, "/healthz").await.is_err(), "no certificate, no answer");
    let stranger = Ca::new("other", CA_VALIDITY).expect("a CA");
    let stranger = stranger.issue(&LeafRequest::client("x", &["system:masters"])).expect("issued");
    assert!(served.get(Some(&stranger), "/healthz").await.is_err(), "another CA");

    let cases = [
        ("kube-apiserver-kubelet-client", "none", StatusCode::OK),
        ("ann", "system:masters", StatusCode::OK),
        ("system:node:node-2", "system:nodes", StatusCode::FORBIDDEN),
    ];
    for (name, group, want) in cases {
        let client = served.client(name, group);
        let (code, _) = served.get(Some(&client), "/healthz").await.expect("an answer");
        assert_eq!(code, want, "{name} of {group}");
    }
}

#[tokio::test]
async fn logs() {
    let served = Served::new().await;
    let client = served.client("kube-apiserver-kubelet-client", "none");
    let (world, log) = (&served.world, "/containerLogs/default/web/app");
    let ask = async |query: &str| {
        served.get(Some(&client), &format!("{log}{query}")).await.expect("an answer")
    };
    assert_eq!(ask("").await.0, StatusCode::NOT_FOUND);

    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "app", "image": "x:1"}]});
    let path = world.create("web", spec);
    world.until(&path, |status| condition(status, "Ready") == "True").await;
    for line in ["one", "two", "three"] {
        assert!(world.runtime.print("web", "app", line).expect("written"));
    }
    assert_eq!(ask("").await.1, "one\ntwo\nthree\n");
    assert_eq!(ask("?tailLines=1").await.1, "three\n");
    assert_eq!(ask("?tailLines=2&limitBytes=6").await.1, "two\nth");
    assert_eq!(
        ask("?tailLines=1&timestamps=true").await.1,
        "2026-01-01T00:00:00.000000000Z three\n"
    );
    let (code, text) = ask("?previous=true").await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(text, "previous terminated container \"app\" in pod \"web\" not found");
    let (code, _) =
        served.get(Some(&client), "/containerLogs/default/web/none").await.expect("an answer");
    assert_eq!(code, StatusCode::BAD_REQUEST);

    // Followed to the end of the container, with what it printed last.
    let follow = ask("?follow=true");
    let end = async {
        assert!(world.runtime.print("web", "app", "four").expect("written"));
        assert!(world.runtime.exit("web", "app", 0));
    };
    let deadline = Duration::from_secs(60);
    let both = async { tokio::join!(follow, end) };
    let ((_, followed), ()) = tokio::time::timeout(deadline, both).await.expect("it ends");
    assert_eq!(followed, "one\ntwo\nthree\nfour\n");
}
