//! A pod's volumes: made before its containers, kept up to date, removed after them.

pub(crate) mod atomic;
mod host_path;
pub(crate) mod mounts;
mod payload;
mod persistent;
mod tear_down;
mod token;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, ProjectedVolumeSource, Volume};
use kube::Client;
use rustix::mount::{MountFlags, mount};
use tokio::time::Instant;

use crate::object;
use crate::sources::{SourceError, Sources};
use crate::spec::fields::{FieldError, NodeFacts};
use crate::spec::{names, quantity};
use atomic::{File, Payload};
use payload::DEFAULT_MODE;
pub(crate) use tear_down::tear_down;

/// Why a volume cannot be made. The pod waits and tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: &'static str, name: String },
    #[error("{what} references non-existent config key: {key}")]
    NoKey { what: String, key: String },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("hostPath type check failed: {} is not a {kind}", path.display())]
    WrongType { path: PathBuf, kind: String },
    #[error("cannot get a token for service account {account}: {message}")]
    Token { account: String, message: String },
    #[error("persistentvolumeclaim \"{claim}\": {message}")]
    Claim { claim: String, message: String },
    #[error("volumes of type {0} are not supported yet")]
    Unsupported(String),
    #[error("volume \"{0}\" is not among the pod's volumes")]
    Unknown(String),
    #[error("subPath {path:?} of volume \"{volume}\": {source}")]
    SubPath { volume: String, path: String, source: io::Error },
}

/// Which volume failed.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
pub(crate) struct SetUpError {
    pub(crate) volume: String,
    pub(crate) source: VolumeError,
}

/// What making volumes needs.
#[derive(Clone, Copy)]
pub(crate) struct Tools<'a> {
    pub(crate) client: &'a Client,
    pub(crate) sources: &'a Sources,
    /// The kubelet's folder.
    pub(crate) root: &'a Path,
}

/// Where each volume is on the node.
pub(crate) type VolumePaths = HashMap<String, PathBuf>;

/// The volumes of one pod that are made.
#[derive(Default)]
pub(crate) struct Volumes {
    paths: VolumePaths,
    tokens: token::Tokens,
}

impl Volumes {
    /// Where each volume is on the node.
    pub(crate) fn paths(&self) -> VolumePaths {
        self.paths.clone()
    }

    /// When a token in a volume has to be renewed.
    pub(crate) fn renew_at(&self) -> Option<Instant> {
        self.tokens.renew_at()
    }

    /// Makes all volumes, and brings those that are there up to date. Can be called again.
    pub(crate) async fn set_up(
        &mut self,
        tools: Tools<'_>,
        pod: &Pod,
        facts: &NodeFacts,
    ) -> Result<(), SetUpError> {
        for volume in object::spec(pod).volumes.iter().flatten() {
            let path = self
                .set_up_one(tools, pod, facts, volume)
                .await
                .map_err(|source| SetUpError { volume: volume.name.clone(), source })?;
            self.paths.insert(volume.name.clone(), path);
        }
        Ok(())
    }

    async fn set_up_one(
        &self,
        tools: Tools<'_>,
        pod: &Pod,
        facts: &NodeFacts,
        volume: &Volume,
    ) -> Result<PathBuf, VolumeError> {
        let folder =
            |kind| names::volume_directory(tools.root, object::uid(pod), kind, &volume.name);
        let group = fs_group(pod);
        if let Some(source) = &volume.empty_dir {
            return empty_dir(&folder("empty-dir"), source, group);
        }
        if let Some(source) = &volume.host_path {
            return host_path::prepare(&source.path, source.type_.as_deref().unwrap_or_default());
        }
        if let Some(source) = &volume.persistent_volume_claim {
            return persistent::locate(tools.client, pod, &source.claim_name).await;
        }
        if volume.ephemeral.is_some() {
            let claim = format!("{}-{}", object::name(pod), volume.name);
            return persistent::locate(tools.client, pod, &claim).await;
        }
        let (kind, files) = self.files(tools, pod, facts, volume).await?;
        let folder = folder(kind);
        prepare_folder(&folder, kind != "configmap")?;
        let files = readable_by_group(files, group);
        let written = atomic::write(&folder, &files, group);
        written.map_err(|source| VolumeError::File { path: folder.clone(), source })?;
        Ok(folder)
    }

