//! The volume from which the guest learns who it is. Written before each boot, for the time in it;
//! a running guest has read it already.

use std::time::SystemTime;

use minik_driver::MachineState;

use super::keys;
use crate::error::Result;
use crate::report::Outcome;
use crate::seed::identity;
use crate::state::make_private_folder;
use crate::work::NodeWork;

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let work = node.work;
    let path = &node.machine.seed;
    let running = work.tools.driver.state(&node.machine)? == MachineState::Running;
    if running && path.exists() {
        return Ok(Outcome::Unchanged);
    }
    let user = keys::user_key(&work.profile)?;
    let host = keys::host_key(&work.profile, &node.node.name)?;
    let documents = identity(&node.machine, &user, &host, SystemTime::now()).documents();
    if let Some(folder) = path.parent() {
        make_private_folder(folder)?;
    }
    minik_image::seed::write(path, &documents)?;
    Ok(Outcome::Changed)
}
