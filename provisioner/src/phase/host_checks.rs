//! Can this host run the cluster, and with which addresses? The profile is first written here, when
//! both are known.

use minik_driver::{
    InUse, ResourceRequest, ResourceWarning, bridge_name, check_resources, networks_of_host,
};
use minik_spec::plan_networks;

use crate::error::Result;
use crate::report::Outcome;
use crate::state::Profile;
use crate::tools::Tools;
use crate::work::Work;

pub(crate) fn run(work: &mut Work<'_>) -> Result<Outcome> {
    let tools = work.tools;
    let probe = tools.driver.probe()?;
    tools.reporter.detail(&format!(
        "{} {} with {}: {}",
        work.profile.spec.driver, probe.version, probe.accelerator, probe.reason
    ));
    for warning in &probe.warnings {
        tools.reporter.warning(warning);
    }
    check_host(work)?;
    // Needed much later; not worth booting a machine when it is not there.
    tools.node_binary.find()?;
    plan_addresses(work)?;
    Ok(if work.profile.save()? { Outcome::Changed } else { Outcome::Unchanged })
}

/// Only for machines that are made now: an existing one had the room once and starts as it is.
fn check_host(work: &Work<'_>) -> Result<()> {
    let spec = &work.profile.spec;
    if work.existed && work.changes.is_empty() {
        return Ok(());
    }
    let request =
        ResourceRequest { cpus: spec.cpus, memory_mib: spec.memory_mib, disk_mib: spec.disk_mib };
    let host = work.tools.host.resources(&work.tools.folders.data)?;
    for warning in check_resources(request, host)? {
        work.tools.reporter.warning(&sentence(warning));
    }
    Ok(())
}

fn sentence(warning: ResourceWarning) -> String {
    match warning {
        ResourceWarning::MemoryTight { asked, wanted } => {
            format!("{asked} MiB of memory are little for a node; it wants {wanted} MiB")
        }
        ResourceWarning::MemoryNotAvailable { asked, available } => format!(
            "{asked} MiB of memory were asked for, but only {available} MiB are free on this host now"
        ),
        ResourceWarning::DiskOvercommitted { asked, free } => format!(
            "The disk may grow to {asked} MiB, but only {free} MiB are free on this host now"
        ),
    }
}

fn plan_addresses(work: &mut Work<'_>) -> Result<()> {
    let tools = work.tools;
    let choice = tools.driver.choose_network(work.profile.spec.network)?;
    tools.reporter.detail(&format!("Network mode {}: {}", choice.mode, choice.reason));
    let profile = &mut work.profile;
    let mut in_use = networks_of_host(tools.host, &bridge_name(profile.spec.profile.as_str()))?;
    in_use.extend(networks_of_profiles(tools, profile)?);
    plan_networks(&mut profile.spec, choice.mode, &in_use)?;
    Ok(())
}

/// Networks of the other profiles, running or not: two clusters must be able to run side by side.
fn networks_of_profiles(tools: &Tools<'_>, own: &Profile) -> Result<Vec<InUse>> {
    let mut in_use = Vec::new();
    for name in tools.folders.profile_names()? {
        if name == own.spec.profile {
            continue;
        }
        // A profile that cannot be read has a network nobody knows; it must not stop this one.
        let Ok(Some(other)) = Profile::find(tools.folders, &name) else { continue };
        let plans = other.spec.nodes.iter().filter_map(|node| node.network.as_ref());
        in_use.extend(
            plans.take(1).map(|plan| InUse { network: plan.cidr, by: format!("profile {name}") }),
        );
    }
    Ok(in_use)
}
