//! Copies a small tree of folders, links and files with owners and modes.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::Path;

use crate::error::{Error, on_file};

/// Copies `from` to `to`, which must not exist.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let facts = fs::symlink_metadata(from).map_err(on_file("read", from))?;
    let owner = (Some(facts.uid()), Some(facts.gid()));
    if facts.is_symlink() {
        let target = fs::read_link(from).map_err(on_file("read", from))?;
        symlink(target, to).map_err(on_file("link", to))?;
        return lchown(to, owner.0, owner.1).map_err(on_file("own", to));
    }
    if facts.is_dir() {
        fs::create_dir(to).map_err(on_file("make", to))?;
        for entry in fs::read_dir(from).map_err(on_file("read", from))?.flatten() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        fs::copy(from, to).map_err(on_file("copy", from))?;
    }
    chown(to, owner.0, owner.1).map_err(on_file("own", to))?;
    // Last: a new owner takes special bits away.
    fs::set_permissions(to, facts.permissions()).map_err(on_file("protect", to))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folders_links_files_and_modes_are_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("tmp")).expect("made");
        fs::set_permissions(from.join("tmp"), Permissions::from_mode(0o1777)).expect("set");
        fs::write(from.join("file"), "content").expect("written");
        symlink("/run", from.join("run")).expect("linked");
        copy(&from, &to).expect("copied");
        assert_eq!(fs::read_to_string(to.join("file")).expect("there"), "content");
        assert_eq!(fs::read_link(to.join("run")).expect("a link"), Path::new("/run"));
        let mode = fs::metadata(to.join("tmp")).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o1777);
    }
}
