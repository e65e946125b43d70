//! The machine's disks.

use minik_driver::Created;

use crate::error::Result;
use crate::report::Outcome;
use crate::work::NodeWork;

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    Ok(match node.work.tools.driver.create(&node.machine)? {
        Created::New => Outcome::Changed,
        Created::AlreadyThere => Outcome::Unchanged,
    })
}
