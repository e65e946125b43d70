//! `stop`: machines power off, disks stay.

use std::thread;
use std::time::Duration;

use minik_driver::Stopped;
use minik_spec::ProfileName;

use crate::error::{ProvisionError, Result};
use crate::phase::kubeconfig::previous_context;
use crate::state::Profile;
use crate::tools::Tools;

/// A machine and how it came to be stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedMachine {
    /// The machine.
    pub name: String,
    /// How it stopped.
    pub how: Stopped,
}

/// Stops all machines of a cluster at once; each gets `grace` to power off before it is ended. The
/// cluster stops being kubectl's current context, unless `keep_context`; its entry stays.
///
/// # Errors
/// [`ProvisionError::ProfileNotFound`], or the first machine that could not be ended.
pub fn stop(
    tools: &Tools<'_>,
    name: &ProfileName,
    grace: Duration,
    keep_context: bool,
) -> Result<Vec<StoppedMachine>> {
    let _lock = tools.lock(name)?;
    let profile = Profile::open(tools.folders, name)?;
    let machines: Vec<_> =
        profile.spec.nodes.iter().filter_map(|node| profile.machine(node)).collect();
    let stopped: Vec<Result<StoppedMachine>> = thread::scope(|scope| {
        let threads: Vec<_> = machines
            .iter()
            .map(|machine| {
                scope.spawn(move || {
                    let how = tools.driver.stop(machine, grace)?;
                    Ok(StoppedMachine { name: machine.name.clone(), how })
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let stopped: Vec<StoppedMachine> = stopped.into_iter().collect::<Result<_>>()?;
    if !keep_context {
        forget_context(tools, &profile);
    }
    Ok(stopped)
}

/// The machines are stopped, whatever the kubeconfig is like; so a damaged one is only told.
fn forget_context(tools: &Tools<'_>, profile: &Profile) {
    let done = previous_context(profile).and_then(|previous| {
        tools.kubeconfig.unset_current(profile.name().as_str(), previous.as_deref())
    });
    if let Err(err @ (ProvisionError::Kubeconfig { .. } | ProvisionError::State { .. })) = done {
        tools.reporter.warning(&format!("The kubeconfig was left as it is: {err}"));
    }
}
