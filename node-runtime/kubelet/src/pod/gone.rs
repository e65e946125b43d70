//! The object is gone: so is everything of the pod on the node.

use std::time::Duration;

use tracing::warn;

use super::inventory;
use super::step::{Next, Step};
use super::worker::Worker;
use crate::object;
use crate::volume;

/// What cannot be removed at once is tried again this often; then the next start of the kubelet
/// finds it.
const TRIES_MAX: u32 = 5;

/// Nothing of the pod may stay.
pub(super) struct Gone;

impl Step for Gone {
    const NAME: &'static str = "Gone";

    async fn run(self, worker: &mut Worker) -> Next {
        for attempt in 1..=TRIES_MAX {
            match clean_up(worker).await {
                Ok(()) => break,
                Err(error) => {
                    warn!(pod = object::name(&worker.pod), attempt, error, "not all removed")
                }
            }
            tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
        }
        Next::End
    }
}

async fn clean_up(worker: &Worker) -> Result<(), String> {
    let belongings = worker.belongings().await.map_err(|error| error.to_string())?;
    let removed = inventory::remove(&worker.shared.runtime, &belongings).await;
    removed.map_err(|error| error.to_string())?;
    let (root, uid) =
        (worker.shared.config.paths.root.clone(), object::uid(&worker.pod).to_owned());
    let logs = worker.log_directory();
    let files = tokio::task::spawn_blocking(move || {
        volume::tear_down(&root, &uid)?;
        match std::fs::remove_dir_all(&logs) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    });
    match files.await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
