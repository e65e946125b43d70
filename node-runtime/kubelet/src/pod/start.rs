//! Starts one container: image, configuration, create, start, `postStart`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use minik_cri::{RuntimeError, v1};

use super::hook;
use crate::images::{Image, ImageError, Request};
use crate::object::{self, ContainerSpec};
use crate::shared::Shared;
use crate::sources::SourceError;
use crate::spec::container::{Inputs, container_config};
use crate::spec::env::{EnvError, Environment, environment};
use crate::spec::security::{SecurityError, verify_non_root};
use crate::spec::{dns, names, service_env};
use crate::volume::{VolumeError, VolumePaths, mounts};
use minik_client::Level;

/// Where a pod's containers run.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) sandbox: String,
    pub(crate) sandbox_config: v1::PodSandboxConfig,
    pub(crate) pod_ips: Vec<String>,
    pub(crate) volumes: VolumePaths,
}

impl Place {
    /// The pod's main address; the node's if it has none of its own.
    pub(crate) fn address(&self) -> String {
        let own = self.pod_ips.first().cloned();
        own.unwrap_or_else(|| self.shared.config.node_ip.to_string())
    }

    pub(crate) fn event(&self, spec: &ContainerSpec, level: Level, reason: &str, message: String) {
        let about = object::reference(&self.pod, Some(spec));
        self.shared.recorder.record_ref(about, level, reason, message);
    }
}

/// Why the container cannot be configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
}

/// Why the container does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Create(RuntimeError),
    /// The container is there, but its process could not be started.
    #[error("{error}")]
    Run { id: String, error: RuntimeError },
    /// The process was started and stopped again.
    #[error("PostStartHook failed: {message}")]
    PostStart { id: String, message: String },
}

impl StartError {
    /// The reason that `kubectl get pods` shows.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Image(error) => error.reason(),
            Self::Config(_) => "CreateContainerConfigError",
            Self::Create(_) => "CreateContainerError",
            Self::Run { .. } => "RunContainerError",
            Self::PostStart { .. } => "PostStartHookError",
        }
    }
}

/// Starts run number `attempt` of a container; returns its runtime id. `target_id` is the
/// container whose processes an ephemeral one sees.
pub(crate) async fn start(
    place: &Place,
    spec: &ContainerSpec,
    attempt: u32,
    target_id: Option<String>,
) -> Result<String, StartError> {
    let image = pull(place, spec).await?;
    let config = configure(place, spec, attempt, &image, target_id.as_deref()).await;
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            place.event(spec, Level::Warning, "Failed", format!("Error: {error}"));
            return Err(error.into());
        }
    };
    let runtime = &place.shared.runtime;
    let created =
        runtime.create_container(&place.sandbox, config, place.sandbox_config.clone()).await;
    let id = match created {
        Ok(id) => id,
        Err(error) => {
            place.event(spec, Level::Warning, "Failed", format!("Error: {error}"));
            return Err(StartError::Create(error));
        }
    };
    let name = &spec.container.name;
    place.event(spec, Level::Normal, "Created", format!("Container created: {name}"));
    if let Err(error) = runtime.start_container(&id).await {
        place.event(spec, Level::Warning, "Failed", format!("Error: {error}"));
        return Err(StartError::Run { id, error });
    }
    place.event(spec, Level::Normal, "Started", format!("Container started: {name}"));
    post_start(place, spec, &id)
        .await
        .map_err(|message| StartError::PostStart { id: id.clone(), message })?;
    Ok(id)
}

async fn pull(place: &Place, spec: &ContainerSpec) -> Result<Image, ImageError> {
    let namespace = object::namespace(&place.pod);
    let mut secrets = Vec::new();
    for reference in object::spec(&place.pod).image_pull_secrets.iter().flatten() {
        // A pull secret that is not there only means one password less, as upstream has it.
        if let Ok(Some(secret)) = place.shared.sources.secret(namespace, &reference.name).await {
            secrets.push(secret);
        }
    }
    let image = spec.container.image.as_deref().unwrap_or_default();
    let request = Request {
        image,
        policy: spec.container.image_pull_policy.as_deref(),
        secrets: &secrets,
        sandbox: &place.sandbox_config,
    };
    let pulling = || {
        place.event(spec, Level::Normal, "Pulling", format!("Pulling image \"{image}\""));
    };
    match place.shared.images.ensure(request, pulling).await {
        Ok(found) => {
            place.event(spec, Level::Normal, "Pulled", found.story.clone());
            Ok(found)
        }
        Err(error) => {
            let reason = match &error {
                ImageError::Name(_) => "InspectFailed",
                ImageError::NeverPulled(_) => "ErrImageNeverPull",
                ImageError::Inspect { .. } | ImageError::Pull { .. } => "Failed",
            };
            place.event(spec, Level::Warning, reason, error.to_string());
            place.event(spec, Level::Warning, "Failed", format!("Error: {}", error.reason()));
            Err(error)
        }
    }
}

