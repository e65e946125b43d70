//! Labels, annotations, files and folders by which a pod's parts are found again: the same as
//! the upstream kubelet's, so that tools which look for them work.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::object;

pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub(crate) const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub(crate) const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
pub(crate) const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub(crate) const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
const POD_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

/// Labels of a pod's sandbox.
pub(crate) fn sandbox_labels(pod: &Pod) -> HashMap<String, String> {
    let own = pod.metadata.labels.iter().flatten();
    let mut labels: HashMap<_, _> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.insert(POD_NAME.into(), object::name(pod).into());
    labels.insert(POD_NAMESPACE.into(), object::namespace(pod).into());
    labels.insert(POD_UID.into(), object::uid(pod).into());
    labels
}

/// Annotations of a pod's sandbox.
pub(crate) fn sandbox_annotations(pod: &Pod) -> HashMap<String, String> {
    let own = pod.metadata.annotations.iter().flatten();
    let mut annotations: HashMap<_, _> =
        own.map(|(key, value)| (key.clone(), value.clone())).collect();
    annotations.insert(CONFIG_SOURCE.into(), "api".into());
    annotations
}

/// Labels of a container.
pub(crate) fn container_labels(pod: &Pod, container: &str) -> HashMap<String, String> {
    HashMap::from([
        (POD_NAME.into(), object::name(pod).into()),
        (POD_NAMESPACE.into(), object::namespace(pod).into()),
        (POD_UID.into(), object::uid(pod).into()),
        (CONTAINER_NAME.into(), container.into()),
    ])
}

/// Annotations of a container: what a kubelet that starts anew must know about it.
pub(crate) fn container_annotations(
    pod: &Pod,
    container: &Container,
    restarts: u32,
) -> HashMap<String, String> {
    let path = container.termination_message_path.as_deref().unwrap_or(DEFAULT_MESSAGE_PATH);
    let policy = container.termination_message_policy.as_deref().unwrap_or("File");
    let mut annotations = HashMap::from([
        (CONTAINER_HASH.to_owned(), container_hash(container)),
        (RESTART_COUNT.to_owned(), restarts.to_string()),
        (MESSAGE_PATH.to_owned(), path.to_owned()),
        (MESSAGE_POLICY.to_owned(), policy.to_owned()),
    ]);
    if let Some(seconds) = object::spec(pod).termination_grace_period_seconds {
        annotations.insert(POD_GRACE.into(), seconds.to_string());
    }
    annotations
}

pub(crate) const DEFAULT_MESSAGE_PATH: &str = "/dev/termination-log";

/// Changes when the container's image changes: the one field of a running pod that can.
pub(crate) fn container_hash(container: &Container) -> String {
    // FNV-1a: the same in every build, unlike the hasher of the standard library.
    let image = container.image.as_deref().unwrap_or_default();
    let bytes = container.name.bytes().chain([0]).chain(image.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:x}")
}

/// Folder of a pod's logs: `NAMESPACE_NAME_UID`.
pub(crate) fn log_directory(logs: &Path, pod: &Pod) -> PathBuf {
    let (namespace, name, uid) = (object::namespace(pod), object::name(pod), object::uid(pod));
    logs.join(format!("{namespace}_{name}_{uid}"))
}

/// A container's log file, relative to the pod's log folder: `CONTAINER/RESTARTS.log`.
pub(crate) fn log_path(container: &str, restarts: u32) -> String {
    format!("{container}/{restarts}.log")
}

/// Everything of one pod: `ROOT/pods/UID`.
pub(crate) fn pod_directory(root: &Path, uid: &str) -> PathBuf {
    root.join("pods").join(uid)
}

/// One volume: `ROOT/pods/UID/volumes/kubernetes.io~KIND/NAME`.
pub(crate) fn volume_directory(root: &Path, uid: &str, kind: &str, name: &str) -> PathBuf {
    pod_directory(root, uid).join("volumes").join(format!("kubernetes.io~{kind}")).join(name)
}
