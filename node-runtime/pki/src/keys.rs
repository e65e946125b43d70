//! Key pairs without a certificate: the service-account signer and SSH keys.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData};

use crate::error::PkiError;

/// A key pair as two PEM texts.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPairPem {
    /// Private key, PKCS#8.
    pub private_pem: String,
    /// Public key, SPKI.
    pub public_pem: String,
}

impl fmt::Debug for KeyPairPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPairPem").field("public_pem", &self.public_pem).finish_non_exhaustive()
    }
}

/// An Ed25519 key pair as raw bytes, for formats that are not PKCS (OpenSSH's).
#[derive(Clone)]
pub struct Ed25519Key {
    /// The 32 bytes everything else is derived from. Secret.
    pub seed: [u8; 32],
    /// The public key.
    pub public: [u8; 32],
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Key").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Makes an ECDSA P-256 key pair, as used to sign service-account tokens.
pub fn ec_key_pair() -> Result<KeyPairPem, PkiError> {
    let key = generate("an ECDSA key")?;
    Ok(KeyPairPem { private_pem: key.serialize_pem(), public_pem: key.public_key_pem() })
}

/// Makes an Ed25519 key pair.
pub fn ed25519_key() -> Result<Ed25519Key, PkiError> {
    let make = |source| PkiError::Make { what: "an Ed25519 key".to_owned(), source };
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(make)?;
    let public =
        key.der_bytes().try_into().map_err(|_| make(rcgen::Error::CouldNotParseKeyPair))?;
    let seed = seed_of(key.serialized_der()).ok_or(make(rcgen::Error::CouldNotParseKeyPair))?;
    Ok(Ed25519Key { seed, public })
}

pub(crate) fn generate(what: &str) -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|source| PkiError::Make { what: what.to_owned(), source })
}

/// The seed inside a PKCS#8 document: an OCTET STRING of 32 bytes inside an OCTET STRING (RFC 8410).
fn seed_of(pkcs8: &[u8]) -> Option<[u8; 32]> {
    const HEAD: [u8; 4] = [0x04, 0x22, 0x04, 0x20];
    let at = pkcs8.windows(HEAD.len()).position(|window| window == HEAD)? + HEAD.len();
    pkcs8.get(at..at + 32)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signer_keys_are_pkcs8_and_spki() {
        let pair = ec_key_pair().unwrap();
        assert!(pair.private_pem.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert!(pair.public_pem.starts_with("-----BEGIN PUBLIC KEY-----"));
        let again = KeyPair::from_pem(&pair.private_pem).unwrap();
        assert_eq!(again.public_key_pem(), pair.public_pem);
    }

    #[test]
    fn secrets_are_not_in_debug_output() {
        let pair = ec_key_pair().unwrap();
        assert!(!format!("{pair:?}").contains("PRIVATE"));
        let key = ed25519_key().unwrap();
        assert!(!format!("{key:?}").contains("seed"));
        assert_ne!(key.seed, key.public);
    }
}