async fn configure(
    place: &Place,
    spec: &ContainerSpec,
    attempt: u32,
    image: &Image,
    target_id: Option<&str>,
) -> Result<v1::ContainerConfig, ConfigError> {
    let (shared, pod, container) = (&place.shared, &place.pod, &spec.container);
    verify_non_root(pod, container, &image.user)?;
    let objects = shared.sources.for_environment(pod, container).await?;
    let services = shared.services.state();
    let services = service_env::variables(pod, services.iter().map(AsRef::as_ref));
    let facts = shared.facts(&facts_ips(place));
    let variables = environment(pod, container, &facts, &objects, services)?;
    let mounts = all_mounts(place, spec, attempt, &variables)?;
    let logs = names::log_directory(&shared.config.paths.pod_logs, pod).join(&container.name);
    fs::create_dir_all(&logs).map_err(|source| file_error(&logs, source))?;
    Ok(container_config(
        pod,
        Inputs {
            spec,
            restarts: attempt,
            environment: &variables,
            mounts,
            image_ref: &image.id,
            image_user: image.user.clone(),
            target_id,
            node_memory_bytes: shared.memory_bytes,
        },
    ))
}

/// The pod's addresses as its containers see them.
fn facts_ips(place: &Place) -> Vec<String> {
    match place.pod_ips.is_empty() {
        true => place.shared.host_ips(),
        false => place.pod_ips.clone(),
    }
}

fn file_error(path: &std::path::Path, source: std::io::Error) -> ConfigError {
    ConfigError::File { path: path.display().to_string(), source }
}

fn all_mounts(
    place: &Place,
    spec: &ContainerSpec,
    attempt: u32,
    variables: &Environment,
) -> Result<Vec<v1::Mount>, ConfigError> {
    let (pod, container) = (&place.pod, &spec.container);
    let root = &place.shared.config.paths.root;
    let mut all = mounts::mounts(root, pod, container, &place.volumes, variables)?;
    let is_taken = |all: &[v1::Mount], path: &str| all.iter().any(|it| it.container_path == path);
    if !is_taken(&all, "/etc/hosts") {
        all.push(hosts_mount(place)?);
    }
    let message_path = container
        .termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or(names::DEFAULT_MESSAGE_PATH);
    if !is_taken(&all, message_path) {
        let file = super::message::file(root, pod, &container.name, attempt);
        make_message_file(&file).map_err(|source| file_error(&file, source))?;
        all.push(v1::Mount {
            container_path: message_path.to_owned(),
            host_path: file.display().to_string(),
            ..Default::default()
        });
    }
    Ok(all)
}

/// The container may run as any user: all of them can write the message.
fn make_message_file(file: &std::path::Path) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::File::create(file)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o666))
}

/// The pod's `/etc/hosts`, one file for all its containers.
fn hosts_mount(place: &Place) -> Result<v1::Mount, ConfigError> {
    let pod = &place.pod;
    let config = &place.shared.config;
    let file = names::pod_directory(&config.paths.root, object::uid(pod)).join("etc-hosts");
    let text = if object::is_host_network(pod) {
        let own = fs::read_to_string("/etc/hosts").unwrap_or_default();
        format!("# Kubernetes-managed hosts file (host network).\n{own}{}", dns::host_aliases(pod))
    } else {
        dns::hosts_file(pod, &place.pod_ips, &config.cluster_domain)
    };
    let write = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        // The same file stays, because containers have it mounted.
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))
    };
    write().map_err(|source| file_error(&file, source))?;
    Ok(v1::Mount {
        container_path: "/etc/hosts".into(),
        host_path: file.display().to_string(),
        ..Default::default()
    })
}

/// Runs the hook; if it fails, the container is stopped again.
async fn post_start(place: &Place, spec: &ContainerSpec, id: &str) -> Result<(), String> {
    let hook = spec.container.lifecycle.as_ref().and_then(|it| it.post_start.as_ref());
    let Some(handler) = hook else { return Ok(()) };
    let Err(message) = hook::run(place, spec, id, handler, hook::LONGEST).await else {
        return Ok(());
    };
    place.event(
        spec,
        Level::Warning,
        "FailedPostStartHook",
        format!("PostStartHook failed: {message}"),
    );
    let grace = object::grace(&place.pod);
    if let Err(error) = super::stop::stop(place, spec, id, grace, "FailedPostStartHook").await {
        tracing::warn!(container = spec.container.name, %error, "not stopped after its hook failed");
    }
    Err(message)
}
