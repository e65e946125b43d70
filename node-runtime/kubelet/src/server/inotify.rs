//! Waits until something in a folder changes.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// A watched folder.
pub(super) struct Changes {
    fd: AsyncFd<OwnedFd>,
}

impl Changes {
    /// Watches the files in a folder from now on.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let what = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF;
        inotify::add_watch(&fd, folder, what)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an owned descriptor is always valid"
        )]
        let fd = AsyncFd::new(fd)?;
        Ok(Self { fd })
    }

    /// Returns when there was a change since the last call.
    pub(super) async fn next(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        loop {
            let mut ready = self.fd.readable().await?;
            // What changed does not matter: whoever waits looks himself.
            let result = ready.try_io(|fd| {
                let mut reader = inotify::Reader::new(fd.get_ref(), &mut buffer);
                reader.next().map(|_| ()).map_err(io::Error::from)
            });
            if let Ok(result) = result {
                return result;
            }
        }
    }
}
