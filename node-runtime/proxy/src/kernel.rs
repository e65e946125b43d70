//! What the kernel must allow before services work: forwarding, loopback routes, bridge filtering.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

const BRIDGE_FILTER: &str = "net/bridge/bridge-nf-call-iptables";

/// A kernel setting that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not write {value} to {path}")]
pub struct KernelError {
    /// The setting's file.
    pub path: PathBuf,
    /// What it should be.
    pub value: &'static str,
    /// The reason.
    pub source: io::Error,
}

/// Makes the settings. Returns whether packets between ports of a bridge pass through nftables.
pub(crate) async fn prepare() -> Result<bool, KernelError> {
    set("net/ipv4/ip_forward", "1")?;
    // Lets connections from the node's own 127.0.0.1 to a node port leave for a pod. The table's
    // guard chain keeps others from sending to loopback addresses.
    set("net/ipv4/conf/all/route_localnet", "1")?;
    if !path(BRIDGE_FILTER).exists() {
        // Fails where the module is built in or absent; the file tells.
        let mut modprobe = Command::new("modprobe");
        modprobe.arg("br_netfilter").stdout(Stdio::null()).stderr(Stdio::null());
        let _ = modprobe.status().await;
    }
    let bridge_filtered = match set(BRIDGE_FILTER, "1") {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                %error, reason = %error.source,
                "no bridge filter: pods on one node see each other's service traffic as the node's"
            );
            false
        }
    };
    Ok(bridge_filtered)
}

fn path(setting: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(setting)
}

fn set(setting: &str, value: &'static str) -> Result<(), KernelError> {
    let path = path(setting);
    std::fs::write(&path, value).map_err(|source| KernelError { path, value, source })
}
