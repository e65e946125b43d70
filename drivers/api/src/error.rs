//! Why a driver could not do what it was asked. Facts only: advice and exit codes are the CLI's.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::driver::Accelerator;
use crate::machine::MachineState;
use crate::network::CidrRefused;
use crate::resources::ResourceRefused;

/// What drivers return.
pub type Result<T> = std::result::Result<T, DriverError>;

/// Why a driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A program the driver needs is not there.
    #[error("`{tool}` was not found{}", places(.looked_in))]
    ToolMissing {
        /// The program's name.
        tool: String,
        /// Places that were tried besides PATH.
        looked_in: Vec<PathBuf>,
    },

    /// A program ran and failed.
    #[error("`{command}` failed{}: {output}", exit_text(*.exit))]
    ToolFailed {
        /// Program and arguments, as one would type them.
        command: String,
        /// Its exit code; `None` when a signal ended it.
        exit: Option<i32>,
        /// The end of what it said on stderr.
        output: String,
    },

    /// A program did not end in time and was killed.
    #[error("`{command}` did not end within {waited:?}")]
    ToolTimedOut {
        /// Program and arguments.
        command: String,
        /// How long it was given.
        waited: Duration,
        /// What it had said on stderr until then.
        output: String,
    },

    /// A program's answer was not understood.
    #[error("`{tool}` answered something unexpected: {answer}")]
    ToolAnswer {
        /// The program's name.
        tool: String,
        /// What it said, shortened.
        answer: String,
    },

    /// A device exists but this user may not open it.
    #[error("{device} cannot be opened by this user")]
    DeviceForbidden {
        /// The device file.
        device: PathBuf,
        /// The group that may, when it is not root's own.
        group: Option<String>,
        /// The system's answer.
        source: io::Error,
    },

    /// The user asked for an accelerator that does not work here.
    #[error("{wanted} cannot be used: {reason}")]
    AcceleratorRefused {
        /// What was asked for.
        wanted: Accelerator,
        /// What was tried and what happened.
        reason: String,
    },

    /// The hypervisor is older than what the guest needs.
    #[error("QEMU {version} is too old, {needs} or later is needed")]
    EmulatorTooOld {
        /// What was found.
        version: String,
        /// The first version that works.
        needs: String,
    },

    /// This QEMU's emulation crashes the guest's kernel with several CPUs.
    #[error(
        "the emulation of QEMU {version} crashes the guest with {cpus} CPUs; with several CPUs it takes QEMU {needs} or later"
    )]
    EmulatorUnsound {
        /// What was found.
        version: String,
        /// What was asked for.
        cpus: u32,
        /// The first version whose emulation is sound.
        needs: String,
    },

    /// The wanted network mode needs rights this user does not have.
    #[error("the network mode `{mode}` cannot be used: {reason}")]
    NetworkForbidden {
        /// What was asked for.
        mode: crate::network::NetworkMode,
        /// What is missing.
        reason: String,
    },

    /// The address plan was refused.
    #[error(transparent)]
    Cidr(#[from] CidrRefused),

    /// CPUs, memory or disk asked for cannot be had.
    #[error(transparent)]
    Resources(#[from] ResourceRefused),

    /// The guest did not say that it is ready.
    #[error("machine `{machine}` did not become ready within {waited:?}{}", tail(.console_tail))]
    NotReady {
        /// The machine's name.
        machine: String,
        /// How long was waited.
        waited: Duration,
        /// The console's file.
        console: PathBuf,
        /// The last lines of the console.
        console_tail: String,
    },

    /// The hypervisor ended while it was waited for.
    #[error("machine `{machine}` ended unexpectedly{}", tail(.console_tail))]
    Died {
        /// The machine's name.
        machine: String,
        /// The console's file.
        console: PathBuf,
        /// The last lines of the console, or of the hypervisor's log when the console is empty.
        console_tail: String,
    },

    /// The machine is not running, but the request needs it to.
    #[error("machine `{machine}` is {state}")]
    NotRunning {
        /// The machine's name.
        machine: String,
        /// What it is instead.
        state: MachineState,
    },

    /// The machine could not be ended, not even by force.
    #[error("process {pid} of machine `{machine}` does not end")]
    WillNotDie {
        /// The machine's name.
        machine: String,
        /// The hypervisor's process.
        pid: u32,
    },

    /// The hypervisor's monitor did not answer as expected.
    #[error("the monitor of machine `{machine}` refused `{command}`: {reason}")]
    Monitor {
        /// The machine's name.
        machine: String,
        /// The monitor command.
        command: String,
        /// What went wrong.
        reason: String,
    },

    /// The agent in the guest did not answer as expected.
    #[error("the agent of machine `{machine}` did not do `{request}`: {reason}")]
    Agent {
        /// The machine's name.
        machine: String,
        /// What it was asked.
        request: String,
        /// What went wrong.
        reason: String,
    },

    /// No forward to a port of the guest could be opened on the host.
    #[error(
        "{address} cannot be listened on for port {guest_port} of machine `{machine}`: {reason}"
    )]
    PortTaken {
        /// The machine's name.
        machine: String,
        /// The address on the host.
        address: SocketAddr,
        /// The guest's port.
        guest_port: u16,
        /// The system's answer.
        reason: String,
    },

    /// A disk or the folder of a state file has no room left.
    #[error("no space is left for {path}")]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },

    /// Another process has the disk open for writing.
    #[error("the disk {path} is used by another process")]
    DiskBusy {
        /// The disk.
        path: PathBuf,
    },

    /// The host would not give the memory.
    #[error("the host did not give {memory_mib} MiB of memory to machine `{machine}`")]
    NoMemory {
        /// The machine's name.
        machine: String,
        /// What was asked for, in MiB.
        memory_mib: u64,
    },

    /// A file of the image or of the machine is not there.
    #[error("{what} {path} is missing")]
    FileMissing {
        /// What the file is for.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
    },

    /// A file or folder could not be read or written.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// The verb: "read", "write".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// A state file does not have the expected content.
    #[error("the state file {path} is damaged: {reason}")]
    StateDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A socket's path is longer than the system allows.
    #[error("the socket path {path} is {length} bytes long, at most {limit} are possible")]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// The system's limit in bytes.
        limit: usize,
    },

    /// The machine was made with something that cannot be changed any more.
    #[error(
        "machine `{machine}` was made with {what} {have}, not {want}: delete and start it again"
    )]
    Changed {
        /// The machine's name.
        machine: String,
        /// What differs.
        what: &'static str,
        /// What the machine has.
        have: String,
        /// What was asked for.
        want: String,
    },

    /// The driver is known but cannot run machines in this version.
    #[error("the {driver} driver is not available in this version ({verb}); {instead}")]
    NotAvailable {
        /// The driver's name.
        driver: &'static str,
        /// The verb that was asked for.
        verb: &'static str,
        /// What works instead.
        instead: &'static str,
    },
}

impl DriverError {
    /// Wraps the system's answer about a file; a full disk gets its own variant.
    pub fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned() }
            }
            _ => Self::Io { doing, path: path.to_owned(), source },
        }
    }
}

fn exit_text(exit: Option<i32>) -> String {
    match exit {
        Some(code) => format!(" with exit code {code}"),
        None => " by a signal".to_owned(),
    }
}

fn places(looked_in: &[PathBuf]) -> String {
    if looked_in.is_empty() {
        return " on PATH".to_owned();
    }
    let places: Vec<_> = looked_in.iter().map(|place| place.display().to_string()).collect();
    format!(" on PATH nor in {}", places.join(", "))
}

fn tail(text: &str) -> String {
    match text.trim() {
        "" => "; its console is empty".to_owned(),
        text => format!("; the end of its console:\n{text}"),
    }
}
