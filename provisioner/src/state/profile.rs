//! One profile on the host: its folder and the cluster it stands for.

use std::path::{Path, PathBuf};

use minik_driver::{BootFiles, MachineSpec};
use minik_spec::{ClusterSpec, NodeSpec, ProfileName};

use super::{Folders, make_private_folder, read_optional, remove_tree, write_private};
use crate::error::{ProvisionError, Result};

/// The folder of one profile and the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileFolder {
    path: PathBuf,
}

impl ProfileFolder {
    pub(super) fn new(path: PathBuf) -> ProfileFolder {
        ProfileFolder { path }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The profile's file.
    pub fn file(&self) -> PathBuf {
        self.path.join("profile.json")
    }

    /// Certificate authorities, keys and client certificates.
    pub fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    /// SSH keys.
    pub fn ssh(&self) -> PathBuf {
        self.path.join("ssh")
    }

    /// The private key `minik ssh` logs in with.
    pub fn ssh_key(&self) -> PathBuf {
        self.ssh().join("id_ed25519")
    }

    /// The private host key of one machine, which we made and therefore know.
    pub fn host_key(&self, machine: &str) -> PathBuf {
        self.ssh().join(format!("{machine}-host_ed25519"))
    }

    /// The known-hosts file for the system's `ssh`.
    pub fn known_hosts(&self) -> PathBuf {
        self.ssh().join("known_hosts")
    }

    /// Client certificates for Docker, in the names Docker's own client expects.
    pub fn docker(&self) -> PathBuf {
        self.path.join("docker")
    }

    /// The folder of one machine, which is its driver's.
    pub fn machine(&self, machine: &str) -> PathBuf {
        self.path.join("machines").join(machine)
    }

    /// The seed image of one machine. Beside the machine's folder, because it is ours.
    pub fn seed(&self, machine: &str) -> PathBuf {
        self.path.join("seeds").join(format!("{machine}.img"))
    }
}

/// A profile: what it stands for and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The cluster.
    pub spec: ClusterSpec,
    /// Its folder.
    pub folder: ProfileFolder,
    folders: Folders,
}

impl Profile {
    /// A profile that may not be on disk yet; see [`Profile::save`].
    pub fn new(folders: &Folders, spec: ClusterSpec) -> Profile {
        let folder = folders.profile(&spec.profile);
        Profile { spec, folder, folders: folders.clone() }
    }

    /// Reads a profile; none when there is no such file.
    pub fn find(folders: &Folders, name: &ProfileName) -> Result<Option<Profile>> {
        let folder = folders.profile(name);
        let Some(text) = read_optional(&folder.file())? else { return Ok(None) };
        let spec = minik_spec::from_text(&text)?;
        Ok(Some(Profile { spec, folder, folders: folders.clone() }))
    }

    /// Reads a profile that must be there.
    pub fn open(folders: &Folders, name: &ProfileName) -> Result<Profile> {
        Profile::find(folders, name)?
            .ok_or_else(|| ProvisionError::ProfileNotFound { name: name.to_string() })
    }

    /// Name of the cluster.
    pub fn name(&self) -> &ProfileName {
        &self.spec.profile
    }

    /// The folders this profile is in.
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Writes the profile's file; false when it says just that already.
    pub fn save(&self) -> Result<bool> {
        make_private_folder(self.folder.path())?;
        write_private(&self.folder.file(), minik_spec::to_text(&self.spec)?.as_bytes())
    }

    /// The node of that name, in its long or short form; the control plane when none is named.
    pub fn node(&self, name: Option<&str>) -> Result<&NodeSpec> {
        self.spec.node(name).ok_or_else(|| ProvisionError::NodeNotFound {
            profile: self.name().to_string(),
            name: name.unwrap_or_default().to_owned(),
            known: self.spec.nodes.iter().map(|node| node.name.clone()).collect(),
        })
    }

    /// What the driver is told about a machine that is there already; none before its first start.
    /// Without image files: only `create` and `start` read them, and those come from a start.
    pub fn machine(&self, node: &NodeSpec) -> Option<MachineSpec> {
        let none = PathBuf::new;
        let image = BootFiles {
            vmlinux: none(),
            vmlinuz: none(),
            initrd: none(),
            root: none(),
            docker: None,
            cmdline: Vec::new(),
        };
        self.machine_with(node, image)
    }

    pub(crate) fn machine_with(&self, node: &NodeSpec, image: BootFiles) -> Option<MachineSpec> {
        Some(MachineSpec {
            profile: self.name().to_string(),
            name: node.name.clone(),
            cpus: self.spec.cpus,
            memory_mib: self.spec.memory_mib,
            disk_mib: self.spec.disk_mib,
            dir: self.folder.machine(&node.name),
            run_dir: self.folders.machine_run(self.name(), &node.name),
            image,
            seed: self.folder.seed(&node.name),
            network: node.network.clone()?,
        })
    }

    /// Removes the profile's folder.
    pub(crate) fn remove(&self) -> Result<()> {
        remove_tree(self.folder.path())
    }
}
