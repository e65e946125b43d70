//! Certificates, keys and kubeconfig documents; pure except for the randomness and clock a key needs.
//!
//! All keys are ECDSA P-256 (PKCS#8 PEM), except SSH keys, which are Ed25519. A certificate is valid
//! from a little before it is made, so that a guest whose clock lags does not refuse it.

mod ca;
mod error;
mod inspect;
mod keys;
mod kubeconfig;
mod request;
mod sign;

pub use ca::{CA_VALIDITY, Ca, CertKey, LEAF_VALIDITY, LeafRequest, Usage};
pub use error::PkiError;
pub use inspect::{CertFacts, RENEW_BEFORE, inspect};
pub use keys::{Ed25519Key, KeyPairPem, ec_key_pair, ed25519_key};
pub use kubeconfig::{
    AuthInfo, Cluster, Context, Credentials, Entry, Kubeconfig, NamedAuthInfo, NamedCluster,
    NamedContext, Pem,
};
pub use request::{RequestError, SigningRequest, check_certificates};
pub use sign::{KeyUsages, SIGNED_BACKDATE};
