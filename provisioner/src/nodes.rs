//! `node add` and `node delete`: machines join and leave an existing cluster.

use minik_config::Role;
use minik_spec::ProfileName;

use crate::delete::remove_machine;
use crate::error::{ProvisionError, Result};
use crate::start::{StartOptions, Started, converge};
use crate::state::Profile;
use crate::tools::Tools;

/// Adds a worker and brings the whole cluster to where `start` would; the node's name and the cluster.
///
/// # Errors
/// As [`crate::start`]'s.
pub fn add_node(
    tools: &Tools<'_>,
    name: &ProfileName,
    options: &StartOptions,
) -> Result<(String, Started)> {
    let _lock = tools.lock(name)?;
    let mut profile = Profile::open(tools.folders, name)?;
    let node = profile.spec.next_node();
    let added = node.name.clone();
    profile.spec.nodes.push(node);
    let started = converge(tools, profile, true, Vec::new(), options)?;
    Ok((added, started))
}

/// Takes a worker out of its cluster: its machine and its keys. The Node object is the API's, and the
/// caller's to delete.
///
/// # Errors
/// [`ProvisionError::IsControlPlane`], [`ProvisionError::NodeNotFound`], or what could not be removed.
pub fn delete_node(tools: &Tools<'_>, name: &ProfileName, node: &str) -> Result<String> {
    let _lock = tools.lock(name)?;
    let mut profile = Profile::open(tools.folders, name)?;
    let node = profile.node(Some(node))?.clone();
    if node.role == Role::ControlPlane {
        let (profile, name) = (name.to_string(), node.name);
        return Err(ProvisionError::IsControlPlane { profile, name });
    }
    if let Some(machine) = profile.machine(&node) {
        remove_machine(tools, &machine)?;
    }
    crate::state::remove_tree(&profile.folder.pki().join("nodes").join(&node.name))?;
    let host_key = profile.folder.host_key(&node.name);
    crate::state::remove_file(&host_key)?;
    crate::state::remove_file(&host_key.with_extension("pub"))?;
    profile.spec.nodes.retain(|other| other.name != node.name);
    profile.save()?;
    Ok(node.name)
}
