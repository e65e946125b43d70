//! One lock per profile, which says who holds it. The kernel frees it when its holder dies.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use minik_spec::ProfileName;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Folders, make_private_folder};
use crate::error::{ProvisionError, Result};

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// What it was called as.
    pub command: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} (`{}`) since {}", self.pid, self.command, self.since)
    }
}

/// The right to change a profile; given back when dropped.
#[derive(Debug)]
pub struct ProfileLock {
    _file: File,
}

impl ProfileLock {
    /// Takes the profile's lock, waiting at most `patience`; `waiting` is told once whom it waits for.
    pub fn take(
        folders: &Folders,
        profile: &ProfileName,
        patience: Duration,
        waiting: &dyn Fn(Option<&Holder>),
    ) -> Result<ProfileLock> {
        let path = folders.lock(profile);
        if let Some(folder) = path.parent() {
            make_private_folder(folder)?;
        }
        let failed = || ProvisionError::state("lock", &path);
        let mut file = open(&path).map_err(failed())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(err)) => return Err(failed()(err)),
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(&mut file);
                let busy = |holder| ProvisionError::Busy {
                    profile: profile.to_string(),
                    holder,
                    waited: patience,
                };
                if patience.is_zero() {
                    return Err(busy(holder));
                }
                waiting(holder.as_ref());
                match lock_within(file, patience) {
                    Some(locked) => file = locked.map_err(failed())?,
                    None => return Err(busy(holder)),
                }
            }
        }
        write_holder(&mut file, &this_process()).map_err(failed())?;
        Ok(ProfileLock { _file: file })
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Waits in a thread, because a blocked lock call knows no deadline. After the deadline the thread
/// stays until the lock is free, then closes the file at once; the process does not wait for it.
fn lock_within(file: File, patience: Duration) -> Option<std::io::Result<File>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let locked = file.lock().map(|()| file);
        // Nobody listens any more after the deadline; the file is dropped and with it the lock.
        let _ = sender.send(locked);
    });
    receiver.recv_timeout(patience).ok()
}

fn this_process() -> Holder {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let command = std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ");
    let since = OffsetDateTime::now_utc().replace_nanosecond(0).ok();
    let since = since.and_then(|since| since.format(&Rfc3339).ok()).unwrap_or_default();
    Holder { pid: std::process::id(), command, since }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_holder(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    let text = serde_json::to_string(holder)?;
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::below(dir.path());
        let dev: ProfileName = "dev".parse().unwrap();
        let quiet = |_: Option<&Holder>| {};
        let first = ProfileLock::take(&folders, &dev, Duration::ZERO, &quiet).unwrap();
        let Err(ProvisionError::Busy { holder: Some(holder), .. }) =
            ProfileLock::take(&folders, &dev, Duration::ZERO, &quiet)
        else {
            panic!("two hold the lock");
        };
        assert_eq!(holder.pid, std::process::id());

        let other: ProfileName = "other".parse().unwrap();
        ProfileLock::take(&folders, &other, Duration::ZERO, &quiet).unwrap();

        drop(first);
        ProfileLock::take(&folders, &dev, Duration::ZERO, &quiet).unwrap();
    }

    #[test]
    fn waiting_ends_when_the_holder_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::below(dir.path());
        let dev: ProfileName = "dev".parse().unwrap();
        let first = ProfileLock::take(&folders, &dev, Duration::ZERO, &|_| {}).unwrap();
        let held = std::sync::Mutex::new(Some(first));
        // The holder lets go exactly when the second one says that it waits.
        let let_go = |holder: Option<&Holder>| {
            assert_eq!(holder.unwrap().pid, std::process::id());
            held.lock().unwrap().take();
        };
        ProfileLock::take(&folders, &dev, Duration::from_secs(60), &let_go).unwrap();
    }
}
