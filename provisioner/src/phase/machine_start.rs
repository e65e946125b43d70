//! The machine's process.

use crate::error::Result;
use crate::report::Outcome;
use crate::work::NodeWork;

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let reporter = node.work.tools.reporter;
    let started = node.work.tools.driver.start(&node.machine)?;
    if let Some(recovered) = &started.recovered {
        reporter.info(recovered);
    }
    for warning in &started.warnings {
        reporter.warning(warning);
    }
    Ok(if started.already_running { Outcome::Unchanged } else { Outcome::Changed })
}
