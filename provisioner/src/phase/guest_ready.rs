//! The guest says that it is up, and is who it should be.

use super::keys;
use crate::error::{ProvisionError, Result};
use crate::report::Outcome;
use crate::shell::bare;
use crate::work::NodeWork;

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let work = node.work;
    let facts = work.tools.driver.wait_ready(&node.machine, node.left())?;
    let wrong = |found: &str| ProvisionError::WrongGuest {
        machine: node.node.name.clone(),
        found: found.to_owned(),
    };
    if facts.hostname != node.node.name {
        return Err(wrong(&facts.hostname));
    }
    let expected = keys::host_key(&work.profile, &node.node.name)?;
    if !facts.ssh_host_key.is_empty() && bare(&facts.ssh_host_key) != expected.public_bare() {
        return Err(wrong(&format!("a machine with the host key {}", facts.ssh_host_key)));
    }
    work.tools.reporter.detail(&format!(
        "{} is up after {} ms, at {}",
        node.node.name,
        facts.uptime_ms,
        facts.addresses.join(", ")
    ));
    Ok(Outcome::Unchanged)
}
