//! What phases work on: the cluster as a whole, and one node of it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use minik_driver::MachineSpec;
use minik_spec::{Change, NodeSpec};

use crate::certificates::Authorities;
use crate::error::{ProvisionError, Result};
use crate::report::Outcome;
use crate::shell::{self, Output, Shell, Target, There, Upload, Wanted};
use crate::start::StartOptions;
use crate::state::Profile;
use crate::tools::{GuestImage, Tools};

/// The cluster while it is started. Cluster phases change it; node phases only read it.
pub(crate) struct Work<'a> {
    pub(crate) tools: &'a Tools<'a>,
    pub(crate) options: &'a StartOptions,
    pub(crate) profile: Profile,
    /// Whether the profile was there before.
    pub(crate) existed: bool,
    pub(crate) changes: &'a [Change],
    pub(crate) image: Option<GuestImage>,
    pub(crate) authorities: Option<Authorities>,
    /// What the kubeconfig phase found out.
    pub(crate) context_switched: bool,
    pub(crate) api_url: String,
    /// Digest of the node binary: the same for all nodes, and it takes a while.
    pub(crate) binary: OnceLock<Program>,
    /// When the phase that runs now must be over.
    pub(crate) deadline: Instant,
}

/// The program for the guest, digested.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) file: Upload,
    pub(crate) digest: String,
    pub(crate) length: u64,
}

/// One node while it is started.
pub(crate) struct NodeWork<'w, 'a> {
    pub(crate) work: &'w Work<'a>,
    pub(crate) node: &'w NodeSpec,
    pub(crate) machine: MachineSpec,
    pub(crate) shell: Option<Box<dyn Shell>>,
    /// What of ours is in the guest, as the phase `reach` saw it.
    pub(crate) there: There,
    /// Digests of what the running service must have been started with, in order.
    pub(crate) generation: Vec<String>,
    pub(crate) deadline: Instant,
}

impl<'a> Work<'a> {
    pub(crate) fn authorities(&self) -> &Authorities {
        self.authorities.as_ref().expect("the phase `keys` comes before")
    }

    pub(crate) fn node_work<'w>(&'w self, node: &'w NodeSpec) -> NodeWork<'w, 'a> {
        let files = self.image.as_ref().expect("the phase `image` comes before").files.clone();
        let machine =
            self.profile.machine_with(node, files).expect("the phase `host-checks` comes before");
        NodeWork {
            work: self,
            node,
            machine,
            shell: None,
            there: There::new(),
            generation: Vec::new(),
            deadline: self.deadline,
        }
    }
}

impl NodeWork<'_, '_> {
    /// What is left of the phase's time; at least a second, so that a late phase fails by its own error.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1))
    }

    pub(crate) fn shell(&mut self) -> &mut dyn Shell {
        &mut **self.shell.as_mut().expect("the phase `reach` comes before")
    }

    /// Runs a command that must succeed.
    pub(crate) fn run(&mut self, command: &str) -> Result<Output> {
        let (left, machine) = (self.left(), self.node.name.clone());
        run(self.shell(), &machine, command, left)
    }

    /// Brings files into the guest, and remembers them as part of what the service must run with.
    pub(crate) fn upload(&mut self, files: &[Upload]) -> Result<Outcome> {
        let mut wanted = Vec::new();
        for file in files {
            let path = std::path::Path::new(&file.path);
            wanted.push(Wanted::new(file).map_err(ProvisionError::state("read", path))?);
        }
        self.bring(wanted)
    }

    /// [`NodeWork::upload`] for files whose digests are known.
    pub(crate) fn bring(&mut self, wanted: Vec<Wanted<'_>>) -> Result<Outcome> {
        self.generation.extend(wanted.iter().map(|wanted| wanted.digest.clone()));
        let machine = self.node.name.clone();
        let there = std::mem::take(&mut self.there);
        let brought = shell::bring(self.shell(), &machine, wanted, &there);
        self.there = there;
        Ok(brought?)
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(
    shell: &mut dyn Shell,
    machine: &str,
    command: &str,
    patience: Duration,
) -> Result<Output> {
    let output = shell::exec(shell, command, patience)?;
    if output.exit == 0 {
        return Ok(output);
    }
    Err(ProvisionError::Guest {
        machine: machine.to_owned(),
        command: command.to_owned(),
        exit: output.exit,
        stderr: output.stderr,
    })
}

/// Where and how to log in to a machine.
pub(crate) fn target(
    tools: &Tools<'_>,
    profile: &Profile,
    machine: &MachineSpec,
) -> Result<Target> {
    let host_key = crate::phase::keys::host_key(profile, &machine.name)?;
    Ok(Target {
        machine: machine.name.clone(),
        address: tools.driver.endpoint(machine, 22)?,
        key: profile.folder.ssh_key(),
        host_key: host_key.public,
    })
}