    /// The files of a volume that is made of API objects, and the name of its kind.
    async fn files(
        &self,
        tools: Tools<'_>,
        pod: &Pod,
        facts: &NodeFacts,
        volume: &Volume,
    ) -> Result<(&'static str, Payload), VolumeError> {
        if let Some(source) = &volume.config_map {
            let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
            let optional = source.optional.unwrap_or(false);
            let items = source.items.as_deref();
            let data = tools.config_map(pod, &source.name).await?;
            let name = ("configmap", source.name.as_str());
            return Ok(("configmap", chosen(name, data, items, mode, optional)?));
        }
        if let Some(source) = &volume.secret {
            let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
            let optional = source.optional.unwrap_or(false);
            let name = source.secret_name.clone().unwrap_or_default();
            let items = source.items.as_deref();
            let data = tools.secret(pod, &name).await?;
            let name = ("secret", name.as_str());
            return Ok(("secret", chosen(name, data, items, mode, optional)?));
        }
        if let Some(source) = &volume.downward_api {
            let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
            let items = source.items.as_deref().unwrap_or_default();
            return Ok(("downward-api", payload::downward(pod, facts, items, mode)?));
        }
        if let Some(source) = &volume.projected {
            return Ok(("projected", self.projected(tools, pod, facts, source).await?));
        }
        Err(VolumeError::Unsupported(type_name(volume)))
    }

    async fn projected(
        &self,
        tools: Tools<'_>,
        pod: &Pod,
        facts: &NodeFacts,
        projected: &ProjectedVolumeSource,
    ) -> Result<Payload, VolumeError> {
        let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
        let mut all = Payload::new();
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let optional = map.optional.unwrap_or(false);
                let items = map.items.as_deref();
                let data = tools.config_map(pod, &map.name).await?;
                let name = ("configmap", map.name.as_str());
                all.extend(chosen(name, data, items, mode, optional)?);
            } else if let Some(one) = &source.secret {
                let optional = one.optional.unwrap_or(false);
                let items = one.items.as_deref();
                let data = tools.secret(pod, &one.name).await?;
                let name = ("secret", one.name.as_str());
                all.extend(chosen(name, data, items, mode, optional)?);
            } else if let Some(api) = &source.downward_api {
                let items = api.items.as_deref().unwrap_or_default();
                all.extend(payload::downward(pod, facts, items, mode)?);
            } else if let Some(wanted) = &source.service_account_token {
                let token = self.tokens.get(tools.client, pod, wanted).await?;
                let owner = common_user(pod);
                let mode = if owner.is_some() { 0o600 } else { payload::bits(None, mode) };
                all.insert(wanted.path.clone(), File { data: token.into_bytes(), mode, owner });
            } else if source.cluster_trust_bundle.is_some() {
                return Err(VolumeError::Unsupported("projected clusterTrustBundle".into()));
            } else if source.pod_certificate.is_some() {
                return Err(VolumeError::Unsupported("projected podCertificate".into()));
            }
        }
        Ok(all)
    }
}

/// Entries of a ConfigMap or Secret, by key.
type Entries = BTreeMap<String, Vec<u8>>;

impl Tools<'_> {
    async fn config_map(&self, pod: &Pod, name: &str) -> Result<Option<Entries>, SourceError> {
        let map = self.sources.config_map(object::namespace(pod), name).await?;
        Ok(map.map(|map| payload::config_map_data(&map)))
    }

    async fn secret(&self, pod: &Pod, name: &str) -> Result<Option<Entries>, SourceError> {
        let secret = self.sources.secret(object::namespace(pod), name).await?;
        Ok(secret.map(|secret| payload::secret_data(&secret)))
    }
}

