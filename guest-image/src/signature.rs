//! Signatures in minisign's format: checking them against the keys we trust, and making them for local builds.
//!
//! A local build signs with a key pair of this user, made on first use, so that it goes through the very same checks
//! as a release. The private key is not encrypted: it speaks for nobody but the user whose file it is.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use minisign_verify::{PublicKey, Signature};

use crate::digest;
use crate::error::{ImageError, on_file};

/// Release keys, compiled in: name and minisign public key. Releases are not published yet.
const RELEASE_KEYS: [(&str, &str); 0] = [];
/// Pure Ed25519 over the file itself, which minisign reads beside its newer pre-hashed form; manifests are small.
const ALGORITHM: [u8; 2] = *b"Ed";
const LOCAL_KEY: &str = "image-local.key";
const LOCAL_PUBLIC: &str = "image-local.pub";

/// The public keys whose signatures count.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys {
    keys: Vec<(String, PublicKey)>,
}

impl TrustedKeys {
    /// The release keys, every `*.pub` in `folder` (absent is fine) and, when given, one more: a public key or the
    /// path of one.
    ///
    /// # Errors
    /// [`ImageError::Key`] for a key that is not in minisign's form, [`ImageError::File`] for one that cannot be read.
    pub fn load(folder: &Path, one_more: Option<&str>) -> Result<Self, ImageError> {
        let mut trusted = Self::default();
        for (name, text) in RELEASE_KEYS {
            trusted.add(name, text)?;
        }
        let mut paths: Vec<PathBuf> = match fs::read_dir(folder) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => vec![],
            Err(error) => return Err(on_file("read", folder)(error)),
        };
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "pub")) {
            trusted.add_file(path)?;
        }
        match one_more {
            Some(path) if Path::new(path).is_file() => trusted.add_file(Path::new(path))?,
            Some(text) => trusted.add("the key given", text)?,
            None => {}
        }
        Ok(trusted)
    }

    /// Trusts a public key, as its file or as the one line that counts.
    ///
    /// # Errors
    /// [`ImageError::Key`] when it is not in minisign's form.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), ImageError> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let key = PublicKey::from_base64(line)
            .map_err(|error| ImageError::Key { what: name.into(), reason: error.to_string() })?;
        self.keys.push((name.into(), key));
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ImageError> {
        let text = fs::read_to_string(path).map_err(on_file("read", path))?;
        self.add(&path.display().to_string(), &text)
    }

    /// Checks a detached signature; the name of the key that made it. `origin` is for the error.
    ///
    /// # Errors
    /// [`ImageError::Signature`] when no trusted key made it or the content was changed.
    pub fn check(
        &self,
        origin: &str,
        content: &[u8],
        signature: &str,
    ) -> Result<String, ImageError> {
        let refuse = |reason: String| ImageError::Signature { manifest: origin.into(), reason };
        let signature = Signature::decode(signature)
            .map_err(|_| refuse("this is not a minisign signature".into()))?;
        let mut made_by = None;
        for (name, key) in &self.keys {
            match key.verify(content, &signature, true) {
                Ok(()) => return Ok(name.clone()),
                Err(minisign_verify::Error::UnexpectedKeyId) => {}
                Err(_) => made_by = Some(name),
            }
        }
        Err(refuse(match made_by {
            Some(name) => format!("the content is not what {name} signed"),
            None => {
                format!("it was made by a key that is not among the {} trusted", self.keys.len())
            }
        }))
    }
}

/// The key pair that signs local builds.
pub struct LocalKey {
    pair: Ed25519KeyPair,
    id: [u8; 8],
}

