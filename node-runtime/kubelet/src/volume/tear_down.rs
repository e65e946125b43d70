//! Removes a pod's volumes and files from the node.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount as kernel_unmount};

use crate::spec::names;

/// Unmounts and removes everything of the pod. Can be called again.
pub(crate) fn tear_down(root: &Path, uid: &str) -> io::Result<()> {
    let folder = names::pod_directory(root, uid);
    if !folder.exists() {
        return Ok(());
    }
    for mount in mounts_below(&folder)? {
        unmount(&mount);
    }
    fs::remove_dir_all(&folder)
}

/// Detaches whatever is mounted at the path; nothing mounted there is fine.
pub(super) fn unmount(path: &Path) {
    let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    while kernel_unmount(path, flags).is_ok() {}
}

/// Mount points below a folder, deepest first: removal must never reach into one.
fn mounts_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let mut mounts: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(unescape(path)))
        .filter(|path| path.starts_with(folder))
        .collect();
    mounts.sort();
    mounts.reverse();
    Ok(mounts)
}

/// The mount table writes space, tab, newline and backslash as `\040` and so on.
fn unescape(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, code) {
            (b'\\', Some(code)) => {
                bytes.push(code);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_escapes() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape(r"/plain\"), r"/plain\");
    }
}
