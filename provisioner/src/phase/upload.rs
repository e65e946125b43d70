//! The program that is the node.

use crate::error::{ProvisionError, Result};
use crate::report::Outcome;
use crate::shell::{Payload, Upload, Wanted};
use crate::work::{NodeWork, Program, Work};

/// Where the program is in the guest.
pub(crate) const NODE_BINARY: &str = "/var/lib/minik/bin/minik-node";

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let Program { file, digest, length } = program(node.work)?;
    node.bring(vec![Wanted { file: &file, digest, length }])
}

/// Found and digested by the first node that needs it.
fn program(work: &Work<'_>) -> Result<Program> {
    if let Some(known) = work.binary.get() {
        return Ok(known.clone());
    }
    let path = work.tools.node_binary.find()?;
    let payload = Payload::File(path.clone());
    let file = Upload { path: NODE_BINARY.to_owned(), mode: 0o755, payload };
    let Wanted { digest, length, .. } =
        Wanted::new(&file).map_err(ProvisionError::state("read", path))?;
    Ok(work.binary.get_or_init(|| Program { file, digest, length }).clone())
}
