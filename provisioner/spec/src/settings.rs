//! One file per setting: its type, how it is written, and the cases that prove it.

mod container_runtime;
mod cpus;
mod disk;
mod duration;
mod extra_config;
mod kubernetes_version;
mod memory;
mod names;
mod network_wish;
mod profile_name;
mod ranges;
mod size;
mod wait;

pub use container_runtime::ContainerRuntime;
pub use cpus::Cpus;
pub use disk::DiskSize;
pub use duration::HumanDuration;
pub(crate) use extra_config::APISERVER;
pub use extra_config::ExtraConfig;
pub(crate) use kubernetes_version::check_version;
pub use memory::{Memory, default_memory_mib};
pub(crate) use names::{check_domain, check_name, parse_address};
pub use network_wish::NetworkWish;
pub use profile_name::ProfileName;
pub(crate) use ranges::{check_ranges, nth, parse_range};
pub use wait::WaitFor;
