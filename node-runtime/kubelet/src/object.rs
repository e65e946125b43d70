//! Reading pods without `Option` at every step: what a pod from the API always has.

use std::sync::LazyLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

static EMPTY: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);

/// What a container is for; decides when it starts and what its exit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Runs to completion before the next one starts.
    Init,
    /// An init container with restart policy `Always`: starts in its turn and stays.
    Sidecar,
    /// What the pod is for.
    App,
    /// Added to a running pod by `kubectl debug`; never restarted.
    Ephemeral,
}

/// A container of the pod with its place in the pod's life.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContainerSpec {
    pub(crate) kind: Kind,
    pub(crate) container: Container,
    /// Whose process namespace an ephemeral container joins.
    pub(crate) target: Option<String>,
}

pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub(crate) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

pub(crate) fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

pub(crate) fn restart_policy(pod: &Pod) -> &str {
    spec(pod).restart_policy.as_deref().unwrap_or("Always")
}

pub(crate) fn is_host_network(pod: &Pod) -> bool {
    spec(pod).host_network.unwrap_or(false)
}

pub(crate) fn service_account(pod: &Pod) -> &str {
    spec(pod).service_account_name.as_deref().unwrap_or("default")
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether nothing of the pod will ever run again.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the API asks for the pod's end.
pub(crate) fn is_deleted(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// How long the pod's containers get to end: what the deletion says, else what the pod says.
pub(crate) fn grace(pod: &Pod) -> Duration {
    let seconds = pod
        .metadata
        .deletion_grace_period_seconds
        .or(spec(pod).termination_grace_period_seconds)
        .unwrap_or(30);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// All containers: init ones and sidecars first, in the order they start.
pub(crate) fn containers(pod: &Pod) -> Vec<ContainerSpec> {
    let spec = spec(pod);
    let init = spec.init_containers.iter().flatten().map(|container| ContainerSpec {
        kind: match container.restart_policy.as_deref() {
            Some("Always") => Kind::Sidecar,
            _ => Kind::Init,
        },
        container: container.clone(),
        target: None,
    });
    let app = spec.containers.iter().map(|container| ContainerSpec {
        kind: Kind::App,
        container: container.clone(),
        target: None,
    });
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| ContainerSpec {
        kind: Kind::Ephemeral,
        target: container.target_container_name.clone().filter(|name| !name.is_empty()),
        container: Container {
            args: container.args.clone(),
            command: container.command.clone(),
            env: container.env.clone(),
            env_from: container.env_from.clone(),
            image: container.image.clone(),
            image_pull_policy: container.image_pull_policy.clone(),
            name: container.name.clone(),
            security_context: container.security_context.clone(),
            stdin: container.stdin,
            stdin_once: container.stdin_once,
            termination_message_path: container.termination_message_path.clone(),
            termination_message_policy: container.termination_message_policy.clone(),
            tty: container.tty,
            volume_mounts: container.volume_mounts.clone(),
            working_dir: container.working_dir.clone(),
            ..Default::default()
        },
    });
    init.chain(app).chain(ephemeral).collect()
}

/// How events name the pod, or one container in it.
pub(crate) fn reference(pod: &Pod, container: Option<&ContainerSpec>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: container.map(|spec| {
            let list = match spec.kind {
                Kind::Init | Kind::Sidecar => "initContainers",
                Kind::App => "containers",
                Kind::Ephemeral => "ephemeralContainers",
            };
            format!("spec.{list}{{{}}}", spec.container.name)
        }),
    }
}

/// The present time in whole seconds, as the API writes it.
pub(crate) fn now() -> Time {
    whole_seconds(Timestamp::now())
}

/// A runtime's nanoseconds since 1970; 0 means that it never happened.
pub(crate) fn from_nanos(nanos: i64) -> Option<Time> {
    if nanos <= 0 {
        return None;
    }
    Timestamp::from_nanosecond(i128::from(nanos)).ok().map(whole_seconds)
}

fn whole_seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
