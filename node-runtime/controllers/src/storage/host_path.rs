//! Volumes of the class `standard`: a folder on a node for each claim.
//!
//! The folder is made here when the node is the one this process runs on, open to every user, so
//! that containers without root can write; on other nodes the kubelet makes it when a pod comes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::PostParams;
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue};
use serde_json::json;

use crate::storage::{PROVISIONED_BY, SELECTED_NODE};
use crate::wiring::{Running, Wiring, enqueue_each, name_of};

/// Name of the part that makes the class, and of its service account.
pub(crate) const NAME: &str = "storage-provisioner";
/// How classes name this provisioner.
pub(crate) const PROVISIONER_NAME: &str = "minik.io/host-path";

const CLASS: &str = "standard";
const HOSTNAME: &str = "kubernetes.io/hostname";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// Why no folder was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostPathError {
    #[error("this control plane makes no volumes: it has no folder for them")]
    Off,

    #[error("there is no node to make the volume on")]
    NoNode,

    #[error("the volume's description is not a volume: {0}")]
    Description(#[from] serde_json::Error),

    #[error("{path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
}

/// Makes and removes the folders.
#[derive(Clone)]
pub(crate) struct HostPath {
    root: Option<Arc<Path>>,
}

impl HostPath {
    pub(crate) fn new(root: Option<PathBuf>) -> HostPath {
        HostPath { root: root.map(Arc::from) }
    }

    /// The volume for a claim, with its folder if that is on this machine.
    pub(crate) async fn make(
        &self,
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
        nodes: &[Arc<Node>],
    ) -> Result<PersistentVolume, HostPathError> {
        let root = self.root.as_ref().ok_or(HostPathError::Off)?;
        let node = choose(claim, nodes).ok_or(HostPathError::NoNode)?;
        let volume = describe(claim, class, &node, root)?;
        if node.label(CONTROL_PLANE).is_some() {
            make_folder(root.join(name_of(&volume))).await?;
        }
        Ok(volume)
    }

    /// Removes the folder of a volume that this provisioner made, if it is on this machine.
    pub(crate) async fn remove(&self, volume: &PersistentVolume) -> Result<(), HostPathError> {
        let Some(root) = &self.root else { return Err(HostPathError::Off) };
        let path = root.join(name_of(volume));
        // The name is one the API allows, so it cannot lead out of the root.
        let removed = tokio::fs::remove_dir_all(&path).await;
        match removed {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(HostPathError::Folder { path, source })
            }
            _ => Ok(()),
        }
    }
}

async fn make_folder(path: PathBuf) -> Result<(), HostPathError> {
    let made = async {
        tokio::fs::create_dir_all(&path).await?;
        tokio::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).await
    };
    made.await.map_err(|source| HostPathError::Folder { path, source })
}

/// The node the scheduler chose; else the one this process runs on, else the first.
fn choose(claim: &PersistentVolumeClaim, nodes: &[Arc<Node>]) -> Option<Arc<Node>> {
    let named = claim.annotation(SELECTED_NODE);
    let chosen = nodes.iter().find(|node| named == Some(name_of(&***node)));
    let ours = || nodes.iter().find(|node| node.label(CONTROL_PLANE).is_some());
    chosen.or_else(ours).or(nodes.first()).cloned()
}

fn describe(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &Node,
    root: &Path,
) -> Result<PersistentVolume, serde_json::Error> {
    let name = format!("pvc-{}", claim.uid_str());
    let wish = claim.spec.clone().unwrap_or_default();
    let size = wish.resources.and_then(|resources| resources.requests);
    let hostname = node.label(HOSTNAME).unwrap_or(name_of(node));
    serde_json::from_value(json!({
        "metadata": { "name": name, "annotations": { PROVISIONED_BY: PROVISIONER_NAME } },
        "spec": {
            "capacity": { "storage": size.as_ref().and_then(|size| size.get("storage")) },
            "accessModes": wish.access_modes,
            "volumeMode": "Filesystem",
            "storageClassName": name_of(class),
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "claimRef": { "kind": "PersistentVolumeClaim", "apiVersion": "v1",
                "namespace": claim.metadata.namespace, "name": claim.metadata.name,
                "uid": claim.metadata.uid, "resourceVersion": claim.metadata.resource_version },
            "hostPath": { "path": root.join(&name), "type": "DirectoryOrCreate" },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": HOSTNAME, "operator": "In", "values": [hostname] }] }] } },
        },
    }))
}

