//! The configuration of one container.

use k8s_openapi::api::core::v1::Pod;
use minik_cri::v1;

use super::env::Environment;
use super::security::{self, ImageUser};
use super::{names, resources};
use crate::object::ContainerSpec;

/// What is known about a container besides its specification.
pub(crate) struct Inputs<'a> {
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) restarts: u32,
    pub(crate) environment: &'a Environment,
    pub(crate) mounts: Vec<v1::Mount>,
    /// What to run, as the runtime named it when it was pulled or looked up.
    pub(crate) image_ref: &'a str,
    pub(crate) image_user: ImageUser,
    /// Runtime id of the container whose processes an ephemeral container sees.
    pub(crate) target_id: Option<&'a str>,
    pub(crate) node_memory_bytes: i64,
}

/// What the runtime is told to make the container.
pub(crate) fn container_config(pod: &Pod, inputs: Inputs<'_>) -> v1::ContainerConfig {
    let container = &inputs.spec.container;
    let expand = |list: &Option<Vec<String>>| {
        list.iter().flatten().map(|word| inputs.environment.expand(word)).collect()
    };
    let image = container.image.clone().unwrap_or_default();
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata {
            name: container.name.clone(),
            attempt: inputs.restarts,
        }),
        image: Some(v1::ImageSpec {
            image: inputs.image_ref.to_owned(),
            user_specified_image: image,
            ..Default::default()
        }),
        command: expand(&container.command),
        args: expand(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: inputs
            .environment
            .iter()
            .map(|(key, value)| v1::KeyValue { key: key.into(), value: value.as_bytes().to_vec() })
            .collect(),
        mounts: inputs.mounts,
        labels: names::container_labels(pod, &container.name),
        annotations: names::container_annotations(pod, container, inputs.restarts),
        log_path: names::log_path(&container.name, inputs.restarts),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::container_resources(
                pod,
                container,
                inputs.node_memory_bytes,
            )),
            security_context: Some(security::container_context(
                pod,
                container,
                &inputs.image_user,
                inputs.target_id,
            )),
        }),
        stop_signal: stop_signal(container.lifecycle.as_ref()),
        ..Default::default()
    }
}

/// `lifecycle.stopSignal`; absent means what the image says.
fn stop_signal(lifecycle: Option<&k8s_openapi::api::core::v1::Lifecycle>) -> i32 {
    let name = lifecycle.and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    let signal = name.and_then(v1::Signal::from_str_name);
    signal.unwrap_or(v1::Signal::RuntimeDefault).into()
}
