//! Removes images that no container uses, when the disk that holds them is nearly full.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use minik_cri::v1;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::shared::Shared;

/// More of the disk used than this, in percent, calls for room.
const HIGH_PERCENT: u64 = 85;
/// Enough room is made when no more than this is used.
const LOW_PERCENT: u64 = 80;
/// A new image is left alone for a while: its container may be on the way.
const YOUNG: Duration = Duration::from_secs(120);

/// Since when images are known and when they were used last.
#[derive(Default)]
pub(super) struct Seen {
    images: HashMap<String, Times>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    first: Instant,
    last_used: Instant,
}

/// A disk's size and use in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Disk {
    total: u64,
    used: u64,
}

/// Makes room if there is too little.
pub(super) async fn collect(shared: &Shared, seen: &mut Seen) {
    let listed = async {
        let images = shared.runtime.images().await?;
        let containers = shared.runtime.containers().await?;
        Ok::<_, minik_cri::RuntimeError>((images, containers))
    };
    let Ok((images, containers)) = listed.await else { return };
    let used: HashSet<String> = containers
        .iter()
        .flat_map(|it| [it.image_ref.clone(), it.image_id.clone()])
        .filter(|id| !id.is_empty())
        .collect();
    let now = Instant::now();
    seen.note(&images, &used, now);
    let Some(disk) = disk(shared).await else { return };
    let pause = &shared.config.pause_image;
    for image in surplus(&images, &used, seen, disk, pause, now) {
        info!(image.id, tags = ?image.repo_tags, bytes = image.size, "removing an unused image: the disk is nearly full");
        if let Err(error) = shared.runtime.remove_image(&image.id).await {
            warn!(image.id, %error, "image not removed");
        }
    }
}

async fn disk(shared: &Shared) -> Option<Disk> {
    let answer = shared.runtime.image_fs().await.ok()?;
    let mount = answer.image_filesystems.first()?.fs_id.as_ref()?.mountpoint.clone();
    let fs = rustix::fs::statvfs(mount.as_str()).ok()?;
    let total = fs.f_blocks * fs.f_frsize;
    Some(Disk { total, used: total.saturating_sub(fs.f_bavail * fs.f_frsize) })
}

impl Seen {
    fn note(&mut self, images: &[v1::Image], used: &HashSet<String>, now: Instant) {
        let ids: HashSet<&String> = images.iter().map(|image| &image.id).collect();
        self.images.retain(|id, _| ids.contains(id));
        for image in images {
            let fresh = Times { first: now, last_used: now };
            let times = self.images.entry(image.id.clone()).or_insert(fresh);
            if is_used(image, used) {
                times.last_used = now;
            }
        }
    }
}

fn is_used(image: &v1::Image, used: &HashSet<String>) -> bool {
    let names = image.repo_digests.iter().chain(&image.repo_tags).chain([&image.id]);
    names.into_iter().any(|name| used.contains(name))
}

/// Which images to remove: the ones not used for longest, until there is enough room.
fn surplus<'a>(
    images: &'a [v1::Image],
    used: &HashSet<String>,
    seen: &Seen,
    disk: Disk,
    pause: &str,
    now: Instant,
) -> Vec<&'a v1::Image> {
    if disk.total == 0 || disk.used * 100 < disk.total * HIGH_PERCENT {
        return Vec::new();
    }
    let mut wanted = disk.used.saturating_sub(disk.total / 100 * LOW_PERCENT);
    let mut candidates: Vec<(&v1::Image, Times)> = images
        .iter()
        .filter(|image| !is_used(image, used) && !image.pinned)
        .filter(|image| !image.repo_tags.iter().any(|tag| tag == pause))
        .filter_map(|image| Some((image, *seen.images.get(&image.id)?)))
        .filter(|(_, times)| now.duration_since(times.first) >= YOUNG)
        .collect();
    candidates.sort_by_key(|(image, times)| (times.last_used, std::cmp::Reverse(image.size)));
    let mut chosen = Vec::new();
    for (image, _) in candidates {
        if wanted == 0 {
            break;
        }
        wanted = wanted.saturating_sub(image.size);
        chosen.push(image);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn image(id: &str, size: u64) -> v1::Image {
        v1::Image { id: id.into(), repo_tags: vec![format!("{id}:1")], size, ..Default::default() }
    }

    #[test_case(84, "" ; "enough room")]
    #[test_case(86, "old" ; "the one not used for longest")]
    #[test_case(95, "old big" ; "as many as needed")]
    #[test_case(100, "old big small" ; "but never one that is used, new or the pause image")]
    fn removes(used_percent: u64, want: &str) {
        let start = Instant::now();
        let images = [
            image("old", 6),
            image("big", 9),
            image("small", 1),
            image("running", 50),
            image("pause", 50),
        ];
        let fresh = image("fresh", 50);
        let mut seen = Seen::default();
        let running = HashSet::from(["running".to_owned()]);
        seen.note(&images, &HashSet::from(["running".to_owned()]), start);
        let later = start + Duration::from_secs(60);
        let busy = ["running", "big", "small"].map(str::to_owned);
        seen.note(&images, &HashSet::from(busy), later);
        let now = start + YOUNG;
        let all: Vec<v1::Image> = images.into_iter().chain([fresh]).collect();
        seen.note(&all, &running, now);

        let disk = Disk { total: 100, used: used_percent };
        let chosen = surplus(&all, &running, &seen, disk, "pause:1", now);
        let names: Vec<&str> = chosen.iter().map(|image| image.id.as_str()).collect();
        assert_eq!(names.join(" "), want);
    }
}
