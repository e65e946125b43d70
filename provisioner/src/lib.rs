//! Turns what the user asked for into a running cluster, and keeps it so.
//!
//! Start reading at [`phases`]: the ordered list of what `start` does. Each phase may be run again after
//! a kill at any point and changes only what is not as it should be. The other verbs are in files of
//! their names; [`Tools`] is what all of them work with.

pub mod access;
mod certificates;
mod delete;
pub mod docker;
pub mod error;
mod guest_images;
pub mod images;
pub mod kubeconfig;
mod node_binary;
mod nodes;
mod phase;
pub mod phases;
pub mod report;
mod seed;
pub mod shell;
mod start;
pub mod state;
pub mod status;
mod stop;
#[cfg(test)]
mod testing;
mod tools;
mod work;

pub use access::Access;
pub use delete::{Deleted, delete};
pub use error::{ProvisionError, Result};
pub use guest_images::GuestImages;
pub use kubeconfig::{KubeconfigFiles, update_context};
pub use node_binary::{Bundle, NodeBinary};
pub use nodes::{add_node, delete_node};
pub use start::{StartOptions, Started, start};
pub use stop::{StoppedMachine, stop};
pub use tools::{GuestImage, Images, Tools};
