//! minik-testkit: a whole control plane in one process, for tests.
//!
//! [`Cluster`] is store, API server, controllers and scheduler, wired as in a node. [`HollowNode`]
//! stands in for a machine: it registers, keeps its lease, and plays the pods that are put on it.
//! [`ScriptedNode`] has the real kubelet, on a runtime that follows a script. Waiting is done by watching, with a deadline, and a wait that fails prints what it saw last.

mod cluster;
mod hollow;
mod objects;
mod scripted;
mod wait;

pub use crate::cluster::{Cluster, StartError};
pub use crate::hollow::{HollowNode, Play};
pub use crate::objects::{deployment, service, yaml_like};
pub use crate::scripted::ScriptedNode;
pub use crate::wait::{DEADLINE, gone, until, until_list};
