//! The newest state of every key, and how a batch of changes becomes visible.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use bytes::Bytes;

use crate::ages::Ages;
use crate::error::StoreError;
use crate::ring::Ring;
use crate::store::Config;
use crate::types::{Entry, Event, EventKind, ListOptions, Page, Revision};
use crate::watch::{Group, Groups};

/// What readers, watches and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    index: RwLock<Index>,
    /// The index's revision, readable without the lock. Set after the events up to it are in the
    /// logs of all watched prefixes.
    pub(crate) visible: AtomicU64,
}

/// The newest value of a key.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) value: Bytes,
    pub(crate) created: Revision,
    pub(crate) modified: Revision,
    pub(crate) durable: bool,
}

#[derive(Debug)]
pub(crate) struct Index {
    heads: BTreeMap<Arc<str>, Head>,
    ring: Ring,
    pub(crate) groups: Groups,
    revision: Revision,
    ages: Ages,
    closed: bool,
}

/// A decided change on its way into the index.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) event: Arc<Event>,
    pub(crate) durable: bool,
}

impl Shared {
    pub(crate) fn new(index: Index) -> Self {
        let visible = AtomicU64::new(index.revision.0);
        Self { index: RwLock::new(index), visible }
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().expect("no holder of the index panics")
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().expect("no holder of the index panics")
    }

    /// Makes a batch visible, all of it at once, and wakes the watches it concerns.
    pub(crate) fn publish(&self, batch: Vec<Staged>) {
        let mut index = self.index_mut();
        let mut woken: Vec<Arc<Group>> = Vec::new();
        for staged in batch {
            index.apply(staged, &mut woken);
        }
        index.evict();
        let revision = index.revision;
        index.ages.mark(Instant::now(), revision);
        self.visible.store(index.revision.0, Ordering::Release);
        drop(index);
        woken.iter().for_each(|group| group.wake());
    }
}

