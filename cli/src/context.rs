//! What every command gets: folders, output, environment and the profile it works on.

use std::time::Duration;

use minik_provisioner::state::Folders;

use crate::args::GlobalArgs;
use crate::config::Config;
use crate::out::Out;
use crate::report::Report;

/// How long a command waits while another one works on the same cluster, unless told not to.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// The profile used when none is named.
pub(crate) const DEFAULT_PROFILE: &str = "minik";

/// Handed to each command by `main`.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) folders: Folders,
    pub(crate) out: Out,
    /// How long to wait while another minik works on the same cluster.
    pub(crate) lock_patience: Duration,
    profile: Option<String>,
}

impl Context {
    /// Finds the folders; gives `out` back with the report when there are none.
    pub(crate) fn new(global: &GlobalArgs, out: Out) -> Result<Context, (Report, Out)> {
        match Folders::from_env() {
            Ok(folders) => Ok(Context {
                folders,
                out,
                lock_patience: if global.no_wait { Duration::ZERO } else { LOCK_PATIENCE },
                profile: global.profile.clone(),
            }),
            Err(err) => Err((crate::advice::provision(&err), out)),
        }
    }

    /// The profile named on the command line, in the environment or in the settings, in that order.
    pub(crate) fn profile(&self) -> Result<String, Report> {
        if let Some(name) = &self.profile {
            return Ok(name.clone());
        }
        let config = self.config()?;
        Ok(config.get("profile").unwrap_or(DEFAULT_PROFILE).to_owned())
    }

    pub(crate) fn config(&self) -> Result<Config, Report> {
        Config::load(&self.folders.config)
    }

    /// Flag, then environment (both read by the parser), then settings file.
    pub(crate) fn setting(
        &self,
        flag: Option<&String>,
        name: &str,
    ) -> Result<Option<String>, Report> {
        match flag {
            Some(value) => Ok(Some(value.clone())),
            None => Ok(self.config()?.get(name).map(str::to_owned)),
        }
    }
}
