//! The verbs every driver has. All of them may be run again after a crash at any point and
//! converge: `start` of a running machine and `delete` of a missing one succeed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{DriverError, Result};
use crate::machine::{GuestFacts, MachineSpec, MachineState};
use crate::network::NetworkMode;

/// Makes and runs machines on one kind of hypervisor.
///
/// A driver holds no state between calls: what it must remember is in files below
/// [`MachineSpec::dir`], so any process may issue the next verb. Callers hold the profile's lock.
pub trait Driver: Send + Sync {
    /// The name given to `--driver`.
    fn name(&self) -> &'static str;

    /// Finds out whether this host can run machines with this driver, and how fast.
    ///
    /// # Errors
    /// What is missing, for example [`DriverError::ToolMissing`].
    fn probe(&self) -> Result<Probe>;

    /// Chooses how machines are reached, and says why. `wanted` is the user's choice, if any.
    ///
    /// # Errors
    /// [`DriverError::NetworkForbidden`] when the wanted mode needs rights this user lacks.
    fn choose_network(&self, wanted: Option<NetworkMode>) -> Result<NetworkChoice>;

    /// Makes the machine's disks and state. Does not start it.
    ///
    /// # Errors
    /// Facts about disks, tools and files; what was half made is completed by the next call.
    fn create(&self, spec: &MachineSpec) -> Result<Created>;

    /// Starts the machine (creating it when needed) and returns when the hypervisor runs it. The
    /// guest is still booting then: see [`Driver::wait_ready`].
    ///
    /// # Errors
    /// Why the hypervisor did not start, with the end of its log.
    fn start(&self, spec: &MachineSpec) -> Result<Started>;

    /// Waits until the guest says that it is ready, and returns what it said.
    ///
    /// # Errors
    /// [`DriverError::NotReady`] or [`DriverError::Died`], both with the end of the console.
    fn wait_ready(&self, spec: &MachineSpec, deadline: Duration) -> Result<GuestFacts>;

    /// Asks the guest to power off and waits; when `deadline` has passed, ends it by force.
    ///
    /// # Errors
    /// Only when the machine could not be ended at all.
    fn stop(&self, spec: &MachineSpec, deadline: Duration) -> Result<Stopped>;

    /// Ends the machine at once, as pulling the plug would.
    ///
    /// # Errors
    /// Only when the machine could not be ended at all.
    fn kill(&self, spec: &MachineSpec) -> Result<Stopped>;

    /// Ends the machine and removes everything made for it: process, network devices, files.
    /// The last machine of a profile takes the profile's bridge along.
    ///
    /// # Errors
    /// What could not be removed.
    fn delete(&self, spec: &MachineSpec) -> Result<()>;

    /// What the machine is doing now.
    ///
    /// # Errors
    /// Only when the machine's state file cannot be read.
    fn state(&self, spec: &MachineSpec) -> Result<MachineState>;

    /// Where a program on this host reaches `guest_port` (TCP) of the machine. In
    /// [`NetworkMode::Tap`] that is the machine's own address; in [`NetworkMode::User`] a loopback
    /// forward, made when it is first asked for and kept over restarts.
    ///
    /// # Errors
    /// [`DriverError::NotRunning`], or why no forward could be made.
    fn endpoint(&self, spec: &MachineSpec, guest_port: u16) -> Result<SocketAddr>;

    /// The planned host-only address: what certificates carry and `minik ip` prints.
    fn address(&self, spec: &MachineSpec) -> IpAddr {
        IpAddr::V4(spec.network.address)
    }

    /// The file the guest's console is written to, for advice and bug reports.
    fn console(&self, spec: &MachineSpec) -> PathBuf {
        spec.dir.join("console.log")
    }
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor itself, through Linux' KVM.
    Kvm,
    /// The processor itself, through the hypervisor of another system.
    Native,
    /// Emulation in software: always works, 10 to 30 times slower.
    Emulation,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Native => "native",
            Self::Emulation => "emulation",
        })
    }
}

/// What [`Driver::probe`] found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The accelerator machines will run with.
    pub accelerator: Accelerator,
    /// The hypervisor's version as it says it.
    pub version: String,
    /// One line each, for every start: what is slower or weaker than it could be.
    pub warnings: Vec<String>,
    /// Why this accelerator: what was tried and what happened. For `-v` and `doctor`.
    pub reason: String,
}

/// How machines will be reached, and why so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkChoice {
    /// The chosen mode.
    pub mode: NetworkMode,
    /// One sentence for the user.
    pub reason: String,
}

/// Whether [`Driver::create`] made something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// Disks and state were made.
    New,
    /// All of it was there already.
    AlreadyThere,
}

/// What [`Driver::start`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// What runs the guest.
    pub accelerator: Accelerator,
    /// The machine was running before the call; nothing was changed.
    pub already_running: bool,
    /// What was cleaned up first, for example the record of a process that a host crash ended.
    pub recovered: Option<String>,
    /// One line each, for the user: what is different for this machine than before. What is true of
    /// all of them is in [`Probe::warnings`].
    pub warnings: Vec<String>,
}

/// How a machine came to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was not running.
    Already,
    /// The guest powered off when asked.
    Gracefully,
    /// It was ended by force.
    Killed,
}

/// A driver whose hypervisor can be recognised but not used in this version. Its `probe` is given;
/// every other verb returns [`DriverError::NotAvailable`].
pub trait UnavailableDriver: Send + Sync {
    /// The name given to `--driver`.
    const NAME: &'static str;
    /// What a user can do instead, as a fact: "machines run with the qemu driver".
    const INSTEAD: &'static str;
    /// Looks for the hypervisor.
    ///
    /// # Errors
    /// What is missing.
    fn look(&self) -> Result<Probe>;
}

impl<T: UnavailableDriver> Driver for T {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn probe(&self) -> Result<Probe> {
        self.look()
    }
    fn choose_network(&self, _: Option<NetworkMode>) -> Result<NetworkChoice> {
        Err(not_available::<T>("networks"))
    }
    fn create(&self, _: &MachineSpec) -> Result<Created> {
        Err(not_available::<T>("create"))
    }
    fn start(&self, _: &MachineSpec) -> Result<Started> {
        Err(not_available::<T>("start"))
    }
    fn wait_ready(&self, _: &MachineSpec, _: Duration) -> Result<GuestFacts> {
        Err(not_available::<T>("start"))
    }
    fn stop(&self, _: &MachineSpec, _: Duration) -> Result<Stopped> {
        Err(not_available::<T>("stop"))
    }
    fn kill(&self, _: &MachineSpec) -> Result<Stopped> {
        Err(not_available::<T>("kill"))
    }
    fn delete(&self, _: &MachineSpec) -> Result<()> {
        Err(not_available::<T>("delete"))
    }
    fn state(&self, _: &MachineSpec) -> Result<MachineState> {
        Err(not_available::<T>("state"))
    }
    fn endpoint(&self, _: &MachineSpec, _: u16) -> Result<SocketAddr> {
        Err(not_available::<T>("endpoints"))
    }
}

fn not_available<T: UnavailableDriver>(verb: &'static str) -> DriverError {
    DriverError::NotAvailable { driver: T::NAME, verb, instead: T::INSTEAD }
}
