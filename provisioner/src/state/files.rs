//! Files that are either the old or the new, whatever happens in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::error::{ProvisionError, Result};

/// Replaces `path` by `bytes`, readable by this user alone; false when it held just that already.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    replace(path, bytes).map_err(ProvisionError::state("write", path))?;
    Ok(true)
}

/// The file's text; none when there is no such file.
pub(crate) fn read_optional(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(ProvisionError::state("read", path)(err)),
    }
}

/// Makes a folder, and those above it, for this user alone.
pub(crate) fn make_private_folder(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(ProvisionError::state("make", path))
}

/// Removes a file; one that is not there is removed already.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    gone(fs::remove_file(path)).map_err(ProvisionError::state("remove", path))
}

/// Removes a folder with all in it; one that is not there is removed already.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    gone(fs::remove_dir_all(path)).map_err(ProvisionError::state("remove", path))
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(err) = written.and_then(|()| fs::rename(&new, path)) {
        // The first error is the one to tell; a half-written file without a name helps nobody.
        let _ = fs::remove_file(&new);
        return Err(err);
    }
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_when_it_differs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(write_private(&path, b"1").unwrap());
        assert!(!write_private(&path, b"1").unwrap());
        assert!(write_private(&path, b"2").unwrap());
        assert_eq!(read_optional(&path).unwrap().unwrap(), "2");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        remove_file(&path).unwrap();
        remove_file(&path).unwrap();
        assert_eq!(read_optional(&path).unwrap(), None);
    }

    #[test]
    #[cfg(unix)]
    fn secrets_are_this_users_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x/y");
        make_private_folder(&folder).unwrap();
        write_private(&folder.join("key"), b"k").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("key"))), (0o700, 0o600));
    }
}
