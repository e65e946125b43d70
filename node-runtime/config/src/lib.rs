//! The node file: what one node needs to know, written by the provisioner and read by `minik-node`.
//!
//! The file is `/etc/minik/node.yaml` in the guest (YAML, or JSON, which is YAML too). It says who the
//! node is and where things are; it holds no secret itself, only the folder in which the keys are.

mod error;
mod file;
mod sections;
mod validate;

pub use error::ConfigError;
pub use file::NODE_FILE;
pub use sections::{
    ApiServerSection, ClusterSection, Effect, NodeConfig, NodeSection, PathsSection, Role,
    RuntimeSection, Taint, VERSION,
};
