//! The pod network's configuration for the CNI plugins: a bridge with the node's part of the pod
//! network. Masquerading and ports of the node are not theirs but nftables rules of our own.

use std::fs;
use std::io;
use std::path::PathBuf;

use k8s_openapi::serde_json::{Value, json, to_string_pretty};

use crate::config::Paths;

const FILE: &str = "10-minik.conflist";
/// Which address each sandbox has; forgotten with a reboot, as the sandboxes are.
const ADDRESSES: &str = "/run/minik/cni";
/// Programs that must be there.
const PLUGINS: &[&str] = &["bridge", "host-local", "loopback"];

/// Why there is no pod network.
#[derive(Debug, thiserror::Error)]
pub(super) enum CniError {
    #[error("CNI plugin {} is not there", .0.display())]
    NoPlugin(PathBuf),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
}

/// Writes the configuration for `cidr`; returns whether it changed.
pub(super) fn write(paths: &Paths, cidr: &str) -> Result<bool, CniError> {
    for plugin in PLUGINS {
        let program = paths.cni_bin.join(plugin);
        if !program.exists() {
            return Err(CniError::NoPlugin(program));
        }
    }
    let path = paths.cni_conf.join(FILE);
    let text = to_string_pretty(&conflist(cidr)).unwrap_or_default();
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    let failed = |source| CniError::File { path: path.clone(), source };
    fs::create_dir_all(&paths.cni_conf).map_err(failed)?;
    // The runtime reads the folder whenever it changes: it must never see half a file.
    let fresh = paths.cni_conf.join(format!(".{FILE}.new"));
    fs::write(&fresh, text).map_err(failed)?;
    fs::rename(&fresh, &path).map_err(failed)?;
    Ok(true)
}

fn conflist(cidr: &str) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "minik",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": ADDRESSES,
                "ranges": [[{"subnet": cidr}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}