impl Index {
    pub(crate) fn new(heads: Vec<(Arc<str>, Head)>, revision: Revision, config: &Config) -> Self {
        Self {
            heads: heads.into_iter().collect(),
            ring: Ring::new(revision, config.ring_bytes_max, config.ring_events_min),
            ages: Ages::new(config.list_age_max),
            groups: Groups::default(),
            revision,
            closed: false,
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn oldest(&self) -> Revision {
        self.ring.compacted()
    }

    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(crate) fn count(&self, prefix: &str, most: usize) -> usize {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.heads.range::<str, _>(from).map(|(key, _)| key);
        keys.take_while(|key| key.starts_with(prefix)).take(most).count()
    }

    pub(crate) fn count_groups(
        &self,
        group: impl Fn(&str) -> Option<&str>,
    ) -> Vec<(String, usize)> {
        let mut counts: Vec<(String, usize)> = Vec::new();
        for name in self.heads.keys().filter_map(|key| group(key)) {
            match counts.last_mut() {
                Some((last, count)) if last == name => *count += 1,
                _ => counts.push((name.to_owned(), 1)),
            }
        }
        counts
    }

    pub(crate) fn head(&self, key: &str) -> Option<&Head> {
        self.heads.get(key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        self.heads.get_key_value(key).map(|(key, head)| entry(key, head))
    }

    /// The group that watches `prefix`, made from the ring if it is the first watch of it.
    pub(crate) fn group(
        &mut self,
        prefix: &str,
        after: Revision,
    ) -> Result<Arc<Group>, StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        self.check(after)?;
        if let Some(group) = self.groups.get(prefix) {
            return Ok(Arc::clone(group));
        }
        let events = self.ring.after(self.ring.compacted());
        let matching = events.filter(|event| event.key.starts_with(prefix)).cloned().collect();
        let group = Arc::new(Group::new(prefix, matching));
        self.groups.insert(Arc::clone(&group));
        Ok(group)
    }

    /// Ends all watches.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.groups.all().for_each(|group| group.close());
    }

    pub(crate) fn list(&self, prefix: &str, options: &ListOptions) -> Result<Page, StoreError> {
        let at = options.at.unwrap_or(self.revision);
        self.check(at)?;
        let oldest = self.ages.oldest(Instant::now());
        if at < oldest {
            return Err(StoreError::Compacted { asked: at, oldest });
        }
        let start = match options.start_after.as_deref() {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let past = if at == self.revision { BTreeMap::new() } else { self.ring.undo(prefix, at) };
        let unchanged = self
            .heads
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| past.is_empty() || !past.contains_key(*key))
            .map(|(key, head)| Item::Now(key, head));
        let undone = past
            .range::<str, _>((start, Bound::Unbounded))
            .filter_map(|(_, then)| then.as_ref().map(Item::Then));
        Ok(page(Merge::new(unchanged, undone), at, options.limit))
    }

    /// Whether the past or the present knows `revision`.
    fn check(&self, revision: Revision) -> Result<(), StoreError> {
        if revision > self.revision {
            return Err(StoreError::Future { asked: revision, current: self.revision });
        }
        if revision < self.ring.compacted() {
            return Err(StoreError::Compacted { asked: revision, oldest: self.ring.compacted() });
        }
        Ok(())
    }

    fn apply(&mut self, staged: Staged, woken: &mut Vec<Arc<Group>>) {
        let Staged { event, durable } = staged;
        self.revision = event.revision;
        match event.kind {
            EventKind::Put => {
                let head = Head {
                    value: event.value.clone(),
                    created: event.created,
                    modified: event.revision,
                    durable,
                };
                self.heads.insert(Arc::clone(&event.key), head);
            }
            EventKind::Delete => {
                self.heads.remove(&event.key);
            }
        }
        self.groups.matching(&event.key, |group| {
            group.push(&event);
            if !woken.iter().any(|known| Arc::ptr_eq(known, group)) {
                woken.push(Arc::clone(group));
            }
        });
        self.ring.push(event);
    }

    fn evict(&mut self) {
        while let Some(event) = self.ring.evict() {
            self.groups.matching(&event.key, |group| group.evict(&event));
        }
    }
}

fn entry(key: &Arc<str>, head: &Head) -> Entry {
    Entry {
        key: Arc::clone(key),
        value: head.value.clone(),
        created: head.created,
        modified: head.modified,
    }
}

/// An entry of a list, not yet copied out.
enum Item<'a> {
    Now(&'a Arc<str>, &'a Head),
    Then(&'a Entry),
}

impl Item<'_> {
    fn key(&self) -> &str {
        match self {
            Self::Now(key, _) => key,
            Self::Then(entry) => &entry.key,
        }
    }

    fn to_entry(&self) -> Entry {
        match self {
            Self::Now(key, head) => entry(key, head),
            Self::Then(entry) => (*entry).clone(),
        }
    }
}

/// Two ordered lists of items with different keys, as one ordered list.
struct Merge<A: Iterator, B: Iterator> {
    a: std::iter::Peekable<A>,
    b: std::iter::Peekable<B>,
}

impl<'a, A: Iterator<Item = Item<'a>>, B: Iterator<Item = Item<'a>>> Merge<A, B> {
    fn new(a: A, b: B) -> Self {
        Self { a: a.peekable(), b: b.peekable() }
    }
}

impl<'a, A: Iterator<Item = Item<'a>>, B: Iterator<Item = Item<'a>>> Iterator for Merge<A, B> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let Some(b) = self.b.peek() else { return self.a.next() };
        match self.a.peek() {
            Some(a) if a.key() < b.key() => self.a.next(),
            _ => self.b.next(),
        }
    }
}

fn page<'a>(mut items: impl Iterator<Item = Item<'a>>, at: Revision, limit: Option<usize>) -> Page {
    let limit = limit.unwrap_or(usize::MAX);
    let entries: Vec<Entry> = items.by_ref().take(limit).map(|item| item.to_entry()).collect();
    let remaining = items.count();
    Page { entries, revision: at, more: remaining > 0, remaining }
}
