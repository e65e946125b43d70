//! API server and node are ready. systemd is asked to start what is starting already: it answers when
//! the service says that it is ready, or when it fails; nobody polls.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;

use super::unit::SERVICE;
use super::upload::NODE_BINARY;
use crate::error::{ProvisionError, Result};
use crate::report::Outcome;
use crate::shell::{QUICK, exec};
use crate::work::NodeWork;

/// What `minik-node status` prints.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct NodeAnswer {
    pub(crate) api: bool,
    pub(crate) node: bool,
    #[serde(default)]
    pub(crate) reasons: BTreeMap<String, String>,
}

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let (begin, left) = (Instant::now(), node.left());
    let seconds = left.as_secs();
    // Starting waits for a service that starts; asking, for a node that was ready and is not now.
    let wait = format!(
        "timeout {seconds} systemctl start {SERVICE} && {NODE_BINARY} status --wait {seconds}s"
    );
    let output = exec(node.shell(), &wait, 2 * left + QUICK)?;
    if output.exit == 0 {
        return Ok(Outcome::Unchanged);
    }
    let answer = ask(node)?;
    // Not everything was asked for.
    if answer.api && !node.work.options.wait.nodes {
        return Ok(Outcome::Unchanged);
    }
    let mut reasons: Vec<String> =
        answer.reasons.into_iter().map(|(part, why)| format!("{part}: {why}")).collect();
    if begin.elapsed() < left && !answer.api {
        reasons.push("the service failed".to_owned());
    }
    let journal =
        exec(node.shell(), &format!("journalctl -u {SERVICE} -n 30 --no-pager -o cat"), QUICK)?;
    Err(ProvisionError::NotReady {
        what: if answer.api { "node" } else { "API server" },
        machine: node.node.name.clone(),
        waited: begin.elapsed(),
        reasons,
        journal: journal.stdout,
    })
}

/// What the node says is missing; nothing when it does not even run.
fn ask(node: &mut NodeWork<'_, '_>) -> Result<NodeAnswer> {
    let output = exec(node.shell(), &format!("{NODE_BINARY} status"), QUICK)?;
    Ok(serde_json::from_str(output.stdout.trim()).unwrap_or_default())
}
