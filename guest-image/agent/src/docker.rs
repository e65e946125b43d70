//! Mounts the Docker layer, a disk of its own that is there only for those who use Docker.

use std::fs;

use rustix::mount::{MountFlags, mount};

use crate::disks;
use crate::error::{Error, on_file};

/// Where `docker.service` expects it.
const MOUNT_POINT: &str = "/opt/docker";

/// Mounts the layer; fine when it is mounted already.
pub(crate) fn mount_layer() -> Result<(), Error> {
    let mounted = fs::read_to_string("/proc/self/mounts")
        .map_err(on_file("read", "/proc/self/mounts"))?
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(MOUNT_POINT));
    if mounted {
        return Ok(());
    }
    let disk = disks::by_serial(&disks::all(), disks::DOCKER)?;
    fs::create_dir_all(MOUNT_POINT).map_err(on_file("make", MOUNT_POINT))?;
    mount(&disk.node, MOUNT_POINT, "erofs", MountFlags::RDONLY, None).map_err(|errno| {
        Error::Mount {
            what: disk.node.display().to_string(),
            on: MOUNT_POINT.into(),
            source: errno.into(),
        }
    })
}
