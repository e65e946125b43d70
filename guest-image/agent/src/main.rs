//! minik-agent: the one program of ours in the guest image.
//!
//! The kernel starts it from the initramfs as `/init` (it finds the disks, writes the identity and hands over to
//! systemd); systemd starts it again as a service (it configures the network and talks to the host). Both are one
//! static file so that the image carries it once.

mod agent;
mod channel;
mod clock;
mod disks;
mod docker;
mod error;
mod facts;
mod identity;
mod init;
mod netlink;
mod network;
mod notify;
mod power;
mod saved;
mod seed;
mod ssh;
mod tree;

use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: minik-agent run | mount-docker";

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let called_as = arguments.next().unwrap_or_default();
    let outcome = match (called_as.as_str(), arguments.next().as_deref()) {
        // In the initramfs the kernel passes its own words as arguments; only the name counts.
        ("/init", _) => init::run().map(|never| match never {}),
        (_, Some("run")) => agent::run(),
        (_, Some("mount-docker")) => docker::mount_layer(),
        _ => Err(error::Error::Usage(USAGE)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{called_as}: {}", error::chain(&error)));
            if called_as == "/init" {
                init::give_up();
            }
            ExitCode::FAILURE
        }
    }
}

/// One line for whoever reads the console or the journal; nobody can be told when even that fails.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
