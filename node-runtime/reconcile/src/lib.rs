//! minik-reconcile: what everything that reacts to the API is made of.
//!
//! ```text
//! API --watch--> Cache<K> --on_change--> WorkQueue --run--> reconcile --Change--> API
//! ```
//!
//! [`Caches`] holds one watched copy of each kind for all who ask. A component hangs a closure on a
//! [`Cache`] that puts keys into its [`WorkQueue`], and [`run`] calls its reconcile function with
//! them, each key by one worker at a time. Nothing here polls: caches are pushed by watches, the
//! queue is woken by additions and by its own timers.

pub mod amounts;
mod cache;
mod change;
mod key;
pub mod labels;
pub mod nodes;
mod queue;
mod run;

pub use crate::cache::{Cache, Cached, Caches, Changes, NotSynced, Seen, Selection};
pub use crate::change::{Change, ChangeError, apply_each, slow_start};
pub use crate::key::{KeyOf, ObjectKey};
pub use crate::queue::WorkQueue;
pub use crate::run::{ReconcileError, Requeue, run};
