//! SSH keys: Ed25519 pairs in OpenSSH's own file format, which no other program is needed to write.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD};
use minik_pki::Ed25519Key;
use sha2::{Digest, Sha256};

use super::SshError;

const KIND: &str = "ssh-ed25519";
const MAGIC: &[u8] = b"openssh-key-v1\0";
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";

/// A key pair as the two texts OpenSSH knows.
#[derive(Clone, PartialEq, Eq)]
pub struct SshKey {
    /// The private key's file. Secret.
    pub private: String,
    /// `ssh-ed25519 AAAA… comment`
    pub public: String,
}

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SshKey {
    /// Makes a new key pair.
    pub fn generate(comment: &str) -> Result<SshKey, minik_pki::PkiError> {
        Ok(SshKey::from_raw(&minik_pki::ed25519_key()?, comment))
    }

    fn from_raw(key: &Ed25519Key, comment: &str) -> SshKey {
        let public = public_blob(&key.public);
        SshKey {
            private: private_file(key, &public, comment),
            public: format!("{KIND} {} {comment}", BASE64.encode(&public)),
        }
    }

    /// A key pair from the private key's file: the public key is in it too.
    pub fn from_private(private: &str) -> Result<SshKey, SshError> {
        let bad = || SshError::BadKey { what: "the private key".to_owned() };
        let (blob, comment) = read_private(private).ok_or_else(bad)?;
        let public = format!("{KIND} {} {comment}", BASE64.encode(blob));
        Ok(SshKey { private: private.to_owned(), public })
    }

    /// `ssh-ed25519 AAAA…` without the comment, as host keys are compared.
    pub fn public_bare(&self) -> &str {
        bare(&self.public)
    }
}

/// Type and key of a public key's line.
pub(crate) fn bare(public: &str) -> &str {
    let second_space = public.match_indices(' ').nth(1).map_or(public.len(), |(at, _)| at);
    public[..second_space].trim_end()
}

/// The key itself, as the SSH protocol sends it.
pub(crate) fn blob_of(public: &str) -> Result<Vec<u8>, SshError> {
    let bad = || SshError::BadKey { what: format!("`{public}`") };
    let encoded = bare(public).strip_prefix(KIND).ok_or_else(bad)?;
    BASE64.decode(encoded.trim()).map_err(|_| bad())
}

/// A key's fingerprint as OpenSSH prints it.
pub(crate) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

fn public_blob(public: &[u8; 32]) -> Vec<u8> {
    let mut blob = Vec::new();
    put(&mut blob, KIND.as_bytes());
    put(&mut blob, public);
    blob
}

/// The unencrypted private part is two equal numbers (there to detect a wrong passphrase), the key, the
/// comment, and 1, 2, 3… up to the cipher's block size, which is 8 for none.
fn private_file(key: &Ed25519Key, public: &[u8], comment: &str) -> String {
    let check = &Sha256::digest(public)[..4];
    let mut secret = [check, check].concat();
    put(&mut secret, KIND.as_bytes());
    put(&mut secret, &key.public);
    put(&mut secret, &[key.seed, key.public].concat());
    put(&mut secret, comment.as_bytes());
    let padding = (8 - secret.len() % 8) % 8;
    secret.extend((1..=padding).map(|n| n as u8));

    let mut file = MAGIC.to_vec();
    put(&mut file, b"none"); // cipher
    put(&mut file, b"none"); // key derivation
    put(&mut file, b""); // its options
    file.extend(1_u32.to_be_bytes()); // number of keys
    put(&mut file, public);
    put(&mut file, &secret);

    let text = BASE64.encode(file);
    let lines: Vec<&str> =
        text.as_bytes().chunks(70).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
}

fn read_private(text: &str) -> Option<(Vec<u8>, String)> {
    let body = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let packed: String = body.split_whitespace().collect();
    let file = BASE64.decode(packed).ok()?;
    let mut rest = file.strip_prefix(MAGIC)?;
    if take(&mut rest)? != b"none" {
        return None;
    }
    take(&mut rest)?;
    take(&mut rest)?;
    rest = rest.get(4..)?;
    let public = take(&mut rest)?.to_vec();
    let mut secret = take(&mut rest)?.get(8..)?;
    if take(&mut secret)? != KIND.as_bytes() {
        return None;
    }
    take(&mut secret)?;
    take(&mut secret)?;
    let comment = String::from_utf8(take(&mut secret)?.to_vec()).ok()?;
    Some((public, comment))
}

fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend((bytes.len() as u32).to_be_bytes());
    to.extend(bytes);
}

fn take<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = from.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    let (bytes, rest) = rest.split_at_checked(length)?;
    *from = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_file_is_openssh_s() {
        // RFC 8032, section 7.1, test 1.
        let key = Ed25519Key {
            seed: bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
            public: bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
        };
        let key = SshKey::from_raw(&key, "test");
        expect![[r#"
            ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea test
            -----BEGIN OPENSSH PRIVATE KEY-----
            b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
            QyNTUxOQAAACDXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGgAAAIhttem4bbXp
            uAAAAAtzc2gtZWQyNTUxOQAAACDXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg
            AAAECdYbGd7/1aYLqESvSS7CzEREnFaXsyaRlwO6wDHK5/YNdamAGCsQq31Uv+08lkBzoO
            4XLz2qYjJa8CGmj3B1EaAAAABHRlc3QB
            -----END OPENSSH PRIVATE KEY-----
        "#]]
        .assert_eq(&format!("{}\n{}", key.public, key.private));
        assert_eq!(SshKey::from_private(&key.private).unwrap(), key);
        expect!["SHA256:bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU8"]
            .assert_eq(&fingerprint(&blob_of(&key.public).unwrap()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(SshKey::from_private("").is_err());
        assert!(SshKey::from_private(&format!("{BEGIN}\nAAAA\n{END}\n")).is_err());
        assert!(blob_of("ssh-rsa AAAA").is_err());
        assert_eq!(bare("ssh-ed25519 AAAA me@here"), "ssh-ed25519 AAAA");
        assert_eq!(bare("ssh-ed25519 AAAA"), "ssh-ed25519 AAAA");
    }

    #[test]
    fn the_private_key_is_not_in_debug_output() {
        let key = SshKey::generate("x").unwrap();
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    fn bytes(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }
}
