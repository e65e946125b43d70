//! A node with the real kubelet on a runtime that follows a script: everything but the processes.

use std::sync::Arc;

use kube::Client;
use minik_cri::fake::FakeRuntime;
use minik_kubelet::{CgroupDriver, Config, EvictionHard, Paths};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A node whose kubelet is real and whose runtime is not. Dropping it stops the kubelet.
pub struct ScriptedNode {
    /// Name of the node.
    pub name: String,
    /// What the containers of the node do.
    pub runtime: FakeRuntime,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Drop for ScriptedNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl ScriptedNode {
    pub(crate) fn start(
        name: &str,
        client: Client,
        stop: &CancellationToken,
    ) -> std::io::Result<ScriptedNode> {
        let folder = tempfile::tempdir()?;
        let plugins = folder.path().join("cni-bin");
        std::fs::create_dir_all(&plugins)?;
        for plugin in ["bridge", "host-local", "loopback"] {
            std::fs::write(plugins.join(plugin), "")?;
        }
        std::fs::write(folder.path().join("resolv.conf"), "nameserver 192.0.2.53\n")?;
        let runtime = FakeRuntime::new();
        let stop = stop.child_token();
        let settings = settings(name, &folder);
        let (shared, until) = (Arc::new(runtime.clone()), stop.clone());
        let who = name.to_owned();
        tokio::spawn(async move {
            if let Err(error) = minik_kubelet::run(settings, client, shared, until).await {
                tracing::error!(%error, node = who, "the kubelet ended");
            }
        });
        Ok(ScriptedNode { name: name.to_owned(), runtime, stop, _folder: folder })
    }
}

fn settings(name: &str, folder: &TempDir) -> Config {
    let under = |name: &str| folder.path().join(name);
    let address = std::net::Ipv4Addr::new(192, 0, 2, 10).into();
    Config {
        cgroup_driver: CgroupDriver::Cgroupfs,
        // The disk and memory of the machine the test runs on say nothing about the test.
        eviction_hard: EvictionHard::NEVER,
        // Nothing of the machine the test runs on is changed.
        nft: None,
        paths: Paths {
            root: under("kubelet"),
            pod_logs: under("logs"),
            resolv_conf: under("resolv.conf"),
            cni_conf: under("cni"),
            cni_bin: under("cni-bin"),
        },
        ..Config::for_guest(name, address)
    }
}
