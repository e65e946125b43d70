//! What can go wrong on the way into a guest.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why a guest could not be reached, or a command not be run in it.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// Nothing answers at the guest's SSH port.
    #[error("{machine} does not answer SSH at {address} within {} s{}", waited.as_secs(), tail(.console))]
    Unreachable {
        /// The machine.
        machine: String,
        /// Where it was tried.
        address: SocketAddr,
        /// How long.
        waited: Duration,
        /// The end of the machine's console, where the caller knows it.
        console: String,
        /// The last attempt's error.
        source: io::Error,
    },
    /// The guest shows another host key than the one we gave it.
    #[error("the SSH server at {address} is not {machine}: it shows another host key ({shown})")]
    WrongHostKey {
        /// The machine that was expected.
        machine: String,
        /// Where.
        address: SocketAddr,
        /// Fingerprint of the key it showed.
        shown: String,
    },
    /// The guest does not accept our key.
    #[error("{machine} does not accept the key {key}")]
    Refused {
        /// The machine.
        machine: String,
        /// File of the private key.
        key: PathBuf,
        /// What the protocol library said.
        source: ssh2::Error,
    },
    /// The connection broke, or a command was silent for too long.
    #[error("the SSH connection to {machine} failed while {doing}")]
    Broken {
        /// The machine.
        machine: String,
        /// What was being done, to be read after "while".
        doing: String,
        /// What the protocol library or the system said.
        source: io::Error,
    },
    /// A file that was copied into the guest is not there as it should be.
    #[error("{path} in {machine} was not written: {reason}")]
    NotWritten {
        /// The machine.
        machine: String,
        /// The file in the guest.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// A key file is not one.
    #[error("{what} is not an OpenSSH Ed25519 key")]
    BadKey {
        /// Which.
        what: String,
    },
}

fn tail(console: &str) -> String {
    let console = console.trim_end();
    if console.is_empty() { String::new() } else { format!("; its console ends with\n{console}\n") }
}
