//! The manifest: which files an image consists of, each with its size and digest.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::error::ImageError;

/// File name of the manifest beside the files it names.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Appended to the manifest's name for its detached signature.
pub const SIGNATURE_SUFFIX: &str = ".minisig";
/// The only format there is so far.
pub const FORMAT: u32 = 1;

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Version of this document; [`FORMAT`].
    pub format: u32,
    /// What the image is called.
    pub name: String,
    /// Version of the image.
    pub version: String,
    /// As `uname -m` says it in the guest.
    pub arch: String,
    /// Kernel parameters that the image needs; drivers add the console and what their hardware wants.
    pub cmdline: Vec<String>,
    /// The files.
    pub files: Vec<FileEntry>,
}

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileEntry {
    /// Plain file name, beside the manifest.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// Not downloaded but unpacked from this other file: an uncompressed kernel is in the compressed one already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked_from: Option<String>,
}

/// What a file of an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Uncompressed kernel with a PVH entry.
    Vmlinux,
    /// Compressed kernel.
    Vmlinuz,
    /// Initial RAM disk.
    Initrd,
    /// Read-only root (erofs).
    Root,
    /// Docker Engine as a layer of its own (erofs); the one file a guest starts without.
    Docker,
}

impl Manifest {
    /// Understands and checks a manifest; the reason when it is not usable.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The file with this role.
    #[must_use]
    pub fn file(&self, role: Role) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.role == role)
    }

    /// Bytes to download, the Docker layer included or not.
    #[must_use]
    pub fn download_size(&self, with_docker: bool) -> u64 {
        self.files
            .iter()
            .filter(|file| file.unpacked_from.is_none())
            .filter(|file| with_docker || file.role != Role::Docker)
            .map(|file| file.size)
            .sum()
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, this minik reads {FORMAT}", self.format));
        }
        if self.arch != std::env::consts::ARCH {
            return Err(format!(
                "it is for {}, this machine is {}",
                self.arch,
                std::env::consts::ARCH
            ));
        }
        for file in &self.files {
            check_name(&file.name)?;
            if file.sha256.len() != 64 || !file.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(format!("{} has no SHA-256", file.name));
            }
            if self.files.iter().filter(|other| other.name == file.name).count() > 1 {
                return Err(format!("{} is named twice", file.name));
            }
            if let Some(from) = &file.unpacked_from
                && !self.files.iter().any(|f| f.name == *from && f.unpacked_from.is_none())
            {
                return Err(format!("{} is unpacked from {from}, which is not there", file.name));
            }
        }
        for role in [Role::Vmlinux, Role::Vmlinuz, Role::Initrd, Role::Root] {
            if self.file(role).is_none() {
                return Err(format!("it has no file with the role {role:?}"));
            }
        }
        Ok(())
    }
}

/// Size and digest of a file, as a manifest states them.
///
/// # Errors
/// [`ImageError::File`] when it cannot be read.
pub fn measure(path: &Path) -> Result<(u64, String), ImageError> {
    digest::of_file(path)
}

/// A name from a manifest becomes a file in the cache, so it may not lead elsewhere.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let reserved =
        name.starts_with('.') || name.starts_with(MANIFEST_FILE) || name.ends_with(".part");
    if name.is_empty() || name.len() > 100 || reserved || !name.bytes().all(plain) {
        return Err(format!("{name:?} is not a plain file name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn manifest() -> Manifest {
        let file = |name: &str, role, unpacked_from: Option<&str>| FileEntry {
            name: name.into(),
            role,
            size: 10,
            sha256: "a".repeat(64),
            unpacked_from: unpacked_from.map(str::to_owned),
        };
        Manifest {
            format: FORMAT,
            name: "minik".into(),
            version: "1".into(),
            arch: std::env::consts::ARCH.into(),
            cmdline: vec!["quiet".into()],
            files: vec![
                file("vmlinux", Role::Vmlinux, Some("vmlinuz")),
                file("vmlinuz", Role::Vmlinuz, None),
                file("initrd", Role::Initrd, None),
                file("root.erofs", Role::Root, None),
                file("docker.erofs", Role::Docker, None),
            ],
        }
    }

    fn check(change: fn(&mut Manifest), wanted: Expect) {
        let mut manifest = manifest();
        change(&mut manifest);
        let text = serde_json::to_vec(&manifest).expect("serializes");
        wanted.assert_eq(&match Manifest::parse(&text) {
            Ok(read) => {
                assert_eq!(read, manifest);
                "fine".into()
            }
            Err(reason) => reason,
        });
    }

    #[test]
    fn a_manifest_is_checked_before_it_is_used() {
        check(|_| {}, expect!["fine"]);
        check(|m| m.format = 2, expect!["its format is 2, this minik reads 1"]);
        check(
            |m| m.files[3].name = "../root".into(),
            expect![[r#""../root" is not a plain file name"#]],
        );
        check(
            |m| m.files[3].name = "manifest.json.minisig".into(),
            expect![[r#""manifest.json.minisig" is not a plain file name"#]],
        );
        check(|m| m.files[3].name = "initrd".into(), expect!["initrd is named twice"]);
        check(|m| m.files[2].sha256 = "short".into(), expect!["initrd has no SHA-256"]);
        check(|m| drop(m.files.remove(2)), expect!["it has no file with the role Initrd"]);
        check(
            |m| drop(m.files.remove(1)),
            expect!["vmlinux is unpacked from vmlinuz, which is not there"],
        );
        check(|m| drop(m.files.remove(4)), expect!["fine"]);
    }

    #[test]
    fn a_foreign_machine_is_refused() {
        let mut manifest = manifest();
        manifest.arch = "z80".into();
        assert!(
            manifest.check().expect_err("foreign").starts_with("it is for z80, this machine is ")
        );
    }

    #[test]
    fn what_is_unpacked_is_not_downloaded() {
        assert_eq!(manifest().download_size(false), 30);
        assert_eq!(manifest().download_size(true), 40);
    }
}
