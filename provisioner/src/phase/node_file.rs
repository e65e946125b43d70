//! What the node is told.

use minik_config::NODE_FILE;

use crate::error::Result;
use crate::report::Outcome;
use crate::shell::{Payload, Upload};
use crate::work::NodeWork;

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let spec = &node.work.profile.spec;
    let config = spec.node_config(node.node).expect("the phase `host-checks` plans addresses");
    let payload = Payload::Bytes(config.to_text()?.into_bytes());
    node.upload(&[Upload { path: NODE_FILE.to_owned(), mode: 0o600, payload }])
}
