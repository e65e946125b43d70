//! Turns what the user asked for into a running cluster, and keeps it so.
//!
//! Start reading at `phases`: the ordered list of what `start` does. Each phase may be run again after
//! a kill at any point and changes only what is not as it should be.

pub mod error;
pub mod report;
pub mod shell;
pub mod state;

pub use error::{ProvisionError, Result};
