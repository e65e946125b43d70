//! The store: the only truth of a cluster. It knows keys, bytes and revisions, and no kinds.
//!
//! ```text
//! commit ──> writer thread ──> backend (one fsync for all that wait) ──> index + ring ──> watches
//! ```
//!
//! One global [`Revision`] orders everything. The newest state lives in an in-memory index of
//! immutable bytes; the changes that led to it live in one ring, bounded in bytes, which every
//! watch reads with a cursor and from which the past is read. What fell out of the ring is
//! compacted: asking for it fails with [`StoreError::Compacted`], it never costs memory.
//!
//! Read in this order: [`Store`], `writer` (how a write is decided and made durable), `index`
//! (lists and publishing), `watch`, `backend`.

mod ages;
mod backend;
mod error;
mod index;
mod ring;
mod store;
mod types;
mod watch;
mod writer;

pub use backend::embedded::embedded_on;
pub use backend::{Backend, Batch, Change, Loaded, Marks};
pub use error::{BackendError, StoreError, WatchError};
pub use store::{Config, Storage, Store};
pub use types::{
    Durability, Entry, Event, EventKind, Expect, ListOptions, Op, Page, Previous, Revision, Write,
};
pub use watch::Watch;
