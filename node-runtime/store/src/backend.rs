//! The durable side of the store, behind a trait: the embedded engine, memory, later etcd.

use crate::error::BackendError;
use crate::types::Revision;

pub(crate) mod embedded;
pub(crate) mod memory;

/// Where durable writes go. One thread owns it and calls it; it need not be fast at reading,
/// since everything is read once, at the start.
pub trait Backend: Send {
    /// Opens what is there and hands over every entry, in any order.
    ///
    /// # Errors
    /// The file cannot be opened or understood.
    fn load(&mut self, each: &mut dyn FnMut(Loaded<'_>)) -> Result<Marks, BackendError>;

    /// Makes a batch durable, all of it or nothing. When it returns the batch is on disk.
    ///
    /// # Errors
    /// The batch may or may not be on disk; [`Backend::reopen`] tells.
    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), BackendError>;

    /// After a failed commit: opens again and says what is really on disk.
    ///
    /// # Errors
    /// It still fails.
    fn reopen(&mut self) -> Result<Marks, BackendError>;
}

/// Revisions that survive a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The revision of the last durable batch.
    pub committed: Revision,
    /// No revision above this one was ever given out. Reserved in blocks, so that volatile writes
    /// need no disk and revisions still never go backwards.
    pub reserved: Revision,
}

/// An entry as it was found on disk.
#[derive(Clone, Copy, Debug)]
pub struct Loaded<'a> {
    /// The full key.
    pub key: &'a str,
    /// The revision that brought the key into being.
    pub created: Revision,
    /// The revision of the value.
    pub modified: Revision,
    /// The bytes.
    pub value: &'a [u8],
}

/// What one durable transaction writes.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// In the order of their revisions; a key may occur more than once, the last one counts.
    pub changes: Vec<Change<'a>>,
    /// The marks that hold with this batch.
    pub marks: Marks,
}

/// One change of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The key has this value now.
    Put(Loaded<'a>),
    /// The key is gone.
    Delete {
        /// The full key.
        key: &'a str,
    },
}
