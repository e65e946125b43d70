//! TLS: what the listener shows and asks for, and whom outgoing connections trust.

use std::sync::Arc;

use minik_pki::CertKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{ClientConfig, DistinguishedName, RootCertStore, ServerConfig};

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text is no certificate or key.
    #[error("{what} is not valid PEM")]
    Pem {
        /// Which of the texts.
        what: &'static str,
        /// What the parser said.
        source: rustls::pki_types::pem::Error,
    },
    /// Key and certificate do not belong together, or are of a kind that is not supported.
    #[error("{what} cannot be used for TLS")]
    Unusable {
        /// Which of the texts.
        what: &'static str,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// The text holds no certificate at all.
    #[error("unable to parse bytes as PEM block")]
    Empty,
    /// Nobody said whom to trust, and the system trusts nobody.
    #[error("no CA bundle is set, and this system has no certificate authorities")]
    NoRoots,
    /// The authority's certificate cannot verify anything.
    #[error("{what} cannot be used: {reason}")]
    Authority {
        /// Which of the texts.
        what: &'static str,
        /// What the TLS library said.
        reason: String,
    },
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { what, source })
}

fn key(what: &'static str, pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|source| TlsError::Pem { what, source })
}

fn roots(what: &'static str, pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, pem)? {
        roots.add(certificate).map_err(|source| TlsError::Unusable { what, source })?;
    }
    Ok(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Whoever vouches for client certificates with the authorities in `pem`.
pub(crate) fn client_verifier(
    what: &'static str,
    pem: &str,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = roots(what, pem)?;
    let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    built.map_err(|error| TlsError::Authority { what, reason: error.to_string() })
}

/// The acceptor's settings: HTTP/2 and 1.1, client certificates asked for but not required. Who
/// vouches for one is asked after the handshake; clients are told of `authorities`.
pub(crate) fn server_config(
    serving: &CertKey,
    authorities: &[&str],
) -> Result<ServerConfig, TlsError> {
    let mut hints = Vec::new();
    for pem in authorities {
        hints.extend(roots("the client authority", pem)?.subjects());
    }
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Unusable { what: "the TLS library", source })?
        .with_client_cert_verifier(Arc::new(AnyClient { hints, provider: provider() }))
        .with_single_cert(
            certificates("the serving certificate", &serving.cert_pem)?,
            key("the serving key", &serving.key_pem)?,
        )
        .map_err(|source| TlsError::Unusable { what: "the serving certificate", source })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Lets every client finish the handshake that has the key of its certificate, if it shows one: a
/// client with a bad certificate is told so by the answer to its request.
#[derive(Debug)]
struct AnyClient {
    hints: Vec<DistinguishedName>,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whose certificates are good enough for an outgoing connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// Those that these authorities vouch for, PEM.
    Bundle(String),
    /// Those that the authorities of this system vouch for.
    System,
    /// Anybody's.
    Anybody,
}

impl Trust {
    /// The authorities of a bundle; those of the system if there is none.
    pub(crate) fn of_bundle(pem: String) -> Trust {
        if pem.is_empty() { Trust::System } else { Trust::Bundle(pem) }
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let (roots, empty) = match self {
            Trust::Bundle(pem) => (roots("the CA bundle", pem)?, TlsError::Empty),
            Trust::System => {
                let mut roots = RootCertStore::empty();
                let found = rustls_native_certs::load_native_certs().certs;
                roots.add_parsable_certificates(found);
                (roots, TlsError::NoRoots)
            }
            Trust::Anybody => return Ok(RootCertStore::empty()),
        };
        if roots.is_empty() { Err(empty) } else { Ok(roots) }
    }
}

/// The settings for outgoing connections to those whom `trust` says, identified by `identity`.
pub(crate) fn outgoing_config(
    trust: &Trust,
    identity: Option<&CertKey>,
) -> Result<ClientConfig, TlsError> {
    let settings = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Unusable { what: "the TLS library", source })?
        .with_root_certificates(trust.roots()?);
    let mut config = match identity {
        None => settings.with_no_client_auth(),
        Some(identity) => settings
            .with_client_auth_cert(
                certificates("the client certificate", &identity.cert_pem)?,
                key("the client key", &identity.key_pem)?,
            )
            .map_err(|source| TlsError::Unusable { what: "the client certificate", source })?,
    };
    if *trust == Trust::Anybody {
        config.dangerous().set_certificate_verifier(Arc::new(AnyCertificate(provider())));
    }
    Ok(config)
}

/// Accepts any certificate whose holder has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &rustls::pki_types::ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