impl LocalKey {
    /// Opens the pair in `folder`, or makes it there: the private half readable by its owner only, the public half
    /// beside it, where [`TrustedKeys::load`] finds it.
    ///
    /// # Errors
    /// [`ImageError::File`] or [`ImageError::Key`].
    pub fn open_or_create(folder: &Path) -> Result<Self, ImageError> {
        let path = folder.join(LOCAL_KEY);
        let bad = |reason: String| ImageError::Key { what: path.display().to_string(), reason };
        let bytes = match fs::read_to_string(&path) {
            Ok(text) => BASE64.decode(text.trim()).map_err(|error| bad(error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut fresh = vec![0; 40];
                SystemRandom::new()
                    .fill(&mut fresh)
                    .map_err(|_| bad("no randomness for a new one".into()))?;
                fs::create_dir_all(folder).map_err(on_file("make", folder))?;
                digest::write_whole(
                    &path,
                    0o600,
                    format!("{}\n", BASE64.encode(&fresh)).as_bytes(),
                )?;
                fresh
            }
            Err(error) => return Err(on_file("read", &path)(error)),
        };
        let (Ok(id), Some(secret)) =
            (<[u8; 8]>::try_from(&bytes[..bytes.len().min(8)]), bytes.get(8..40))
        else {
            return Err(bad("it is too short".into()));
        };
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).map_err(|e| bad(e.to_string()))?;
        let key = Self { pair, id };
        let public = folder.join(LOCAL_PUBLIC);
        let text = key.public_text();
        if fs::read_to_string(&public).ok().as_ref() != Some(&text) {
            digest::write_whole(&public, 0o644, text.as_bytes())?;
        }
        Ok(key)
    }

    /// The public half as minisign writes it.
    #[must_use]
    pub fn public_text(&self) -> String {
        let mut bytes = ALGORITHM.to_vec();
        bytes.extend(self.id);
        bytes.extend(self.pair.public_key().as_ref());
        format!("untrusted comment: minik image, built locally\n{}\n", BASE64.encode(bytes))
    }

    /// A detached signature of `content`. `comment` is signed too and may not hold a line break.
    #[must_use]
    pub fn sign(&self, content: &[u8], comment: &str) -> String {
        let signed = self.pair.sign(content);
        let mut bytes = ALGORITHM.to_vec();
        bytes.extend(self.id);
        bytes.extend(signed.as_ref());
        let mut with_comment = signed.as_ref().to_vec();
        with_comment.extend(comment.as_bytes());
        let global = self.pair.sign(&with_comment);
        format!(
            "untrusted comment: minik image, built locally\n{}\ntrusted comment: {comment}\n{}\n",
            BASE64.encode(bytes),
            BASE64.encode(global.as_ref())
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_local_key_is_made_once_trusted_by_name_and_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = LocalKey::open_or_create(folder.path()).expect("made");
        let again = LocalKey::open_or_create(folder.path()).expect("opened");
        assert_eq!(first.public_text(), again.public_text());
        let mode = fs::metadata(folder.path().join(LOCAL_KEY)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let trusted = TrustedKeys::load(folder.path(), None).expect("loads");
        let signature = first.sign(b"content", "minik 1");
        let by = trusted.check("m", b"content", &signature).expect("good");
        assert!(by.ends_with(LOCAL_PUBLIC), "{by}");
    }

    #[test]
    fn a_changed_byte_a_changed_comment_and_a_foreign_key_are_refused() {
        let (ours, theirs) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let key = LocalKey::open_or_create(ours.path()).expect("made");
        let foreign = LocalKey::open_or_create(theirs.path()).expect("made");
        let trusted =
            TrustedKeys::load(Path::new("/nonexistent"), Some(&key.public_text())).expect("loads");
        let signature = key.sign(b"content", "minik 1");
        let refused = |content: &[u8], signature: &str| {
            trusted.check("m", content, signature).expect_err("refused").to_string()
        };
        let changed =
            "the signature of m is not good: the content is not what the key given signed";
        assert_eq!(refused(b"Content", &signature), changed);
        assert_eq!(refused(b"content", &signature.replace("minik 1", "minik 2")), changed);
        assert_eq!(
            refused(b"content", &foreign.sign(b"content", "x")),
            "the signature of m is not good: it was made by a key that is not among the 1 trusted"
        );
        assert_eq!(
            refused(b"content", "<html>"),
            "the signature of m is not good: this is not a minisign signature"
        );
    }

    #[test]
    fn a_broken_key_is_named() {
        let error =
            TrustedKeys::load(Path::new("/nonexistent"), Some("nonsense")).expect_err("broken");
        assert!(error.to_string().starts_with("the key given is not a usable key: "), "{error}");
    }
}
