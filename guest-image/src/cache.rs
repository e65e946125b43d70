//! The cache of verified images: a folder per manifest, named by the manifest's digest.
//!
//! ```text
//! images/<digest>/{manifest.json, manifest.json.minisig, vmlinuz, initrd, …, verified.json}
//! images/<digest>.lock        held while files are fetched or verified
//! images/by-address/<digest of the address> → the manifest that address gave last
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use minik_driver::BootFiles;
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::error::{ImageError, on_file};
use crate::manifest::{FileEntry, MANIFEST_FILE, Manifest, Role, SIGNATURE_SUFFIX};
use crate::signature::TrustedKeys;

const STAMPS: &str = "verified.json";

/// An image in the cache whose manifest is signed by a trusted key.
#[derive(Clone, Debug)]
pub struct CachedImage {
    folder: PathBuf,
    manifest: Manifest,
    digest: String,
}

/// How a file looked when its digest was last computed. Whoever changes a byte changes this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    sha256: String,
    size: u64,
    inode: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl CachedImage {
    /// Opens an image of the cache by the digest of its manifest and checks the signature again.
    ///
    /// # Errors
    /// [`ImageError::File`] when it is not there, [`ImageError::Signature`], [`ImageError::Manifest`].
    pub fn open(cache: &Path, digest: &str, keys: &TrustedKeys) -> Result<Self, ImageError> {
        let folder = cache.join(digest);
        let path = folder.join(MANIFEST_FILE);
        let signature_path = folder.join(format!("{MANIFEST_FILE}{SIGNATURE_SUFFIX}"));
        let content = fs::read(&path).map_err(on_file("read", &path))?;
        let signature =
            fs::read_to_string(&signature_path).map_err(on_file("read", &signature_path))?;
        let origin = path.display().to_string();
        keys.check(&origin, &content, &signature)?;
        let manifest = Manifest::parse(&content)
            .map_err(|reason| ImageError::Manifest { manifest: origin, reason })?;
        Ok(Self { folder, manifest, digest: digest.into() })
    }

    /// Stores a manifest that was just fetched and checked; the image then lacks its files.
    pub(crate) fn store(
        cache: &Path,
        content: &[u8],
        signature: &str,
        manifest: Manifest,
    ) -> Result<Self, ImageError> {
        let digest = digest::of_bytes(content);
        let folder = cache.join(&digest);
        fs::create_dir_all(&folder).map_err(on_file("make", &folder))?;
        let signature_file = format!("{MANIFEST_FILE}{SIGNATURE_SUFFIX}");
        digest::write_whole(&folder.join(signature_file), 0o644, signature.as_bytes())?;
        digest::write_whole(&folder.join(MANIFEST_FILE), 0o644, content)?;
        Ok(Self { folder, manifest, digest })
    }

    /// The digest of the manifest, which stands for the whole image; what a machine record keeps.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the image says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files as a driver takes them; the Docker layer when it is here.
    #[must_use]
    pub fn boot_files(&self) -> BootFiles {
        let path = |role| {
            let entry = self.manifest.file(role).expect("a manifest with all roles but docker");
            self.path_of(entry)
        };
        BootFiles {
            vmlinux: path(Role::Vmlinux),
            vmlinuz: path(Role::Vmlinuz),
            initrd: path(Role::Initrd),
            root: path(Role::Root),
            docker: self
                .manifest
                .file(Role::Docker)
                .map(|entry| self.path_of(entry))
                .filter(|path| path.exists()),
            cmdline: self.manifest.cmdline.clone(),
        }
    }

    /// Checks that every file that is here is what the manifest says, and that none but the Docker layer lacks. A
    /// file that was not touched since its last check is taken as good; [`verify_fully`](Self::verify_fully) is not
    /// so lenient.
    ///
    /// # Errors
    /// [`ImageError::Digest`] or [`ImageError::Size`] for a damaged file, [`ImageError::File`] for a missing one.
    pub fn verify(&self) -> Result<(), ImageError> {
        self.verify_files(self.stamps())
    }

    /// As [`verify`](Self::verify), reading every byte.
    ///
    /// # Errors
    /// The same.
    pub fn verify_fully(&self) -> Result<(), ImageError> {
        self.verify_files(BTreeMap::new())
    }

    fn verify_files(&self, mut stamps: BTreeMap<String, Stamp>) -> Result<(), ImageError> {
        let before = stamps.clone();
        for entry in &self.manifest.files {
            let here = self.path_of(entry).exists();
            if here || entry.role != Role::Docker {
                self.verify_file(entry, &mut stamps)?;
            }
        }
        if stamps != before { self.keep_stamps(&stamps) } else { Ok(()) }
    }

    /// Which files are here and good, by digest or by an unchanged stamp. A damaged one is removed; `said` hears why.
    pub(crate) fn good_files(
        &self,
        mut said: impl FnMut(&ImageError),
    ) -> Result<Vec<String>, ImageError> {
        let mut stamps = self.stamps();
        let mut good = Vec::new();
        for entry in &self.manifest.files {
            let path = self.path_of(entry);
            if !path.exists() {
                continue;
            }
            match self.verify_file(entry, &mut stamps) {
                Ok(()) => good.push(entry.name.clone()),
                Err(error @ (ImageError::Digest { .. } | ImageError::Size { .. })) => {
                    said(&error);
                    fs::remove_file(&path).map_err(on_file("remove", path))?;
                }
                Err(error) => return Err(error),
            }
        }
        self.keep_stamps(&stamps)?;
        Ok(good)
    }

    pub(crate) fn path_of(&self, entry: &FileEntry) -> PathBuf {
        self.folder.join(&entry.name)
    }

    fn verify_file(
        &self,
        entry: &FileEntry,
        stamps: &mut BTreeMap<String, Stamp>,
    ) -> Result<(), ImageError> {
        let path = self.path_of(entry);
        let now = stamp(&path, &entry.sha256)?;
        if stamps.get(&entry.name) == Some(&now) && now.size == entry.size {
            return Ok(());
        }
        stamps.remove(&entry.name);
        let (size, sha256) = digest::of_file(&path)?;
        let (file, from) = (entry.name.clone(), path.display().to_string());
        if size != entry.size {
            let (expected, actual) = (entry.size, size);
            return Err(ImageError::Size { file, url: from, expected, actual });
        }
        if sha256 != entry.sha256 {
            let (expected, actual) = (entry.sha256.clone(), sha256);
            return Err(ImageError::Digest { file, from, expected, actual });
        }
        stamps.insert(entry.name.clone(), now);
        Ok(())
    }

    /// Stamps that cannot be read only cost reading the files again.
    fn stamps(&self) -> BTreeMap<String, Stamp> {
        fs::read(self.folder.join(STAMPS))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    fn keep_stamps(&self, stamps: &BTreeMap<String, Stamp>) -> Result<(), ImageError> {
        let text = serde_json::to_vec(stamps).unwrap_or_default();
        digest::write_whole(&self.folder.join(STAMPS), 0o644, &text)
    }
}

fn stamp(path: &Path, sha256: &str) -> Result<Stamp, ImageError> {
    let meta = fs::metadata(path).map_err(on_file("read", path))?;
    let ns = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok(Stamp {
        sha256: sha256.into(),
        size: meta.len(),
        inode: meta.ino(),
        modified_ns: ns(meta.mtime(), meta.mtime_nsec()),
        changed_ns: ns(meta.ctime(), meta.ctime_nsec()),
    })
}

/// Exclusive use of one image of the cache, given back when dropped or when the process ends in any way.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Lock {
    /// Takes it; when another process has it, `waiting` is called once and then it is waited for. The other one makes
    /// progress under its own deadlines, and a dead one holds nothing.
    pub(crate) fn take(
        cache: &Path,
        digest: &str,
        waiting: impl FnOnce(),
    ) -> Result<Self, ImageError> {
        use rustix::fs::{FlockOperation, flock};
        fs::create_dir_all(cache).map_err(on_file("make", cache))?;
        let path = cache.join(format!("{digest}.lock"));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(on_file("open", &path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            waiting();
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|errno| on_file("lock", &path)(errno.into()))?;
        }
        Ok(Self(file))
    }
}

/// What the address gave last time, when that is still here.
pub(crate) fn remembered(cache: &Path, address: &str) -> Option<String> {
    let text = fs::read_to_string(address_file(cache, address)).ok()?;
    let digest = text.trim().to_owned();
    let plausible = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    plausible.then_some(digest)
}

/// Remembers what an address gave.
pub(crate) fn remember(cache: &Path, address: &str, digest: &str) -> Result<(), ImageError> {
    let path = address_file(cache, address);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(on_file("make", parent))?;
    }
    digest::write_whole(&path, 0o644, format!("{digest}\n").as_bytes())
}

fn address_file(cache: &Path, address: &str) -> PathBuf {
    cache.join("by-address").join(digest::of_bytes(address.as_bytes()))
}
