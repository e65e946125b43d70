//! The certificates and keys the node needs, renewed when they end soon.

use crate::certificates::GUEST_PKI;
use crate::error::Result;
use crate::report::Outcome;
use crate::shell::{Payload, Upload};
use crate::work::NodeWork;

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let work = node.work;
    let files = work.authorities().node_files(&work.profile.spec, node.node)?;
    let uploads: Vec<Upload> = files
        .into_iter()
        .map(|file| Upload {
            path: format!("{GUEST_PKI}/{}", file.name),
            mode: if file.secret { 0o600 } else { 0o644 },
            payload: Payload::Bytes(file.text.into_bytes()),
        })
        .collect();
    node.upload(&uploads)
}
