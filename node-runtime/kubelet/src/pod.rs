//! The life of one pod on the node. One task, the [`worker`], owns it and goes from state to state:
//!
//! ```text
//!            volumes made            sandbox up
//! Preparing ─────────────▶ Sandboxing ─────────▶ Running
//!     │                     │    ▲  sandbox lost   │ │
//!     │                     │    └─────────────────┘ │
//!     │ deleted, too old    │ nothing left to run    │ all ended, deleted, too old
//!     └──────────┬──────────┴────────────────────────┘
//!                ▼           ended by itself
//!           Terminating ─────────────────────▶ Finished
//!                │ deleted                        │ deleted
//!                └──────────────┬─────────────────┘
//!                               ▼  object gone
//!                            Removing ─────────▶ Gone
//! ```
//!
//! Each state is a file; the edges out of it are listed at its end, and no other compiles.

mod admit;
pub(crate) mod container;
mod exits;
mod finished;
mod gone;
mod hook;
pub(crate) mod inventory;
pub(crate) mod mailbox;
mod message;
pub(crate) mod plan;
mod preparing;
mod removing;
mod resize;
mod running;
mod sandboxing;
mod start;
mod step;
mod stop;
mod terminating;
pub(crate) mod worker;
