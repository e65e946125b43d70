//! The ways to a running cluster: its addresses, a shell in its machines, its credentials.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use minik_driver::{MachineSpec, MachineState};
use minik_spec::NodeSpec;

use crate::error::{ProvisionError, Result};
use crate::phase::kubeconfig::api_url;
use crate::shell::{Shell, ssh_arguments};
use crate::state::Profile;
use crate::tools::Tools;
use crate::work::target;

/// How long a running machine may take to answer SSH.
const CONNECT: Duration = Duration::from_secs(60);

/// The ways to one cluster.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    tools: &'a Tools<'a>,
    profile: &'a Profile,
}

/// Files with which a program on this host speaks to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The cluster's authority.
    pub authority: PathBuf,
    /// The user's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl<'a> Access<'a> {
    /// The ways to the cluster of a profile.
    pub fn new(tools: &'a Tools<'a>, profile: &'a Profile) -> Access<'a> {
        Access { tools, profile }
    }

    /// What the machine is doing.
    ///
    /// # Errors
    /// The driver cannot say.
    pub fn state(&self, node: &NodeSpec) -> Result<MachineState> {
        match self.profile.machine(node) {
            Some(machine) => Ok(self.tools.driver.state(&machine)?),
            None => Ok(MachineState::Nonexistent),
        }
    }

    /// The machine's address: what `minik ip` prints.
    ///
    /// # Errors
    /// [`ProvisionError::NotRunning`] before the first start.
    pub fn address(&self, node: &NodeSpec) -> Result<IpAddr> {
        Ok(self.tools.driver.address(&self.planned(node)?))
    }

    /// Where the host reaches a TCP port of a running machine.
    ///
    /// # Errors
    /// [`ProvisionError::NotRunning`], or why there is no way.
    pub fn endpoint(&self, node: &NodeSpec, port: u16) -> Result<SocketAddr> {
        Ok(self.tools.driver.endpoint(&self.running(node)?, port)?)
    }

    /// URL of the API server.
    ///
    /// # Errors
    /// [`ProvisionError::NotRunning`], or why there is no way.
    pub fn api_url(&self) -> Result<String> {
        self.running(self.profile.spec.control_plane())?;
        api_url(self.tools, self.profile)
    }

    /// What a client of the API server shows and expects.
    pub fn credentials(&self) -> CredentialFiles {
        let folder = self.profile.folder.pki();
        CredentialFiles {
            authority: folder.join("ca.crt"),
            certificate: folder.join("admin.crt"),
            key: folder.join("admin.key"),
        }
    }

    /// A connection to a running machine.
    ///
    /// # Errors
    /// [`ProvisionError::NotRunning`], or why it cannot be reached.
    pub fn shell(&self, node: &NodeSpec) -> Result<Box<dyn Shell>> {
        let target = target(self.tools, self.profile, &self.running(node)?)?;
        Ok(self.tools.connect.connect(&target, CONNECT)?)
    }

    /// Arguments for the system's `ssh`: a shell without `command`, else that command.
    ///
    /// # Errors
    /// [`ProvisionError::NotRunning`], or why there is no way.
    pub fn ssh_arguments(&self, node: &NodeSpec, command: &[String]) -> Result<Vec<String>> {
        let target = target(self.tools, self.profile, &self.running(node)?)?;
        Ok(ssh_arguments(&target, &self.profile.folder.known_hosts(), command))
    }

    /// File of the key to log in with.
    pub fn ssh_key(&self) -> PathBuf {
        self.profile.folder.ssh_key()
    }

    /// The machine's SSH host key: `ssh-ed25519 AAAA… name`.
    ///
    /// # Errors
    /// The key's file cannot be read.
    pub fn ssh_host_key(&self, node: &NodeSpec) -> Result<String> {
        Ok(crate::phase::keys::host_key(self.profile, &node.name)?.public)
    }

    /// The machine's console, for advice and bug reports.
    ///
    /// # Errors
    /// [`ProvisionError::NotRunning`] before the first start.
    pub fn console(&self, node: &NodeSpec) -> Result<PathBuf> {
        Ok(self.tools.driver.console(&self.planned(node)?))
    }

    fn planned(&self, node: &NodeSpec) -> Result<MachineSpec> {
        self.profile.machine(node).ok_or_else(|| ProvisionError::NotRunning {
            machine: node.name.clone(),
            state: MachineState::Nonexistent,
        })
    }

    fn running(&self, node: &NodeSpec) -> Result<MachineSpec> {
        let machine = self.planned(node)?;
        match self.tools.driver.state(&machine)? {
            MachineState::Running => Ok(machine),
            state => Err(ProvisionError::NotRunning { machine: node.name.clone(), state }),
        }
    }
}