/// The chosen entries of a ConfigMap or Secret, which may be absent if it is optional.
fn chosen(
    (kind, name): (&'static str, &str),
    data: Option<Entries>,
    items: Option<&[k8s_openapi::api::core::v1::KeyToPath]>,
    mode: i32,
    optional: bool,
) -> Result<Payload, VolumeError> {
    match data {
        Some(data) => payload::select(&format!("{kind} {name}"), data, items, mode, optional),
        None if optional => Ok(Payload::new()),
        None => Err(VolumeError::NotFound { kind, name: name.into() }),
    }
}

/// The group that the pod's volumes belong to.
fn fs_group(pod: &Pod) -> Option<u32> {
    let context = object::spec(pod).security_context.as_ref()?;
    context.fs_group.and_then(|group| u32::try_from(group).ok())
}

/// The one user that all containers run as, if the pod says so: tokens can be his alone.
fn common_user(pod: &Pod) -> Option<u32> {
    let of_pod = object::spec(pod).security_context.as_ref().and_then(|it| it.run_as_user);
    let mut users = object::containers(pod).into_iter().map(|spec| {
        let own = spec.container.security_context.and_then(|context| context.run_as_user);
        own.or(of_pod)
    });
    let first = users.next()??;
    if users.all(|user| user == Some(first)) { u32::try_from(first).ok() } else { None }
}

/// With an owning group, the group can read what the owner can.
fn readable_by_group(mut files: Payload, group: Option<u32>) -> Payload {
    if group.is_some() {
        files.values_mut().for_each(|file| file.mode |= 0o440);
    }
    files
}

/// Makes a volume's folder; secret ones live in memory, never on the disk.
fn prepare_folder(folder: &Path, in_memory: bool) -> Result<(), VolumeError> {
    let failed = |source| VolumeError::File { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    if in_memory && !is_mount_point(folder).map_err(failed)? {
        mount_tmpfs(folder, None).map_err(failed)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(failed)?;
    }
    Ok(())
}

/// A folder on another file system than its parent.
fn is_mount_point(folder: &Path) -> io::Result<bool> {
    let parent = folder.parent().unwrap_or(folder);
    Ok(folder.metadata()?.dev() != parent.metadata()?.dev())
}

fn empty_dir(
    folder: &Path,
    source: &EmptyDirVolumeSource,
    group: Option<u32>,
) -> Result<PathBuf, VolumeError> {
    let failed = |source| VolumeError::File { path: folder.to_owned(), source };
    let is_memory = source.medium.as_deref() == Some("Memory");
    // What the pod wrote must survive a restart of the kubelet: only a new folder is set up. One
    // in memory is new again after a reboot.
    if folder.is_dir() && (!is_memory || is_mount_point(folder).map_err(failed)?) {
        return Ok(folder.to_owned());
    }
    fs::create_dir_all(folder).map_err(failed)?;
    if is_memory {
        let limit = source.size_limit.as_ref().and_then(quantity::units);
        mount_tmpfs(folder, limit).map_err(failed)?;
    }
    if group.is_some() {
        chown(folder, None, group).map_err(failed)?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    fs::set_permissions(folder, Permissions::from_mode(mode)).map_err(failed)?;
    Ok(folder.to_owned())
}

fn mount_tmpfs(folder: &Path, size_bytes: Option<i64>) -> io::Result<()> {
    let options = size_bytes.map(|size| format!("size={size}")).unwrap_or_default();
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount("tmpfs", folder, "tmpfs", flags, options.as_c_str())?)
}

/// The name of the field that says what a volume is, for messages.
fn type_name(volume: &Volume) -> String {
    let value = k8s_openapi::serde_json::to_value(volume).unwrap_or_default();
    let keys = value.as_object().into_iter().flat_map(|map| map.keys());
    keys.filter(|key| *key != "name").map(String::as_str).collect::<Vec<_>>().join(", ")
}
