//! Logs and streams are passed on to the kubelet, upgrades byte for byte.

use std::net::SocketAddr;
use std::sync::Arc;

use minik_apiserver::User;
use minik_pki::LeafRequest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use crate::harness::{Api, PATIENCE, PODS, pod};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A server that says back the request line it got, and after an upgrade each byte it gets.
async fn echo_kubelet(api: &Api) -> SocketAddr {
    let leaf = LeafRequest::server("system:node:n1", vec!["127.0.0.1".to_owned()]);
    let leaf = api.ca.issue(&leaf).expect("certificate");
    let cert = CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes()).expect("certificate");
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("key");
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .expect("config");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.expect("handshake");
                let head = read_head(&mut stream).await;
                let line = head.lines().next().unwrap_or_default().to_owned();
                if head.to_ascii_lowercase().contains("upgrade: spdy/3.1") {
                    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                                  Upgrade: SPDY/3.1\r\n\r\n";
                    stream.write_all(answer.as_bytes()).await.expect("write");
                    let (mut from, mut to) = tokio::io::split(stream);
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    // The other side is done; ours says a last word, then is done, too.
                    let _ = to.write_all(b"bye").await;
                    let _ = to.shutdown().await;
                    return;
                }
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{line}",
                    line.len()
                );
                stream.write_all(answer.as_bytes()).await.expect("write");
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).await.is_err() {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A pod on a node whose kubelet is at `address`.
async fn place_pod(api: &Api, address: SocketAddr) {
    let node = json!({
        "metadata": {"name": "n1"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address.ip().to_string()}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}},
        },
    });
    api.post("/api/v1/nodes", node).await.ok();
    api.post(PODS, pod("a")).await.ok();
    let target = json!({"target": {"kind": "Node", "name": "n1"}});
    api.post(&format!("{PODS}/a/binding"), target).await.ok();
}

#[tokio::test]
async fn logs_and_proxies_reach_the_kubelet() {
    let api = Api::new().await;
    let address = echo_kubelet(&api).await;
    place_pod(&api, address).await;
    let log = api.get(&format!("{PODS}/a/log?follow=true&tailLines=5")).await;
    assert_eq!(log.ok(), "GET /containerLogs/default/a/c?follow=true&tailLines=5 HTTP/1.1");
    let metrics = api.get("/api/v1/nodes/n1/proxy/metrics/cadvisor?x=1").await;
    assert_eq!(metrics.ok(), "GET /metrics/cadvisor?x=1 HTTP/1.1");
    let other = api.get(&format!("{PODS}/a/log?container=nope")).await;
    assert_eq!(other.failure(), "400 BadRequest: container nope is not valid for pod a");
    api.post(PODS, pod("b")).await.ok();
    assert_eq!(api.get(&format!("{PODS}/b/log")).await.code, 400, "not on a node");
    let stranger = User::new("ann", ["dev"]);
    let exec = format!("GET {PODS}/a/exec?command=sh");
    assert_eq!(api.ask_as(stranger, &exec, None, &[]).await.code, 403);
}

#[tokio::test]
async fn an_upgrade_is_passed_through_and_closes_by_halves() {
    let mut api = Api::new().await;
    let kubelet = echo_kubelet(&api).await;
    place_pod(&api, kubelet).await;
    let server = api.server.take().expect("server");
    let address = server.address;
    let drain = CancellationToken::new();
    let running = tokio::spawn(server.run(drain.clone()));

    let mut stream = connect(&api, address).await;
    let request = format!(
        "POST {PODS}/a/exec?command=sh&stdin=true&stdout=1 HTTP/1.1\r\nHost: x\r\n\
         Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("write");
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"hello").await.expect("write");
    stream.shutdown().await.expect("half close");
    let mut rest = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // The TLS stream may end without a goodbye; what came before counts.
    let _ = reading.expect("in time");
    assert_eq!(String::from_utf8_lossy(&rest), "hellobye");

    drain.cancel();
    tokio::time::timeout(PATIENCE, running).await.expect("drained").expect("no panic");
}

/// A TLS connection to the server as the administrator.
pub(crate) async fn connect(
    api: &Api,
    address: SocketAddr,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let leaf = LeafRequest::client("kubernetes-admin", &["system:masters"]);
    let leaf = api.ca.issue(&leaf).expect("certificate");
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(api.ca.cert_pem().as_bytes()).expect("ca");
    roots.add(authority).expect("root");
    let cert = CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes()).expect("certificate");
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("key");
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![cert], key)
        .expect("config");
    let stream = TcpStream::connect(address).await.expect("connect");
    let name = ServerName::from(address.ip());
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("handshake")
}
