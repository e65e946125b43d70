//! Writes a set of files so that a reader sees all old or all new ones: a new folder, then one
//! rename of the link `..data`, as containers that watch their ConfigMaps expect it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path};
use std::time::{SystemTime, UNIX_EPOCH};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) data: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// The user it belongs to; root if none.
    pub(crate) owner: Option<u32>,
}

/// The files of a volume by their path in it.
pub(crate) type Payload = BTreeMap<String, File>;

/// Makes the folder hold exactly `payload`, owned by `group` if given. Returns whether anything
/// changed.
pub(crate) fn write(folder: &Path, payload: &Payload, group: Option<u32>) -> io::Result<bool> {
    for path in payload.keys() {
        check_path(path)?;
    }
    if is_current(folder, payload) {
        return Ok(false);
    }
    let old = fs::read_link(folder.join(DATA)).ok();
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fresh_name = format!("..{}_{:09}", stamp.as_secs(), stamp.subsec_nanos());
    let fresh = folder.join(&fresh_name);
    make_folder(&fresh, group)?;
    for (path, file) in payload {
        write_file(&fresh, path, file, group)?;
    }

    let link = folder.join(DATA_NEW);
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link)?;
    }
    symlink(&fresh_name, &link)?;
    fs::rename(&link, folder.join(DATA))?;

    link_names(folder, payload)?;
    if let Some(old) = old.filter(|old| old.as_os_str() != fresh_name.as_str()) {
        fs::remove_dir_all(folder.join(old))?;
    }
    Ok(true)
}

/// Only plain relative paths: the API checks that, but a folder outside must never be written.
fn check_path(path: &str) -> io::Result<()> {
    let is_plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !is_plain || path.starts_with("..") {
        let message = format!("{path:?} is not a path inside a volume");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

fn is_current(folder: &Path, payload: &Payload) -> bool {
    let data = folder.join(DATA);
    let Ok(have) = files_below(&data) else { return false };
    have.len() == payload.len()
        && payload.iter().all(|(path, file)| {
            let path = data.join(path);
            let same_mode = path
                .metadata()
                .is_ok_and(|metadata| metadata.permissions().mode() & 0o777 == file.mode & 0o777);
            same_mode && fs::read(&path).is_ok_and(|data| data == file.data)
        })
}

fn files_below(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn make_folder(path: &Path, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let mode = if group.is_some() { 0o2775 } else { 0o755 };
    if group.is_some() {
        chown(path, None, group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn write_file(base: &Path, path: &str, file: &File, group: Option<u32>) -> io::Result<()> {
    let target = base.join(path);
    let mut parent = base.to_owned();
    for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
        parent.push(part);
        if !parent.is_dir() {
            make_folder(&parent, group)?;
        }
    }
    fs::write(&target, &file.data)?;
    if group.is_some() || file.owner.is_some() {
        chown(&target, file.owner, group)?;
    }
    fs::set_permissions(&target, Permissions::from_mode(file.mode & 0o777))
}

/// The names that the container sees are links through `..data`.
fn link_names(folder: &Path, payload: &Payload) -> io::Result<()> {
    let wanted: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in wanted {
        let link = folder.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { data: text.into(), mode: 0o644, owner: None }
    }

    fn payload(files: &[(&str, &str)]) -> Payload {
        files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    fn visible(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| !name.starts_with(".."))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_everything_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let first = payload(&[("a", "1"), ("sub/b", "2")]);
        assert!(write(folder, &first, None).expect("written"));
        assert!(!write(folder, &first, None).expect("looked at"), "the same again is no change");
        assert_eq!(visible(folder), ["a", "sub"]);

        let held = fs::canonicalize(folder.join(DATA)).expect("a folder");
        assert!(write(folder, &payload(&[("a", "9"), ("c", "3")]), None).expect("written"));
        assert_eq!(visible(folder), ["a", "c"]);
        assert_eq!(fs::read_to_string(folder.join("a")).expect("a file"), "9");
        assert!(!held.exists(), "the old version is gone");
    }

    #[test]
    fn stays_inside() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in ["../x", "/etc/x", "a/../../x", "", "..x"] {
            let error = write(folder.path(), &payload(&[(path, "1")]), None).expect_err(path);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn keeps_modes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = payload(&[("key", "s")]);
        files.get_mut("key").expect("there").mode = 0o400;
        write(folder.path(), &files, None).expect("written");
        let mode = fs::metadata(folder.path().join("key")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
    }
}
