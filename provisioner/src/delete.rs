//! `delete`: machines, profile and kubeconfig entry go; also those of a half-made cluster.

use minik_driver::MachineSpec;
use minik_spec::{NodeSpec, ProfileName, Request, SpecError, plan_networks, resolve};

use crate::error::{ProvisionError, Result};
use crate::phase::kubeconfig::previous_context;
use crate::state::{Profile, remove_tree};
use crate::tools::Tools;

/// What was there to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Whether there was a profile, or what was left of one.
    pub existed: bool,
}

/// Deletes a cluster. One that is not there is deleted already.
///
/// The order makes a kill harmless: machines first, so that nothing runs that nobody knows; then the
/// kubeconfig, which names the context to go back to; the profile last.
///
/// # Errors
/// What could not be removed; the next call goes on from there.
pub fn delete(tools: &Tools<'_>, name: &ProfileName) -> Result<Deleted> {
    let _lock = tools.lock(name)?;
    let folder = tools.folders.profile(name);
    let profile = match Profile::find(tools.folders, name) {
        Ok(Some(profile)) => profile,
        // Nothing is made for a profile before its file is written.
        Ok(None) => {
            let existed = folder.path().exists();
            remove_tree(folder.path())?;
            let entry = tools.kubeconfig.remove(name.as_str(), None)?;
            return Ok(Deleted { existed: existed || entry });
        }
        Err(ProvisionError::Spec(err @ SpecError::Malformed { .. })) => {
            tools.reporter.warning(&format!("Deleting what is left of a damaged profile: {err}"));
            remove_what_is_left(tools, name)?;
            tools.kubeconfig.remove(name.as_str(), None)?;
            return Ok(Deleted { existed: true });
        }
        Err(err) => return Err(err),
    };
    for machine in profile.spec.nodes.iter().filter_map(|node| profile.machine(node)) {
        remove_machine(tools, &machine)?;
    }
    let previous = previous_context(&profile)?;
    match tools.kubeconfig.remove(name.as_str(), previous.as_deref()) {
        Err(err @ ProvisionError::Kubeconfig { .. }) => {
            tools.reporter.warning(&format!("The kubeconfig was left as it is: {err}"));
        }
        other => {
            other?;
        }
    }
    profile.remove()?;
    Ok(Deleted { existed: true })
}

/// Machines are found by their folders; their devices have names made of theirs.
fn remove_what_is_left(tools: &Tools<'_>, name: &ProfileName) -> Result<()> {
    let folder = tools.folders.profile(name);
    let mode = tools.driver.choose_network(None)?.mode;
    let request = Request::default();
    let resources = tools.host.resources(&tools.folders.data)?;
    let mut spec = resolve(name, &request, None, &resources, tools.driver.name())?.spec;
    let machines = tools.host.list(&folder.path().join("machines"));
    spec.nodes = (0..)
        .zip(machines)
        .map(|(index, machine)| {
            let mut node = NodeSpec::new(name, index);
            node.name = machine;
            node
        })
        .collect();
    plan_networks(&mut spec, mode, &[])?;
    let profile = Profile::new(tools.folders, spec);
    for machine in profile.spec.nodes.iter().filter_map(|node| profile.machine(node)) {
        remove_machine(tools, &machine)?;
    }
    profile.remove()
}

/// The driver's part, and the seed, which is ours.
pub(crate) fn remove_machine(tools: &Tools<'_>, machine: &MachineSpec) -> Result<()> {
    tools.driver.delete(machine)?;
    crate::state::remove_file(&machine.seed)
}
