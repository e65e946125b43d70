//! API server and node are ready. systemd is asked to start what is starting already: it answers when
//! the service says that it is ready, or when it fails; nobody polls.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::unit::SERVICE;
use super::upload::NODE_BINARY;
use crate::error::{ProvisionError, Result};
use crate::report::Outcome;
use crate::shell::{QUICK, exec};
use crate::work::NodeWork;

/// Exit code of `timeout` when time was up.
const TIMED_OUT: i32 = 124;

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
    let wait = format!("timeout {} systemctl start {SERVICE}", left.as_secs());
    let output = exec(node.shell(), &wait, left + Duration::from_secs(30))?;
    if output.exit == 0 {
        return Ok(Outcome::Changed);
    }
    let answer = ask(node)?;
    // Not everything was asked for.
    if output.exit == TIMED_OUT && answer.api && !node.work.options.wait.nodes {
        return Ok(Outcome::Changed);
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
