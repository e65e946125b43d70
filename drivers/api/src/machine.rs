//! What a driver is told about a machine, and what it answers.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::network::NetworkPlan;

/// Everything a driver needs to know to make and run one machine. Built anew for each command
/// from the profile; holds absolute paths and is therefore never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineSpec {
    /// The profile the machine belongs to.
    pub profile: String,
    /// The machine's name, unique in the profile: also hostname and node name.
    pub name: String,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Size of the data disk in MiB. The file grows with use.
    pub disk_mib: u64,
    /// The machine's own folder, made by the driver with mode 0700 and removed by `delete`.
    pub dir: PathBuf,
    /// The machine's own folder for sockets, short because socket paths end at 107 bytes; made by
    /// the driver with mode 0700 and removed by `delete`.
    pub run_dir: PathBuf,
    /// The verified files the guest boots from.
    pub image: BootFiles,
    /// The vfat image with the guest's identity (label CIDATA).
    pub seed: PathBuf,
    /// Addresses and how they are reached.
    pub network: NetworkPlan,
}

/// The files of a guest image, already verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFiles {
    /// Uncompressed kernel (PVH): nothing to decompress, for emulation.
    pub vmlinux: PathBuf,
    /// Compressed kernel, for hardware acceleration.
    pub vmlinuz: PathBuf,
    /// Initial RAM disk.
    pub initrd: PathBuf,
    /// Read-only root file system (erofs).
    pub root: PathBuf,
    /// Read-only layer with Docker Engine (erofs).
    pub docker: Option<PathBuf>,
    /// Kernel parameters the image needs, for example `quiet`. The driver adds the console.
    pub cmdline: Vec<String>,
}

/// What a machine is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineState {
    /// Nothing was made for it.
    Nonexistent,
    /// It has disks but no process.
    Stopped,
    /// The hypervisor runs it. Whether the guest is ready is [`crate::Driver::wait_ready`]'s.
    Running,
    /// The hypervisor holds it still on request.
    Paused,
    /// The hypervisor holds it still because something went wrong.
    Broken {
        /// What: "a disk write failed: no space is left on the host".
        reason: String,
    },
}

impl fmt::Display for MachineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nonexistent => f.write_str("not there"),
            Self::Stopped => f.write_str("stopped"),
            Self::Running => f.write_str("running"),
            Self::Paused => f.write_str("paused"),
            Self::Broken { reason } => write!(f, "halted: {reason}"),
        }
    }
}

/// What the guest's agent says about itself when it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestFacts {
    /// The guest's host name.
    pub hostname: String,
    /// Addresses of all its interfaces, each as `address/prefix length`.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Its SSH host key: `ssh-ed25519 AAAA…`.
    #[serde(default)]
    pub ssh_host_key: String,
    /// Changes with each boot.
    #[serde(default)]
    pub boot_id: String,
    /// Milliseconds from the kernel's start to this message.
    #[serde(default)]
    pub uptime_ms: u64,
    /// Its machine id, 32 hex digits.
    #[serde(default)]
    pub machine_id: String,
}

/// A TCP port of the guest that the host reaches on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forward {
    /// The port in the guest.
    pub guest_port: u16,
    /// Where the host reaches it. Always a loopback address.
    pub host: SocketAddr,
}
