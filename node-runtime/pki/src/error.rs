//! What can go wrong with keys, certificates and kubeconfig documents.

/// Why a key, certificate or kubeconfig could not be made or understood.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Key generation or signing failed.
    #[error("cannot make {what}")]
    Make {
        /// What was being made.
        what: String,
        /// What the crypto library said.
        source: rcgen::Error,
    },
    /// A PEM text is not the key it should be.
    #[error("{what} is not a usable private key")]
    Key {
        /// Which key.
        what: String,
        /// What the crypto library said.
        source: rcgen::Error,
    },
    /// A PEM text is not a certificate.
    #[error("not a certificate: {reason}")]
    Certificate {
        /// What the parser said.
        reason: String,
    },
    /// A name cannot be put into a certificate.
    #[error("`{name}` is neither a DNS name nor an IP address")]
    Name {
        /// The name that was asked for.
        name: String,
    },
    /// A certificate should name more groups than fit.
    #[error("a certificate can name one group, not {}: {}", groups.len(), groups.join(", "))]
    Groups {
        /// The groups that were asked for.
        groups: Vec<String>,
    },
    /// A kubeconfig is not understood.
    #[error("kubeconfig is not understood: {reason}")]
    Kubeconfig {
        /// What the parser said, with line and column.
        reason: String,
    },
    /// A request asks for usages that nobody knows.
    #[error("unrecognized usage values: [{}]", names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" "))]
    Usages {
        /// The usages.
        names: Vec<String>,
    },
    /// The authority is no longer valid.
    #[error("refusing to sign a certificate that expired in the past: NotAfter={at}")]
    Ended {
        /// When it ended.
        at: time::OffsetDateTime,
    },
}
