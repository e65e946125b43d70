//! What every machine driver has in common: the [`Driver`] trait, the facts it is given
//! ([`MachineSpec`]) and the facts it returns, the plan of the host-only network, and the [`Host`]
//! through which drivers touch the computer they run on.
//!
//! Reading order: `driver` (the verbs), `machine` (what they are told and what they answer),
//! `network` (who gets which address), `resources` (what may be asked for), then the tools:
//! `host`, `process`, `error`.

mod driver;
mod error;
mod hash;
mod host;
mod machine;
mod network;
mod process;
mod resources;

pub use driver::{
    Accelerator, Created, Driver, NetworkChoice, Probe, Started, Stopped, UnavailableDriver,
};
pub use error::{DriverError, Result};
pub use hash::stable_hash;
pub use host::{End, FileFacts, Host, RealHost, ScriptedHost, Tool, ToolOutput};
pub use machine::{BootFiles, Forward, GuestFacts, MachineSpec, MachineState};
pub use network::{
    CidrRefused, InUse, MacAddress, NAT_NETWORK, NetworkMode, NetworkPlan, NetworkRequest,
    bridge_name, networks_of_host, plan_network, tap_name,
};
pub use process::ProcessRecord;
pub use resources::{
    CPUS_MIN, DISK_MIN_MIB, HostResources, MEMORY_MIN_MIB, MEMORY_WANTED_MIB, ResourceRefused,
    ResourceRequest, ResourceWarning, check_resources,
};
