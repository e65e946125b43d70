//! Rotates containers' logs: `0.log` becomes `0.log.TIME` and the runtime begins a new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use minik_cri::v1;
use tracing::{debug, warn};

use crate::shared::Shared;

/// A log that is longer is rotated.
const BYTES_MAX: u64 = 10 << 20;
/// Files kept of one log, the present one included.
const FILES_MAX: usize = 5;

/// Rotates all logs that are too long.
pub(super) async fn rotate_all(shared: &Shared) {
    let folder = shared.config.paths.pod_logs.clone();
    let found = tokio::task::spawn_blocking(move || long_logs(&folder)).await;
    let long = found.unwrap_or_default();
    if long.is_empty() {
        return;
    }
    let Ok(containers) = shared.runtime.containers().await else { return };
    let running = containers.iter().filter(|it| it.state() == v1::ContainerState::ContainerRunning);
    for container in running {
        let Ok(status) = shared.runtime.container_status(&container.id).await else { continue };
        let log = PathBuf::from(&status.log_path);
        if long.contains(&log)
            && let Err(error) = rotate(shared, &container.id, &log).await
        {
            warn!(log = %log.display(), error, "log not rotated");
        }
    }
}

async fn rotate(shared: &Shared, id: &str, log: &Path) -> Result<(), String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let old = PathBuf::from(format!("{}.{}", log.display(), since.as_secs()));
    fs::rename(log, &old).map_err(|error| error.to_string())?;
    if let Err(error) = shared.runtime.reopen_log(id).await {
        // The runtime goes on writing to the file it has: give it its name back.
        fs::rename(&old, log).map_err(|error| error.to_string())?;
        return Err(error.to_string());
    }
    debug!(log = %log.display(), "log rotated");
    for surplus in surplus(&rotated(log).map_err(|error| error.to_string())?) {
        fs::remove_file(surplus).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Present logs (`POD/CONTAINER/N.log`) that are too long.
fn long_logs(folder: &Path) -> Vec<PathBuf> {
    let inside = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let files = inside(folder).into_iter().flat_map(|pod| inside(&pod)).flat_map(|it| inside(&it));
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "log"))
        .filter(|file| file.metadata().is_ok_and(|metadata| metadata.len() > BYTES_MAX))
        .collect()
}

/// Older parts of a log, oldest first.
fn rotated(log: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut parts: Vec<PathBuf> = fs::read_dir(folder)?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect();
    parts.sort();
    Ok(parts)
}

/// Those of the older parts that are too many.
fn surplus(parts: &[PathBuf]) -> &[PathBuf] {
    &parts[..parts.len().saturating_sub(FILES_MAX - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_present_logs() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("default_web_u1/app");
        fs::create_dir_all(&folder).expect("made");
        for (name, bytes) in [("0.log", BYTES_MAX + 1), ("1.log", 5), ("0.log.17", BYTES_MAX + 1)] {
            let file = fs::File::create(folder.join(name)).expect("made");
            file.set_len(bytes).expect("grown");
        }
        assert_eq!(long_logs(root.path()), [folder.join("0.log")]);
    }

    #[test]
    fn four_older_parts_stay() {
        let root = tempfile::tempdir().expect("a folder");
        let log = root.path().join("0.log");
        for time in 10..17 {
            fs::write(root.path().join(format!("0.log.{time}")), "").expect("made");
        }
        fs::write(root.path().join("10.log.10"), "").expect("another run's");
        let parts = rotated(&log).expect("listed");
        let names: Vec<_> = surplus(&parts).iter().filter_map(|part| part.extension()).collect();
        assert_eq!(names, ["10", "11", "12"]);
    }
}
