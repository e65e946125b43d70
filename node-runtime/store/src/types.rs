//! What goes into the store and what comes out: revisions, entries, writes, events, pages.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

/// A point in the one order of all changes. Grows by at least one with each change, also over
/// restarts; zero is before the first change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The newest (or, in a list of the past, the then newest) value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The full key.
    pub key: Arc<str>,
    /// The bytes as they were put.
    pub value: Bytes,
    /// The revision that brought the key into being (again, after a delete).
    pub created: Revision,
    /// The revision of this value: what compare-and-swap compares.
    pub modified: Revision,
}

/// One requested change.
#[derive(Clone, Debug)]
pub struct Write {
    /// The full key.
    pub key: Arc<str>,
    /// What must hold for the key at that moment.
    pub expect: Expect,
    /// What to do.
    pub op: Op,
    /// Whether it must survive a restart.
    pub durability: Durability,
}

impl Write {
    /// Puts `value` if the key does not exist; durable.
    pub fn create(key: impl Into<Arc<str>>, value: Bytes) -> Self {
        Self {
            key: key.into(),
            expect: Expect::Absent,
            op: Op::Put(value),
            durability: Durability::Durable,
        }
    }

    /// Puts `value` if the key is as `expect` says; durable.
    pub fn put(key: impl Into<Arc<str>>, expect: Expect, value: Bytes) -> Self {
        Self { key: key.into(), expect, op: Op::Put(value), durability: Durability::Durable }
    }

    /// Deletes the key if it is as `expect` says; durable.
    pub fn delete(key: impl Into<Arc<str>>, expect: Expect) -> Self {
        Self { key: key.into(), expect, op: Op::Delete, durability: Durability::Durable }
    }

    /// The same write, but in memory only: for leases and events.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.durability = Durability::Volatile;
        self
    }
}

/// The condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No condition. A delete of an absent key then changes nothing and succeeds.
    Any,
    /// The key does not exist.
    Absent,
    /// The key exists, at whatever revision.
    Present,
    /// The key exists and was last modified at this revision.
    At(Revision),
}

/// The action of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets the value.
    Put(Bytes),
    /// Removes the key.
    Delete,
}

/// Whether a write is on disk when it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged only when it is on disk.
    Durable,
    /// Never on disk, gone after a restart. A volatile write to a key that was put durably is
    /// made durable, so that disk and memory never disagree about a key.
    Volatile,
}

/// One change, as every watch of a matching prefix sees it. Shared, never copied.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// The revision of the change; no two events have the same.
    pub revision: Revision,
    /// The full key.
    pub key: Arc<str>,
    /// Put or delete.
    pub kind: EventKind,
    /// The revision that brought the key into being.
    pub created: Revision,
    /// The new value; empty for a delete.
    pub value: Bytes,
    /// What the key held before; `None` if this change created it.
    pub previous: Option<Previous>,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Created or changed.
    Put,
    /// Removed; the last value is in [`Event::previous`].
    Delete,
}

/// What a key held before a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// The bytes.
    pub value: Bytes,
    /// Their revision.
    pub modified: Revision,
}

/// Which part of a prefix a list returns. The default is everything, now.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// The state at exactly this revision instead of now.
    pub at: Option<Revision>,
    /// Only keys after this one.
    pub start_after: Option<String>,
    /// At most this many entries.
    pub limit: Option<usize>,
}

/// A consistent list: every entry as it was at `revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// The revision the list shows; the next page asks for it with [`ListOptions::at`].
    pub revision: Revision,
    /// Whether the limit cut the list short.
    pub more: bool,
    /// How many entries follow the last one of this page.
    pub remaining: usize,
}
