//! The program that runs in the guest, on this side: where it is found.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::error::{ProvisionError, Result};
use crate::shell::sha256_of;

/// Name of the program's file.
const NAME: &str = "minik-node";

/// Where `minik-node` may be, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeBinary {
    candidates: Vec<PathBuf>,
    bundle: Option<(Bundle, PathBuf)>,
}

/// A `minik-node` that is part of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The program, as zstd packed it.
    pub packed: &'static [u8],
    /// SHA-256 of what is to come out, in lower-case hexadecimal.
    pub digest: &'static str,
}

impl NodeBinary {
    /// `MINIK_NODE_BINARY` if set, and nothing else then; else beside this program, or in the `lib`
    /// folder of the prefix it is installed in; else the bundled one, unpacked below `cache`.
    pub fn from_env(bundle: Option<Bundle>, cache: &Path) -> NodeBinary {
        NodeBinary::choose(
            env::var_os("MINIK_NODE_BINARY").map(PathBuf::from),
            env::current_exe().ok(),
            bundle.map(|bundle| (bundle, cache.join("node"))),
        )
    }

    /// Exactly that file.
    pub fn at(path: impl Into<PathBuf>) -> NodeBinary {
        NodeBinary { candidates: vec![path.into()], bundle: None }
    }

    fn choose(
        named: Option<PathBuf>,
        program: Option<PathBuf>,
        bundle: Option<(Bundle, PathBuf)>,
    ) -> NodeBinary {
        if let Some(named) = named.filter(|path| !path.as_os_str().is_empty()) {
            return NodeBinary::at(named);
        }
        let folder = program.as_deref().and_then(Path::parent);
        let beside = folder.map(|folder| folder.join(NAME));
        let installed =
            folder.and_then(Path::parent).map(|prefix| prefix.join("lib/minik").join(NAME));
        NodeBinary { candidates: beside.into_iter().chain(installed).collect(), bundle }
    }

    /// The first candidate that is a file; the bundle is unpacked if it was not before.
    ///
    /// # Errors
    /// [`ProvisionError::NodeBinaryMissing`] with every place that was tried;
    /// [`ProvisionError::State`] if the bundle cannot be unpacked.
    pub fn find(&self) -> Result<PathBuf> {
        if let Some(found) = self.candidates.iter().find(|path| path.is_file()) {
            return Ok(found.clone());
        }
        let Some((bundle, folder)) = &self.bundle else {
            return Err(ProvisionError::NodeBinaryMissing { tried: self.candidates.clone() });
        };
        let path = folder.join(format!("{NAME}-{}", &bundle.digest[..16]));
        bundle.unpack(&path).map_err(ProvisionError::state("unpack minik-node to", &path))?;
        Ok(path)
    }
}

impl Bundle {
    /// Writes the program to `path`, unless it is there whole. Two at once do no harm.
    fn unpack(&self, path: &Path) -> io::Result<()> {
        if digest(path).is_ok_and(|digest| digest == self.digest) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder)?;
        let part = path.with_extension(format!("part-{}", std::process::id()));
        let written = self.write(&part).and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            // What is left of it is of no use; the error says what matters.
            let _ = fs::remove_file(&part);
        }
        written?;
        // Those of other versions come out of their own bundles again.
        for entry in fs::read_dir(folder)?.flatten().filter(|entry| entry.path() != path) {
            let _ = fs::remove_file(entry.path());
        }
        Ok(())
    }

    fn write(&self, part: &Path) -> io::Result<()> {
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o755).open(part)?;
        zstd::stream::copy_decode(self.packed, &mut file)?;
        file.flush()?;
        let found = digest(part)?;
        if found != self.digest {
            let reason = format!("its SHA-256 is {found} instead of {}", self.digest);
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(())
    }
}

fn digest(path: &Path) -> io::Result<String> {
    sha256_of(&mut File::open(path)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use test_case::test_case;

    use super::*;

    #[test_case(None, "/p/bin/minik", "/p/bin/minik-node /p/lib/minik/minik-node"; "beside or installed")]
    #[test_case(Some("/x/node"), "/p/bin/minik", "/x/node"; "named wins alone")]
    #[test_case(Some(""), "/p/bin/minik", "/p/bin/minik-node /p/lib/minik/minik-node"; "empty is unset")]
    fn places(named: Option<&str>, program: &str, expected: &str) {
        let binary = NodeBinary::choose(named.map(PathBuf::from), Some(program.into()), None);
        let text: Vec<String> =
            binary.candidates.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(text.join(" "), expected);
    }

    fn bundled(digest: Option<&'static str>) -> Bundle {
        let packed = zstd::encode_all(&b"the program"[..], 3).unwrap().leak();
        let right = sha256_of(&mut &b"the program"[..]).unwrap().leak();
        Bundle { packed, digest: digest.unwrap_or(right) }
    }

    #[test]
    fn a_bundle_is_unpacked_once_and_mended() {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("bin/minik");
        let cache = home.path().join("cache/node");
        let binary = NodeBinary::choose(None, Some(program), Some((bundled(None), cache.clone())));
        fs::create_dir_all(&cache).unwrap();
        fs::write(cache.join("minik-node-old"), "an older one").unwrap();

        let path = binary.find().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"the program");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o111, 0o111);
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "only this version is kept");
        fs::write(&path, "damaged").unwrap();
        assert_eq!(binary.find().unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"the program");
    }

    #[test]
    fn a_damaged_bundle_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let wrong = bundled(Some("00112233445566778899"));
        let binary = NodeBinary::choose(None, None, Some((wrong, home.path().to_owned())));
        let said = binary.find().unwrap_err();
        assert!(std::error::Error::source(&said).unwrap().to_string().contains("instead of 0011"));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_beside_wins_over_the_bundle() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(NAME), "built just now").unwrap();
        let program = home.path().join("minik");
        let cache = home.path().join("cache");
        let binary = NodeBinary::choose(None, Some(program), Some((bundled(None), cache)));
        assert_eq!(binary.find().unwrap(), home.path().join(NAME));
    }
}
