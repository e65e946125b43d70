//! SHA-256 of files, and files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::error::{ImageError, on_file};

/// Lower-case hex of the digest of `bytes`.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Length and hex digest of a file.
pub(crate) fn of_file(path: &Path) -> Result<(u64, String), ImageError> {
    let mut hasher = Sha256::new();
    let length = feed(&mut hasher, path)?;
    Ok((length, hex::encode(hasher.finalize())))
}

/// Feeds a whole file into `hasher`; its length.
pub(crate) fn feed(hasher: &mut Sha256, path: &Path) -> Result<u64, ImageError> {
    let mut file = File::open(path).map_err(on_file("open", path))?;
    let mut buffer = vec![0; 256 * 1024];
    let mut length = 0;
    loop {
        let read = file.read(&mut buffer).map_err(on_file("read", path))?;
        if read == 0 {
            return Ok(length);
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}

/// Writes `content` beside `path`, makes it durable and renames it into place.
pub(crate) fn write_whole(path: &Path, mode: u32, content: &[u8]) -> Result<(), ImageError> {
    // Threads of one process may write the same file, too.
    static NTH: AtomicU64 = AtomicU64::new(0);
    let nth = NTH.fetch_add(1, Ordering::Relaxed);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}-{nth}.new", std::process::id()));
    let beside = Path::new(&beside);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(beside)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
    let placed = written
        .map_err(on_file("write", path))
        .and_then(|()| fs::rename(beside, path).map_err(on_file("replace", path)));
    if placed.is_err() {
        drop(fs::remove_file(beside));
    }
    placed
}
