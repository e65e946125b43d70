//! The ring: the latest changes in the order of their revisions, bounded in bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::types::{Entry, Event, EventKind, Revision};

/// What an event costs beside its key and values: the struct, its reference counts, its places
/// in the ring and in the logs of watched prefixes.
const EVENT_OVERHEAD_BYTES: usize = 192;

#[derive(Debug)]
pub(crate) struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    bytes_max: usize,
    events_min: usize,
    /// The newest change that is not in the ring any more: history starts here.
    compacted: Revision,
}

impl Ring {
    pub(crate) fn new(start: Revision, bytes_max: usize, events_min: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, bytes_max, events_min, compacted: start }
    }

    /// The oldest revision that can still be listed or watched from.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(crate) fn push(&mut self, event: Arc<Event>) {
        debug_assert!(self.events.back().is_none_or(|last| last.revision < event.revision));
        self.bytes += cost(&event);
        self.events.push_back(event);
    }

    /// Takes out the oldest event if the ring is over its limit.
    pub(crate) fn evict(&mut self) -> Option<Arc<Event>> {
        if self.bytes <= self.bytes_max || self.events.len() <= self.events_min {
            return None;
        }
        let oldest = self.events.pop_front()?;
        self.bytes -= cost(&oldest);
        self.compacted = oldest.revision;
        Some(oldest)
    }

    /// The events after a revision, oldest first.
    pub(crate) fn after(&self, revision: Revision) -> impl Iterator<Item = &Arc<Event>> {
        let from = self.events.partition_point(|event| event.revision <= revision);
        self.events.range(from..)
    }

    /// What the keys under `prefix` that changed after `at` held at `at`; `None`: did not exist.
    pub(crate) fn undo(&self, prefix: &str, at: Revision) -> BTreeMap<Arc<str>, Option<Entry>> {
        let mut past = BTreeMap::new();
        for event in self.after(at).filter(|event| event.key.starts_with(prefix)) {
            // The first change after `at` knows what was there at `at`.
            past.entry(Arc::clone(&event.key)).or_insert_with(|| before(event));
        }
        past
    }
}

/// The entry that an event replaced or removed.
fn before(event: &Event) -> Option<Entry> {
    let previous = event.previous.as_ref()?;
    debug_assert!(event.kind == EventKind::Delete || event.created <= previous.modified);
    Some(Entry {
        key: Arc::clone(&event.key),
        value: previous.value.clone(),
        created: event.created,
        modified: previous.modified,
    })
}

/// Bytes an event may keep alive. The previous value counts too: it may be held by nobody else.
fn cost(event: &Event) -> usize {
    let previous = event.previous.as_ref().map_or(0, |previous| previous.value.len());
    EVENT_OVERHEAD_BYTES + event.key.len() + event.value.len() + previous
}
