//! The program that is the node.

use crate::error::{ProvisionError, Result};
use crate::report::Outcome;
use crate::shell::{self, Payload, Upload, Wanted};
use crate::work::{NodeWork, Work};

/// Where the program is in the guest.
pub(crate) const NODE_BINARY: &str = "/var/lib/minik/bin/minik-node";

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let (file, digest) = binary(node.work)?;
    node.generation.push(digest);
    let machine = node.node.name.clone();
    Ok(shell::upload(node.shell(), &machine, std::slice::from_ref(&file))?)
}

/// Found and digested by the first node that needs it.
fn binary(work: &Work<'_>) -> Result<(Upload, String)> {
    if let Some(known) = work.binary.get() {
        return Ok(known.clone());
    }
    let path = work.tools.node_binary.find()?;
    let file =
        Upload { path: NODE_BINARY.to_owned(), mode: 0o755, payload: Payload::File(path.clone()) };
    let digest = Wanted::new(&file).map_err(ProvisionError::state("read", path))?.digest;
    Ok(work.binary.get_or_init(|| (file, digest)).clone())
}
