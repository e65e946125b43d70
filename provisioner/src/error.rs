//! Why a cluster could not be made, changed or asked. Facts only: advice and exit codes are the CLI's.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use minik_config::ConfigError;
use minik_driver::{CidrRefused, DriverError, ResourceRefused};
use minik_image::ImageError;
use minik_pki::PkiError;
use minik_spec::SpecError;

use crate::shell::SshError;
use crate::state::Holder;

/// What this crate returns.
pub type Result<T> = std::result::Result<T, ProvisionError>;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// There is no place for state: neither `MINIK_HOME` nor a home directory.
    #[error("this user has no home directory, and MINIK_HOME is not set")]
    NoHome,
    /// A folder that must be this user's alone is not.
    #[error("{path} {reason}")]
    UnsafeFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, to be read after the path.
        reason: &'static str,
    },
    /// A state file or folder cannot be read or written.
    #[error("cannot {action} {path}")]
    State {
        /// What was tried: `read`, `write`, `remove`, `lock`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another minik works on the same profile.
    #[error("profile `{profile}` is in use{}", held(.holder.as_ref()))]
    Busy {
        /// The profile.
        profile: String,
        /// Who holds it, if that could be read.
        holder: Option<Holder>,
        /// How long was waited.
        waited: Duration,
    },
    /// There is no such profile.
    #[error("there is no cluster named `{name}`")]
    ProfileNotFound {
        /// The name.
        name: String,
    },
    /// The cluster has no such node.
    #[error("cluster `{profile}` has no node `{name}`, only {}", .known.join(", "))]
    NodeNotFound {
        /// The cluster.
        profile: String,
        /// The name.
        name: String,
        /// The nodes it has.
        known: Vec<String>,
    },
    /// The control plane's node cannot be taken away without the cluster.
    #[error("node `{name}` runs the control plane of cluster `{profile}`")]
    IsControlPlane {
        /// The cluster.
        profile: String,
        /// The node.
        name: String,
    },
    /// A machine that must run does not.
    #[error("machine `{machine}` is {state}")]
    NotRunning {
        /// The machine.
        machine: String,
        /// What it is instead.
        state: minik_driver::MachineState,
    },
    /// The request, or the profile's file.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The machines.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The host-only network.
    #[error(transparent)]
    Cidr(#[from] CidrRefused),
    /// CPUs, memory or disk.
    #[error(transparent)]
    Resources(#[from] ResourceRefused),
    /// The guest image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Keys, certificates, kubeconfig documents.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The node file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The way into the guest.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// A kubeconfig file is not understood; it was not changed.
    #[error("{path} is not understood")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: PkiError,
    },
    /// The program that runs in the guest was not found.
    #[error("`minik-node` was not found; looked at {}", paths(.tried))]
    NodeBinaryMissing {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// A command in the guest failed.
    #[error("`{command}` in {machine} exited with {exit}{}", tail(.stderr))]
    Guest {
        /// The machine.
        machine: String,
        /// The command.
        command: String,
        /// Its exit code.
        exit: i32,
        /// The end of what it said on stderr.
        stderr: String,
    },
    /// The guest sits behind an address but shows another machine's host key or name.
    #[error("{machine} says it is `{found}`")]
    WrongGuest {
        /// The machine that was expected.
        machine: String,
        /// What the guest says it is.
        found: String,
    },
    /// Something in the guest did not become ready in time, or failed on the way there.
    #[error("the {what} of {machine} is not ready after {} s{}{}", waited.as_secs(), because(.reasons), tail(.journal))]
    NotReady {
        /// What was waited for: `API server`, `node`.
        what: &'static str,
        /// The machine.
        machine: String,
        /// How long was waited.
        waited: Duration,
        /// What the node says is missing.
        reasons: Vec<String>,
        /// The end of the node service's journal.
        journal: String,
    },
    /// An answer of the guest was not understood.
    #[error("{machine} answered `{command}` with something unexpected: {answer}")]
    Answer {
        /// The machine.
        machine: String,
        /// The command.
        command: String,
        /// What it said, shortened.
        answer: String,
    },
    /// An archive with container images cannot be used.
    #[error("{path} is not an image archive: {reason}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A machine has no such container image.
    #[error("{machine} has no image `{image}`")]
    ImageNotFound {
        /// The machine.
        machine: String,
        /// The image, as it was asked for.
        image: String,
    },
    /// The guest image has no Docker layer.
    #[error("the guest image of `{profile}` has no Docker Engine")]
    NoDocker {
        /// The cluster.
        profile: String,
    },
    /// What was being done when another error came.
    #[error("while {doing}{}", on(.machine.as_ref()))]
    During {
        /// Stable id of the phase, as in the list of phases.
        phase: &'static str,
        /// What was being done, to be read after "while".
        doing: String,
        /// On which machine, when the cluster has several.
        machine: Option<String>,
        /// What went wrong.
        source: Box<ProvisionError>,
    },
}

impl ProvisionError {
    /// What went wrong itself, without what was being done around it.
    pub fn root(&self) -> &ProvisionError {
        match self {
            ProvisionError::During { source, .. } => source.root(),
            other => other,
        }
    }

    pub(crate) fn state(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> ProvisionError {
        let path = path.into();
        move |source| ProvisionError::State { action, path, source }
    }
}

fn held(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |holder| format!(": {holder}"))
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn tail(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() { String::new() } else { format!(":\n{text}") }
}

fn because(reasons: &[String]) -> String {
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}

fn on(machine: Option<&String>) -> String {
    machine.map_or_else(String::new, |machine| format!(" on {machine}"))
}
