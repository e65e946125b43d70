//! Removes what belongs to no pod: left by a kubelet that was stopped while pods were deleted.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use tracing::{info, warn};

use crate::pod::inventory::{self, Inventory};
use crate::shared::Shared;
use crate::volume;

/// Removes sandboxes, containers, volumes and logs of pods that are not among `pods`. Called with
/// what the runtime had at the start, so that nothing made since is touched.
pub(crate) async fn remove_orphans(shared: &Shared, inventory: &Inventory, pods: &HashSet<String>) {
    for uid in inventory.uids().difference(pods) {
        info!(uid, "removing what is left of a pod that is gone");
        if let Err(error) = inventory::remove(&shared.runtime, &inventory.of(uid)).await {
            warn!(uid, %error, "not all removed");
        }
    }
    let (root, logs) = (shared.config.paths.root.clone(), shared.config.paths.pod_logs.clone());
    let pods = pods.clone();
    let files = tokio::task::spawn_blocking(move || remove_files(&root, &logs, &pods)).await;
    if let Err(error) = files {
        warn!(%error, "files of pods that are gone were not removed");
    }
}

fn remove_files(root: &Path, logs: &Path, pods: &HashSet<String>) {
    for uid in names_in(&root.join("pods")).filter(|uid| !pods.contains(uid)) {
        if let Err(error) = volume::tear_down(root, &uid) {
            warn!(uid, %error, "volumes not removed");
        }
    }
    // NAMESPACE_NAME_UID
    let is_orphan = |name: &String| !name.rsplit('_').next().is_some_and(|uid| pods.contains(uid));
    for name in names_in(logs).filter(is_orphan) {
        if let Err(error) = fs::remove_dir_all(logs.join(&name)) {
            warn!(name, %error, "logs not removed");
        }
    }
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}
