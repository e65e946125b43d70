//! minik-scheduler: chooses the node each pod runs on.
//!
//! `cycle` decides about one pod from a `cluster` kept up to date by caches: `filter` says
//! which nodes can take it, `score` which is best, `preempt` who would have to leave. All that
//! is pure. `queue` orders the pods that wait and `scheduler` is the one loop that takes them,
//! decides, and writes the answer.

mod cluster;
mod cycle;
mod filter;
mod preempt;
mod queue;
mod scheduler;
mod score;
mod volumes;

pub use crate::scheduler::run;
