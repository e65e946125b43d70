//! A node for one test: API, runtime, folders, and the kubelet between them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use minik_cri::fake::FakeRuntime;
use minik_kubelet::{CgroupDriver, Config, Paths, ServerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::FakeApi;

/// Everything of one test.
pub(crate) struct World {
    pub(crate) api: FakeApi,
    pub(crate) runtime: FakeRuntime,
    pub(crate) folder: TempDir,
    server: Option<ServerConfig>,
    kubelet: Option<(JoinHandle<()>, CancellationToken)>,
}

impl World {
    /// A node whose kubelet runs.
    pub(crate) async fn new() -> Self {
        Self::start(|_| None).await
    }

    /// The same with the kubelet's server, whose files `make` puts into the folder.
    pub(crate) async fn with_server(make: impl FnOnce(&Path) -> ServerConfig) -> Self {
        Self::start(|folder| Some(make(folder))).await
    }

    async fn start(server: impl FnOnce(&Path) -> Option<ServerConfig>) -> Self {
        let mut world = Self {
            server: None,
            api: FakeApi::new(),
            runtime: FakeRuntime::new(),
            folder: tempfile::tempdir().expect("a folder"),
            kubelet: None,
        };
        for plugin in ["bridge", "host-local", "loopback"] {
            let folder = world.folder.path().join("cni-bin");
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join(plugin), "").expect("made");
        }
        world.server = server(world.folder.path());
        world.start_kubelet();
        world.api.wait(|api| api.get("/api/v1/nodes/node-1")).await;
        world
    }

    fn config(&self) -> Config {
        let under = |name: &str| -> PathBuf { self.folder.path().join(name) };
        Config {
            cgroup_driver: CgroupDriver::Cgroupfs,
            control_plane: true,
            nft: None,
            server: self.server.clone(),
            paths: Paths {
                root: under("kubelet"),
                pod_logs: under("logs"),
                resolv_conf: under("resolv.conf"),
                cni_conf: under("cni"),
                cni_bin: under("cni-bin"),
            },
            ..Config::for_guest("node-1", "192.0.2.10".parse().expect("an address"))
        }
    }

    /// Starts a kubelet, the first or the next one.
    pub(crate) fn start_kubelet(&mut self) {
        let drain = CancellationToken::new();
        let (config, client) = (self.config(), self.api.client());
        let (runtime, stop) = (Arc::new(self.runtime.clone()), drain.clone());
        let task = tokio::spawn(async move {
            minik_kubelet::run(config, client, runtime, stop).await.expect("the kubelet runs");
        });
        self.kubelet = Some((task, drain));
    }

    /// Stops the kubelet; pods go on.
    pub(crate) async fn stop_kubelet(&mut self) {
        let (task, drain) = self.kubelet.take().expect("it runs");
        drain.cancel();
        task.await.expect("it ended well");
    }

    /// Creates a pod on this node; returns its path.
    pub(crate) fn create(&self, name: &str, mut spec: Value) -> String {
        spec["nodeName"] = json!("node-1");
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        let scheduled = json!({"type": "PodScheduled", "status": "True"});
        let status = json!({"phase": "Pending", "conditions": [scheduled]});
        self.api.put(&path, json!({"metadata": {}, "spec": spec, "status": status}));
        path
    }

    /// Waits until the pod's status is as wanted; returns the pod.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.api.wait(|api| api.get(path).filter(|pod| wanted(&pod["status"]))).await
    }

    /// Waits until the pod is in a phase.
    pub(crate) async fn phase(&self, path: &str, phase: &str) -> Value {
        self.until(path, |status| status["phase"] == phase).await
    }

    /// Waits until the pod is gone.
    pub(crate) async fn gone(&self, path: &str) {
        self.api.wait(|api| api.get(path).is_none().then_some(())).await;
    }

    /// Reasons of all events, in the order they were written.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut events = self.api.all("events");
        events.sort_by_key(|event| event["metadata"]["uid"].to_string().len());
        events.iter().map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// The status of one condition.
pub(crate) fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let all = status["conditions"].as_array();
    let found = all.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.map_or(&Value::Null, |condition| &condition["status"])
}
