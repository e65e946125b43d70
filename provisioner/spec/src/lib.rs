//! What the user asked for: settings, the cluster they add up to, and the file that remembers it.
//!
//! Pure: no file, clock or program is touched here. A [`Request`] is what one command line said;
//! [`resolve`] makes a [`ClusterSpec`] of it, the defaults, and what the profile said before.

mod changes;
mod cluster;
mod error;
mod file;
mod network;
mod request;
pub mod settings;

pub use changes::{Change, Effect, changes};
pub use cluster::{
    API_SERVER_PORT, ApiServerSpec, ClusterSpec, ImageChoice, KUBERNETES_VERSION, NodeSpec,
    node_name,
};
pub use error::SpecError;
pub use file::{PROFILE_VERSION, from_text, to_text};
pub use network::plan_networks;
pub use request::{Request, Resolved, resolve};
pub use settings::{
    ContainerRuntime, Cpus, DiskSize, ExtraConfig, HumanDuration, Memory, NetworkWish, ProfileName,
    WaitFor,
};
