//! Somebody outside the process who asks over TLS, with or without a certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use minik_pki::{Ca, CertKey, LeafRequest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::harness::{Api, PATIENCE};

/// A server that listens, until it is dropped.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    ca_pem: String,
    drain: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Door {
    pub(crate) fn open(api: &mut Api) -> Door {
        let server = api.server.take().expect("it runs once");
        let (address, drain) = (server.address, CancellationToken::new());
        let running = Some(tokio::spawn(server.run(drain.clone())));
        Door { address, ca_pem: api.ca.cert_pem().to_owned(), drain, running }
    }

    pub(crate) async fn close(mut self) {
        self.drain.cancel();
        let running = self.running.take().expect("closed once");
        tokio::time::timeout(PATIENCE, running).await.expect("drained").expect("no panic");
    }

    /// Sends one request; the code and body of the answer.
    pub(crate) async fn ask(
        &self,
        identity: Option<&CertKey>,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let asking = self.try_ask(identity, path, headers);
        tokio::time::timeout(PATIENCE, asking).await.expect("in time").expect("an answer")
    }

    async fn try_ask(
        &self,
        identity: Option<&CertKey>,
        path: &str,
        headers: &[(&str, &str)],
    ) -> std::io::Result<(u16, Value)> {
        let connector = TlsConnector::from(Arc::new(self.config(identity)));
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = connector.connect(name, stream).await?;
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n");
        if !headers.iter().any(|(key, _)| *key == "connection") {
            head.push_str("Connection: close\r\n");
        }
        for (key, value) in headers {
            head.push_str(&format!("{key}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        // Some connections end without a farewell after their answer.
        if let Err(error) = stream.read_to_end(&mut answer).await
            && answer.is_empty()
        {
            return Err(error);
        }
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        // Chunks are told apart by the braces around what they hold.
        let body = match (body.find('{'), body.rfind('}')) {
            (Some(from), Some(to)) => serde_json::from_str(&body[from..=to]).unwrap_or_default(),
            _ => Value::String(body.to_owned()),
        };
        Ok((code, body))
    }

    fn config(&self, identity: Option<&CertKey>) -> rustls::ClientConfig {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("pem");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate(&self.ca_pem)).expect("root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        match identity {
            None => config.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).expect("pem");
                let shown = vec![certificate(&pair.cert_pem)];
                config.with_client_auth_cert(shown, key).expect("an identity")
            }
        }
    }

    /// The name and groups of whoever asks so; none with the code of a refusal.
    pub(crate) async fn whoami(
        &self,
        identity: Option<&CertKey>,
        headers: &[(&str, &str)],
    ) -> Result<String, u16> {
        // Nobody may see this; whom the refusal names is who asks.
        let (code, body) = self.ask(identity, "/nowhere", headers).await;
        match (code, body["message"].as_str()) {
            (403, Some(message)) => Ok(message.split('"').nth(1).unwrap_or_default().to_owned()),
            (code, _) => Err(code),
        }
    }
}

/// The certificate of a user.
pub(crate) fn certificate(by: &Ca, name: &str, groups: &[&str]) -> CertKey {
    by.issue(&LeafRequest::client(name, groups)).expect("a certificate")
}
