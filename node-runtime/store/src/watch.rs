//! Watches: a cursor per watcher into a log per watched prefix.
//!
//! All watchers of one prefix share one log of the ring's matching events, so a change wakes only
//! those it concerns, a watcher reads only what concerns it, and one that has nothing to read can
//! never be called slow. The log holds references into the ring and loses them with it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::error::{StoreError, WatchError};
use crate::index::Shared;
use crate::types::{Event, Revision};

/// The shared log of one watched prefix.
#[derive(Debug)]
pub(crate) struct Group {
    prefix: Box<str>,
    log: Mutex<Log>,
    changed: Notify,
    /// How many watches read this log. Changed only under the index's write lock.
    watchers: AtomicUsize,
}

#[derive(Debug)]
struct Log {
    events: VecDeque<Arc<Event>>,
    /// The newest matching event that fell out of the ring.
    lost: Revision,
    closed: bool,
}

impl Group {
    pub(crate) fn new(prefix: &str, events: VecDeque<Arc<Event>>) -> Self {
        let log = Log { events, lost: Revision::default(), closed: false };
        Self {
            prefix: prefix.into(),
            log: Mutex::new(log),
            changed: Notify::new(),
            watchers: AtomicUsize::new(0),
        }
    }

    pub(crate) fn push(&self, event: &Arc<Event>) {
        self.log().events.push_back(Arc::clone(event));
    }

    /// Forgets an event that fell out of the ring.
    pub(crate) fn evict(&self, event: &Event) {
        let mut log = self.log();
        let gone = log.events.pop_front();
        debug_assert!(gone.is_some_and(|gone| gone.revision == event.revision));
        log.lost = event.revision;
    }

    pub(crate) fn close(&self) {
        self.log().closed = true;
        self.changed.notify_waiters();
    }

    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no holder of the log panics")
    }
}

/// The watched prefixes.
#[derive(Debug, Default)]
pub(crate) struct Groups(BTreeMap<Box<str>, Arc<Group>>);

impl Groups {
    pub(crate) fn get(&self, prefix: &str) -> Option<&Arc<Group>> {
        self.0.get(prefix)
    }

    pub(crate) fn insert(&mut self, group: Arc<Group>) {
        self.0.insert(group.prefix.clone(), group);
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.0.values()
    }

    /// Calls `each` for every watched prefix of `key`, longest first, without looking at others.
    pub(crate) fn matching(&self, key: &str, mut each: impl FnMut(&Arc<Group>)) {
        let mut upper = Bound::Included(key);
        while let Some((prefix, group)) =
            self.0.range::<str, _>((Bound::Unbounded, upper)).next_back()
        {
            if key.starts_with(&**prefix) {
                each(group);
                upper = Bound::Excluded(&key[..prefix.len()]);
            } else {
                // Whatever is a prefix of the key and sorts before this one is no longer than
                // what the two have in common.
                upper = Bound::Included(common_start(key, prefix));
            }
        }
    }

    /// Takes one watch off the group and forgets the group with its last one.
    fn release(&mut self, group: &Group) {
        if group.watchers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.remove(&group.prefix);
        }
    }
}

fn common_start<'a>(key: &'a str, other: &str) -> &'a str {
    let same = key.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let end = (0..=same).rev().find(|end| key.is_char_boundary(*end)).unwrap_or(0);
    &key[..end]
}

/// Events of one prefix after a revision, in order, none left out. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    group: Arc<Group>,
    seen: Revision,
}

impl Watch {
    /// A watch of everything under `prefix` after a revision.
    pub(crate) fn open(
        shared: &Arc<Shared>,
        prefix: &str,
        after: Revision,
    ) -> Result<Self, StoreError> {
        let mut index = shared.index_mut();
        let group = index.group(prefix, after)?;
        group.watchers.fetch_add(1, Ordering::Relaxed);
        drop(index);
        Ok(Self { shared: Arc::clone(shared), group, seen: after })
    }

    /// The next event; waits for it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WatchError`] when the watch cannot go on; every later call says the same.
    pub async fn next(&mut self) -> Result<Arc<Event>, WatchError> {
        loop {
            let group = Arc::clone(&self.group);
            // Made before looking, so a change between looking and waiting is not missed.
            let changed = group.changed.notified();
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            changed.await;
        }
    }

    /// The next event if there is one now.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, WatchError> {
        Ok(self.read(1)?.pop())
    }

    /// Waits for an event and returns it with up to `max - 1` that are there already.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Arc<Event>>, WatchError> {
        loop {
            let group = Arc::clone(&self.group);
            let changed = group.changed.notified();
            let batch = self.read(max.max(1))?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            changed.await;
        }
    }

    /// The revision up to which this watcher has seen everything: what a bookmark may say. It
    /// moves on with changes to other prefixes.
    #[must_use]
    pub fn progress(&self) -> Revision {
        // Read before looking into the log: all that happened up to here is in the log.
        let visible = Revision(self.shared.visible.load(Ordering::Acquire));
        let log = self.group.log();
        let unread =
            log.lost > self.seen || log.events.back().is_some_and(|e| e.revision > self.seen);
        if unread { self.seen } else { self.seen.max(visible) }
    }

    fn read(&mut self, max: usize) -> Result<Vec<Arc<Event>>, WatchError> {
        let log = self.group.log();
        if log.lost > self.seen {
            return Err(WatchError::Compacted { seen: self.seen, lost: log.lost });
        }
        let from = log.events.partition_point(|event| event.revision <= self.seen);
        let batch: Vec<_> = log.events.range(from..).take(max).cloned().collect();
        match batch.last() {
            Some(last) => self.seen = last.revision,
            None if log.closed => return Err(WatchError::Closed),
            None => {}
        }
        Ok(batch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.index_mut().groups.release(&self.group);
    }
}
