//! The service that runs the node in the guest.

use minik_config::NODE_FILE;
use sha2::{Digest, Sha256};

use super::upload::NODE_BINARY;
use crate::error::Result;
use crate::report::Outcome;
use crate::shell::{Payload, Upload};
use crate::work::NodeWork;

/// The service's name.
pub(crate) const SERVICE: &str = "minik-node.service";

/// Its file.
pub(crate) const UNIT_FILE: &str = "/etc/systemd/system/minik-node.service";

/// Where the running service says what it was started with. Emptied at boot and when it stops.
pub(crate) const GENERATION_FILE: &str = "/run/minik/generation";

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let generation = generation(&node.generation);
    let payload = Payload::Bytes(unit(&generation).into_bytes());
    let file = Upload { path: UNIT_FILE.to_owned(), mode: 0o644, payload };
    let outcome = node.upload(&[file])?;
    // Not itself part of the generation: it holds it.
    node.generation.pop();
    Ok(outcome)
}

/// One digest for all that the service is started with.
pub(crate) fn generation(digests: &[String]) -> String {
    hex::encode(&Sha256::digest(digests.join("\n"))[..16])
}

/// The unit. `Type=notify`: it is active when API server and node are ready. Not killed for being slow
/// to get there; whoever waits has a deadline. Containers are containerd's children, so they outlive it.
fn unit(generation: &str) -> String {
    format!(
        "[Unit]
Description=Kubernetes node
After=containerd.service network.target
Wants=containerd.service
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
RuntimeDirectory=minik
RuntimeDirectoryMode=0700
ExecStartPre=/bin/sh -c 'echo {generation} > {GENERATION_FILE}'
ExecStart={NODE_BINARY} run --config {NODE_FILE}
Restart=always
RestartSec=1
TimeoutStartSec=infinity
TimeoutStopSec=30
KillMode=mixed
OOMScoreAdjust=-999
LimitNOFILE=1048576
TasksMax=infinity
Delegate=yes

[Install]
WantedBy=multi-user.target
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_that_of_everything_in_order() {
        let of =
            |list: &[&str]| generation(&list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["a", "b"]), of(&["ab"]));
        assert!(unit(&of(&["a"])).contains(&format!("echo {} >", of(&["a"]))));
    }
}
