//! `hostPath` volumes: a file or folder of the node, checked or made as its type says.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::VolumeError;

/// The node's path, after making sure that it is what `kind` says (empty: anything).
pub(crate) fn prepare(path: &str, kind: &str) -> Result<PathBuf, VolumeError> {
    let path = Path::new(path);
    let failed = |source| VolumeError::File { path: path.to_owned(), source };
    match kind {
        "" => {}
        "DirectoryOrCreate" if !path.exists() => {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o755).create(path).map_err(failed)?;
        }
        "FileOrCreate" if !path.exists() => {
            let mut options = OpenOptions::new();
            options.create_new(true).write(true).mode(0o644).open(path).map_err(failed)?;
        }
        _ => {
            let found = path.metadata().map_err(failed)?.file_type();
            let fits = match kind {
                "Directory" | "DirectoryOrCreate" => found.is_dir(),
                "File" | "FileOrCreate" => found.is_file(),
                "Socket" => found.is_socket(),
                "CharDevice" => found.is_char_device(),
                "BlockDevice" => found.is_block_device(),
                _ => false,
            };
            if !fits {
                let (path, kind) = (path.to_owned(), kind.to_owned());
                return Err(VolumeError::WrongType { path, kind });
            }
        }
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("dir", "Directory" => true)]
    #[test_case("dir", "File" => false)]
    #[test_case("file", "File" => true)]
    #[test_case("file", "Socket" => false)]
    #[test_case("none", "Directory" => false)]
    #[test_case("none", "" => true; "unchecked")]
    #[test_case("made/deep", "DirectoryOrCreate" => true)]
    #[test_case("made", "FileOrCreate" => true)]
    #[test_case("file", "DirectoryOrCreate" => false)]
    fn types(name: &str, kind: &str) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("dir")).expect("made");
        fs::write(folder.path().join("file"), "").expect("made");
        prepare(&folder.path().join(name).display().to_string(), kind).is_ok()
    }
}
