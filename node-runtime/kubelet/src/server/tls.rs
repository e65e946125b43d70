//! The server's side of TLS: every client shows a certificate of the cluster's CA.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig as TlsConfig};
use tokio_rustls::TlsAcceptor;

use super::ServerError;
use crate::config::ServerConfig;

/// A client that takes longer is not one.
pub(super) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Reads the certificates.
pub(super) fn acceptor(config: &ServerConfig) -> Result<TlsAcceptor, ServerError> {
    let bad =
        |path: &Path, message: String| ServerError::Certificate { path: path.to_owned(), message };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.client_ca)? {
        roots.add(certificate).map_err(|error| bad(&config.client_ca, error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| bad(&config.client_ca, error.to_string()))?;
    let chain = certificates(&config.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|error| bad(&config.key, error.to_string()))?;
    let mut tls = TlsConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&config.certificate, error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| bad(&config.certificate, error.to_string()))?;
    // Upgrades need HTTP/1.1, and that is all the API server uses here.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let bad = |message: String| ServerError::Certificate { path: path.to_owned(), message };
    let all = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
    let all: Result<Vec<_>, _> = all.collect();
    let all = all.map_err(|error| bad(error.to_string()))?;
    if all.is_empty() { Err(bad("there is no certificate in it".into())) } else { Ok(all) }
}
