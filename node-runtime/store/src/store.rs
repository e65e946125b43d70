//! The store as its users see it: open, read, write, watch.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::backend::embedded::Embedded;
use crate::backend::memory::Memory;
use crate::backend::{Backend, Loaded};
use crate::error::{BackendError, StoreError};
use crate::index::{Head, Index, Shared};
use crate::types::{Entry, ListOptions, Page, Revision, Write};
use crate::watch::Watch;
use crate::writer::{Message, REQUESTS_MAX, Request, Writer};

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where durable writes go.
    pub storage: Storage,
    /// Memory for history: how far back lists and watches can begin, and how far a watcher may
    /// fall behind. In bytes of keys, values and bookkeeping.
    pub ring_bytes_max: usize,
    /// Changes that are kept even if they are larger than `ring_bytes_max` together.
    pub ring_events_min: usize,
    /// The largest value, in bytes.
    pub value_bytes_max: usize,
    /// How long after a revision was replaced it can still be listed: readers of pages who come
    /// later begin anew.
    pub list_age_max: Duration,
}

/// Where durable writes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Nowhere: gone with the process.
    Memory,
    /// Into a file in this folder, which is made if it is not there.
    Folder(PathBuf),
}

impl Config {
    /// The usual limits: 16 MiB of history, at least 64 changes, values up to 3 MiB, lists of the
    /// last five minutes, as upstream keeps them.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self {
            storage,
            ring_bytes_max: 16 << 20,
            ring_events_min: 64,
            value_bytes_max: 3 << 20,
            list_age_max: Duration::from_secs(300),
        }
    }
}

/// An open store. Clones are the same store; it closes when the last one is gone.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Message>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Store {
    /// Opens a store and reads all of it into memory. Blocks while reading.
    ///
    /// # Errors
    /// The file cannot be opened: locked by another process, of another format, damaged.
    pub fn open(config: &Config) -> Result<Self, StoreError> {
        let backend: Box<dyn Backend> = match &config.storage {
            Storage::Memory => Box::new(Memory::default()),
            Storage::Folder(folder) => Box::new(Embedded::open(folder)?),
        };
        Self::with_backend(config, backend)
    }

    /// Opens a store on a backend made elsewhere; `config.storage` is not looked at.
    ///
    /// # Errors
    /// The backend cannot be read, or the writer thread cannot be started.
    pub fn with_backend(
        config: &Config,
        mut backend: Box<dyn Backend>,
    ) -> Result<Self, StoreError> {
        let mut heads = Vec::new();
        let marks = backend.load(&mut |loaded| heads.push((loaded.key.into(), head(&loaded))))?;
        // Volatile revisions may have been given out up to the reserve: go on above them.
        let start = marks.committed.max(marks.reserved);
        let index = Index::new(heads, start, config);
        let shared = Arc::new(Shared::new(index));
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let writer = Writer {
            shared: Arc::clone(&shared),
            backend,
            requests: receiver,
            value_bytes_max: config.value_bytes_max,
            reserved: marks.reserved,
            unsettled: None,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|source| BackendError::Thread { source })?;
        Ok(Self { shared, requests, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.shared.visible.load(Ordering::Acquire))
    }

    /// The oldest revision that can be listed or watched from.
    #[must_use]
    pub fn oldest(&self) -> Revision {
        self.shared.index().oldest()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.index().len()
    }

    /// How many keys start with `prefix`; counting ends at `most`.
    #[must_use]
    pub fn count(&self, prefix: &str, most: usize) -> usize {
        self.shared.index().count(prefix, most)
    }

    /// How many keys there are in each group of neighbours: `group` says which a key is in.
    #[must_use]
    pub fn count_groups(&self, group: impl Fn(&str) -> Option<&str>) -> Vec<(String, usize)> {
        self.shared.index().count_groups(group)
    }

    /// Whether writes are still taken: it was not closed and its writer did not fail.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest value of a key. Sees every write that was acknowledged.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.shared.index().get(key)
    }

    /// The newest value of a key, and the revision at which that was so.
    #[must_use]
    pub fn get_with_revision(&self, key: &str) -> (Option<Entry>, Revision) {
        let index = self.shared.index();
        (index.get(key), index.revision())
    }

    /// The entries whose keys start with `prefix`, all as of one revision, in the order of keys.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] or [`StoreError::Future`] if `options.at` cannot be shown.
    pub fn list(&self, prefix: &str, options: &ListOptions) -> Result<Page, StoreError> {
        self.shared.index().list(prefix, options)
    }

    /// Does one write; returns its revision. A delete of an absent key that expects nothing
    /// returns the newest revision.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the key is not as expected; nothing has changed then.
    pub async fn commit(&self, write: Write) -> Result<Revision, StoreError> {
        let revisions = self.transact(vec![write]).await?;
        revisions.last().copied().ok_or(StoreError::Closed)
    }

    /// Does all writes or none of them, in order, and shows them to readers at once. Each has a
    /// revision of its own, returned in the same order. A later write sees what earlier ones did.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for the first key that is not as expected.
    pub async fn transact(&self, writes: Vec<Write>) -> Result<Vec<Revision>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let request = Message::Write(Request { writes, answer });
        self.requests.send(request).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Every change to keys that start with `prefix` after a revision.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if changes after it are not known any more,
    /// [`StoreError::Future`] if it has not happened.
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        Watch::open(&self.shared, prefix, after)
    }

    /// Closes the store: waits until all requested writes are done and the file is closed. Later
    /// writes of other clones fail with [`StoreError::Closed`], and all watches end.
    pub async fn close(self) {
        // If the writer is gone already there is nothing left to close.
        let _ = self.requests.send(Message::Close).await;
        let thread = self.thread.lock().expect("no holder of the thread panics").take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn head(loaded: &Loaded<'_>) -> Head {
    Head {
        value: Bytes::copy_from_slice(loaded.value),
        created: loaded.created,
        modified: loaded.modified,
        durable: true,
    }
}
