//! What can go wrong, as facts; the API server turns them into a Status.

use std::path::PathBuf;
use std::sync::Arc;

use crate::types::{Expect, Revision};

/// Why the store refused a read or a write. A refused write changed nothing, unless the reason is
/// [`StoreError::Backend`]: then it may appear later, once the disk works again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The key was not as the write expected.
    #[error("key {key} is at {found:?}, expected {expected:?}")]
    Conflict {
        /// The key whose condition failed, the first of the transaction.
        key: Arc<str>,
        /// The condition.
        expected: Expect,
        /// The revision the key has; `None` if it does not exist.
        found: Option<Revision>,
    },
    /// The revision fell out of the ring.
    #[error("revision {asked} is compacted, the oldest known is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest revision that can be listed or watched from.
        oldest: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {asked} has not happened, the newest is {current}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// The value is larger than the store takes.
    #[error("the value of {key} has {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// The key of the value.
        key: Arc<str>,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The durable side failed.
    #[error("the store could not be read or written")]
    Backend(#[source] Arc<BackendError>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl From<BackendError> for StoreError {
    fn from(error: BackendError) -> Self {
        Self::Backend(Arc::new(error))
    }
}

/// Why the durable side failed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Another process has the file open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a version with another layout.
    #[error("{path} has format {found}, this program reads {supported}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: u64,
        /// The format this program knows.
        supported: u64,
    },
    /// A file operation failed.
    #[error("could not {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The embedded engine failed.
    #[error("could not {doing} {path}")]
    Engine {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<redb::Error>,
    },
    /// The embedded engine came upon pages that cannot be: something else than it wrote the file.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The writer thread could not be started.
    #[error("could not start the writer thread")]
    Thread {
        /// The reason.
        source: std::io::Error,
    },
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The watcher read too slowly: changes it has not seen fell out of the ring. It must list
    /// and watch again.
    #[error("the watch is at revision {seen}, changes up to {lost} are compacted")]
    Compacted {
        /// The last revision the watcher has seen.
        seen: Revision,
        /// The newest matching change that is lost.
        lost: Revision,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
