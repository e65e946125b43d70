//! What every verb works with: the places, the driver, the ways in and out. Tests hand in scripts.

use std::time::Duration;

use minik_driver::{BootFiles, Driver, Host};
use minik_spec::{ImageChoice, ProfileName};

use crate::error::Result;
use crate::kubeconfig::KubeconfigFiles;
use crate::node_binary::NodeBinary;
use crate::report::Reporter;
use crate::shell::Connect;
use crate::state::{Folders, ProfileLock};

/// What verbs work with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// Where state is.
    pub folders: &'a Folders,
    /// Runs the machines.
    pub driver: &'a dyn Driver,
    /// The computer minik runs on.
    pub host: &'a dyn Host,
    /// Guest images.
    pub images: &'a dyn Images,
    /// The way into guests.
    pub connect: &'a dyn Connect,
    /// Hears what is going on.
    pub reporter: &'a dyn Reporter,
    /// The user's kubeconfig.
    pub kubeconfig: &'a KubeconfigFiles,
    /// The program for the guest.
    pub node_binary: &'a NodeBinary,
    /// How long to wait while another minik works on the profile.
    pub lock_patience: Duration,
}

impl Tools<'_> {
    /// Takes the profile's lock, and says whom it waits for.
    pub(crate) fn lock(&self, profile: &ProfileName) -> Result<ProfileLock> {
        ProfileLock::take(self.folders, profile, self.lock_patience, &|holder| {
            let who = holder.map_or_else(|| "another minik".to_owned(), ToString::to_string);
            self.reporter.info(&format!("Waiting for {who}, which works on `{profile}`"));
        })
    }
}

/// A verified guest image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestImage {
    /// What machines boot from.
    pub files: BootFiles,
    /// Name and digest, remembered in the profile.
    pub id: String,
    /// Whether something had to be fetched for it.
    pub fetched: bool,
}

/// Gets guest images. [`crate::GuestImages`] is the real one.
pub trait Images: Sync {
    /// The image of a cluster, verified now. A `pinned` one is asked for by that id first, so that
    /// an existing cluster keeps booting what its disks were made with.
    fn boot(&self, choice: &ImageChoice) -> Result<GuestImage>;
}
