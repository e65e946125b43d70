//! Which of a pod's volumes a container sees where.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use minik_cri::v1;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, chmodat, fstat, mkdirat, openat, openat2,
};
use rustix::mount::mount_bind_recursive;

use super::{VolumeError, VolumePaths};
use crate::object;
use crate::spec::env::Environment;
use crate::spec::names;

/// The mounts of one container. Makes bind mounts for sub-paths, so that a container cannot swap
/// a link into a path between check and use.
pub(crate) fn mounts(
    root: &Path,
    pod: &Pod,
    container: &Container,
    volumes: &VolumePaths,
    environment: &Environment,
) -> Result<Vec<v1::Mount>, VolumeError> {
    let wanted = container.volume_mounts.iter().flatten().enumerate();
    wanted
        .map(|(index, mount)| {
            let unknown = || VolumeError::Unknown(mount.name.clone());
            let base = volumes.get(&mount.name).ok_or_else(unknown)?;
            let sub_path = sub_path(mount, environment);
            let host_path = match sub_path.as_str() {
                "" => base.clone(),
                path => {
                    let target = sub_path_target(root, pod, &container.name, &mount.name, index);
                    let bound = bind_sub_path(base, path, &target);
                    bound.map_err(|source| VolumeError::SubPath {
                        volume: mount.name.clone(),
                        path: path.to_owned(),
                        source,
                    })?;
                    target
                }
            };
            Ok(v1::Mount {
                container_path: mount.mount_path.clone(),
                host_path: host_path.display().to_string(),
                readonly: mount.read_only.unwrap_or(false) || is_read_only(pod, &mount.name),
                propagation: propagation(mount).into(),
                recursive_read_only: mount.recursive_read_only.as_deref() == Some("Enabled"),
                ..Default::default()
            })
        })
        .collect()
}

fn sub_path(mount: &VolumeMount, environment: &Environment) -> String {
    match (&mount.sub_path_expr, &mount.sub_path) {
        (Some(expression), _) if !expression.is_empty() => environment.expand(expression),
        (_, Some(path)) => path.clone(),
        _ => String::new(),
    }
}

/// Volumes made of API objects cannot be written to, nor claims that are read-only.
fn is_read_only(pod: &Pod, volume: &str) -> bool {
    let mut volumes = object::spec(pod).volumes.iter().flatten();
    volumes.find(|candidate| candidate.name == volume).is_some_and(|volume| {
        volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.projected.is_some()
            || volume.downward_api.is_some()
            || volume
                .persistent_volume_claim
                .as_ref()
                .is_some_and(|claim| claim.read_only.unwrap_or(false))
    })
}

fn propagation(mount: &VolumeMount) -> v1::MountPropagation {
    match mount.mount_propagation.as_deref() {
        Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
        Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
        _ => v1::MountPropagation::PropagationPrivate,
    }
}

fn sub_path_target(root: &Path, pod: &Pod, container: &str, volume: &str, index: usize) -> PathBuf {
    let folder = names::pod_directory(root, object::uid(pod)).join("volume-subpaths");
    folder.join(volume).join(container).join(index.to_string())
}

/// Binds `base/path` to `target` without ever leaving `base`; makes missing folders.
fn bind_sub_path(base: &Path, path: &str, target: &Path) -> io::Result<()> {
    // A mount from before a restart still shows what it should: unless it is stale.
    super::tear_down::unmount(target);
    let root =
        openat(CWD, base, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mode = Mode::from_raw_mode(fstat(&root)?.st_mode & 0o7777);
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let open = |path: &str, flags| openat2(&root, path, flags, Mode::empty(), inside);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let mut at = String::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "must not contain '..'"));
        }
        let parent = if at.is_empty() { open(".", flags)? } else { open(&at, flags)? };
        at = if at.is_empty() { part.to_owned() } else { format!("{at}/{part}") };
        if matches!(open(&at, flags), Err(rustix::io::Errno::NOENT)) {
            mkdirat(&parent, part, mode)?;
            // Like the volume itself, whatever the mask says.
            chmodat(&parent, part, mode, AtFlags::empty())?;
        }
    }
    let source = if at.is_empty() { open(".", flags)? } else { open(&at, flags)? };
    let is_folder = FileType::from_raw_mode(fstat(&source)?.st_mode).is_dir();
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if is_folder {
        fs::create_dir_all(target)?;
    } else {
        fs::File::create(target)?;
    }
    let through = format!("/proc/self/fd/{}", source.as_raw_fd());
    Ok(mount_bind_recursive(through.as_str(), target)?)
}