#[derive(Clone)]
struct Context {
    client: Client,
    classes: Cache<StorageClass>,
}

/// Starts the part that makes the class `standard` in a new cluster, once: who deletes it means it.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context { client: wiring.client(NAME), classes: wiring.caches.watch() };
    let queue = WorkQueue::new();
    if wiring.config.volume_root.is_some() {
        let namespaces: Cache<k8s_openapi::api::core::v1::Namespace> = wiring.caches.watch();
        enqueue_each(&namespaces, &queue);
    }
    wiring.work(NAME, queue, context, reconcile)
}

/// The class, as upstream's clusters on one machine have it.
fn class() -> StorageClass {
    let class = json!({
        "metadata": { "name": CLASS, "annotations": {
            "storageclass.kubernetes.io/is-default-class": "true" } },
        "provisioner": PROVISIONER_NAME,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    });
    serde_json::from_value(class).unwrap_or_default()
}

async fn reconcile(ctx: Context, namespace: ObjectKey) -> Result<Requeue, ReconcileError> {
    if namespace.name != "kube-system" || !ctx.classes.is_empty() {
        return Ok(Requeue::WhenChanged);
    }
    let classes: Api<StorageClass> = Api::all(ctx.client.clone());
    match classes.create(&PostParams::default(), &class()).await {
        Err(error) if error.is_already_exists() => Ok(Requeue::WhenChanged),
        answer => Ok(answer.map(|_| Requeue::WhenChanged)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, control_plane: bool) -> Arc<Node> {
        let mut labels = json!({ HOSTNAME: format!("host-{name}") });
        if control_plane {
            labels[CONTROL_PLANE] = json!("");
        }
        let node = json!({ "metadata": { "name": name, "labels": labels } });
        Arc::new(serde_json::from_value(node).expect("a node"))
    }

    fn claim(selected: Option<&str>) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": { "name": "data", "namespace": "shop", "uid": "u1",
                "annotations": { SELECTED_NODE: selected.unwrap_or("none") } },
            "spec": { "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "1Gi" } } },
        }))
        .expect("a claim")
    }

    #[test]
    fn the_node_of_a_volume() {
        let nodes = [node("a", false), node("b", true), node("c", false)];
        let chosen =
            |selected| choose(&claim(selected), &nodes).map(|node| name_of(&*node).to_owned());
        assert_eq!(chosen(Some("c")).as_deref(), Some("c"));
        assert_eq!(chosen(None).as_deref(), Some("b"));
        assert_eq!(
            choose(&claim(None), &nodes[..1]).map(|node| name_of(&*node).to_owned()).as_deref(),
            Some("a")
        );
    }

    #[test]
    fn a_volume_is_kept_for_its_claim_and_its_node() {
        let made = describe(&claim(None), &class(), &node("a", false), Path::new("/volumes"));
        let made = serde_json::to_value(made.expect("a volume")).expect("JSON");
        assert_eq!(made["metadata"]["name"], "pvc-u1");
        assert_eq!(made["spec"]["hostPath"]["path"], "/volumes/pvc-u1");
        assert_eq!(made["spec"]["claimRef"]["uid"], "u1");
        assert_eq!(made["spec"]["persistentVolumeReclaimPolicy"], "Delete");
        let terms = &made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
        assert_eq!(terms[0]["matchExpressions"][0]["values"][0], "host-a");
    }
}
