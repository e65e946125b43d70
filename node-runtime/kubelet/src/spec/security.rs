//! Who a container runs as and what it may do.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile,
    SecurityContext,
};
use minik_cri::v1;
use v1::security_profile::ProfileType;

use crate::object;

/// Parts of `/proc` and `/sys` that containers do not see.
const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Parts of `/proc` that containers may only read.
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The user that an image asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageUser {
    pub(crate) uid: Option<i64>,
    pub(crate) name: String,
}

impl ImageUser {
    /// As the runtime reports it.
    pub(crate) fn of(image: &v1::Image) -> Self {
        Self { uid: image.uid.map(|uid| uid.value), name: image.username.clone() }
    }
}

/// Why a container must not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecurityError {
    #[error("container has runAsNonRoot and image will run as root")]
    ImageIsRoot,
    #[error("container's runAsUser breaks non-root policy")]
    UserIsRoot,
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({0}), cannot verify user is non-root"
    )]
    UnknownUser(String),
}

/// Refuses root where the pod asks for that.
pub(crate) fn verify_non_root(
    pod: &Pod,
    container: &Container,
    image: &ImageUser,
) -> Result<(), SecurityError> {
    let (of_pod, own) = contexts(pod, container);
    if !own.run_as_non_root.or(of_pod.run_as_non_root).unwrap_or(false) {
        return Ok(());
    }
    match own.run_as_user.or(of_pod.run_as_user) {
        Some(0) => Err(SecurityError::UserIsRoot),
        Some(_) => Ok(()),
        None => match image.uid {
            Some(0) => Err(SecurityError::ImageIsRoot),
            Some(_) => Ok(()),
            None if image.name.is_empty() => Err(SecurityError::ImageIsRoot),
            None => Err(SecurityError::UnknownUser(image.name.clone())),
        },
    }
}

fn contexts(pod: &Pod, container: &Container) -> (PodSecurityContext, SecurityContext) {
    let of_pod = object::spec(pod).security_context.clone().unwrap_or_default();
    (of_pod, container.security_context.clone().unwrap_or_default())
}

/// The namespaces a pod shares with the node or among its containers.
pub(crate) fn namespaces(pod: &Pod, target_id: Option<&str>) -> v1::NamespaceOption {
    let spec = object::spec(pod);
    let of = |is_host: Option<bool>| match is_host.unwrap_or(false) {
        true => v1::NamespaceMode::Node,
        false => v1::NamespaceMode::Pod,
    };
    let pid = if let Some(true) = spec.host_pid {
        v1::NamespaceMode::Node
    } else if target_id.is_some() {
        v1::NamespaceMode::Target
    } else if let Some(true) = spec.share_process_namespace {
        v1::NamespaceMode::Pod
    } else {
        v1::NamespaceMode::Container
    };
    v1::NamespaceOption {
        network: of(spec.host_network).into(),
        pid: pid.into(),
        ipc: of(spec.host_ipc).into(),
        target_id: target_id.unwrap_or_default().into(),
        userns_options: None,
    }
}

/// Whether any container of the pod is privileged: then its sandbox is, too.
pub(crate) fn has_privileged(pod: &Pod) -> bool {
    object::containers(pod).iter().any(|spec| {
        let context = spec.container.security_context.as_ref();
        context.and_then(|context| context.privileged).unwrap_or(false)
    })
}

/// The sandbox's security context.
pub(crate) fn sandbox_context(pod: &Pod) -> v1::LinuxSandboxSecurityContext {
    let context = object::spec(pod).security_context.clone().unwrap_or_default();
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod, None)),
        selinux_options: context.se_linux_options.as_ref().map(selinux),
        run_as_user: context.run_as_user.map(|value| v1::Int64Value { value }),
        run_as_group: context.run_as_group.map(|value| v1::Int64Value { value }),
        supplemental_groups: groups(&context),
        privileged: has_privileged(pod),
        // The pause process needs nothing that the default profile forbids.
        seccomp: Some(profile(ProfileType::RuntimeDefault)),
        ..Default::default()
    }
}

fn groups(context: &PodSecurityContext) -> Vec<i64> {
    let mut groups = context.supplemental_groups.clone().unwrap_or_default();
    groups.extend(context.fs_group);
    groups
}

/// One container's security context.
pub(crate) fn container_context(
    pod: &Pod,
    container: &Container,
    image: &ImageUser,
    target_id: Option<&str>,
) -> v1::LinuxContainerSecurityContext {
    let (of_pod, own) = contexts(pod, container);
    let privileged = own.privileged.unwrap_or(false);
    let user = own.run_as_user.or(of_pod.run_as_user).or(image.uid);
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| match unmasked {
        true => Vec::new(),
        false => list.iter().map(|path| (*path).to_owned()).collect(),
    };
    let capabilities = own.capabilities.clone().unwrap_or_default();
    v1::LinuxContainerSecurityContext {
        capabilities: Some(v1::Capability {
            add_capabilities: capabilities.add.unwrap_or_default(),
            drop_capabilities: capabilities.drop.unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged,
        namespace_options: Some(namespaces(pod, target_id)),
        selinux_options: own
            .se_linux_options
            .as_ref()
            .or(of_pod.se_linux_options.as_ref())
            .map(selinux),
        run_as_user: user.map(|value| v1::Int64Value { value }),
        run_as_username: if user.is_none() { image.name.clone() } else { String::new() },
        run_as_group: own
            .run_as_group
            .or(of_pod.run_as_group)
            .map(|value| v1::Int64Value { value }),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: groups(&of_pod),
        supplemental_groups_policy: match of_pod.supplemental_groups_policy.as_deref() {
            Some("Strict") => v1::SupplementalGroupsPolicy::Strict.into(),
            _ => v1::SupplementalGroupsPolicy::Merge.into(),
        },
        no_new_privs: own.allow_privilege_escalation == Some(false) && !privileged,
        masked_paths: paths(MASKED),
        readonly_paths: paths(READ_ONLY),
        seccomp: Some(seccomp(own.seccomp_profile.or(of_pod.seccomp_profile), privileged)),
        apparmor: own.app_armor_profile.or(of_pod.app_armor_profile).map(apparmor),
        ..Default::default()
    }
}

fn profile(kind: ProfileType) -> v1::SecurityProfile {
    v1::SecurityProfile { profile_type: kind.into(), localhost_ref: String::new() }
}

fn seccomp(wanted: Option<SeccompProfile>, privileged: bool) -> v1::SecurityProfile {
    match wanted {
        Some(_) if privileged => profile(ProfileType::Unconfined),
        Some(wanted) => named_profile(&wanted.type_, wanted.localhost_profile),
        None => profile(ProfileType::Unconfined),
    }
}

fn apparmor(wanted: AppArmorProfile) -> v1::SecurityProfile {
    named_profile(&wanted.type_, wanted.localhost_profile)
}

fn named_profile(kind: &str, local: Option<String>) -> v1::SecurityProfile {
    match kind {
        "RuntimeDefault" => profile(ProfileType::RuntimeDefault),
        "Localhost" => v1::SecurityProfile {
            profile_type: ProfileType::Localhost.into(),
            localhost_ref: local.unwrap_or_default(),
        },
        _ => profile(ProfileType::Unconfined),
    }
}

fn selinux(options: &SELinuxOptions) -> v1::SeLinuxOption {
    v1::SeLinuxOption {
        user: options.user.clone().unwrap_or_default(),
        role: options.role.clone().unwrap_or_default(),
        r#type: options.type_.clone().unwrap_or_default(),
        level: options.level.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::serde_json::{Value, from_value, json};
    use test_case::test_case;

    use super::*;

    fn parts(pod_context: &Value, own: &Value) -> (Pod, Container) {
        let pod = json!({"spec": {"securityContext": pod_context, "containers": []}});
        let container = json!({"name": "c", "securityContext": own});
        (from_value(pod).expect("a pod"), from_value(container).expect("a container"))
    }

    fn user(uid: Option<i64>, name: &str) -> ImageUser {
        ImageUser { uid, name: name.into() }
    }

    #[test_case(&json!({}), user(Some(0), "") => Ok(()))]
    #[test_case(&json!({"runAsNonRoot": true}), user(Some(0), "")
        => Err(SecurityError::ImageIsRoot))]
    #[test_case(&json!({"runAsNonRoot": true}), user(Some(7), "") => Ok(()))]
    #[test_case(&json!({"runAsNonRoot": true}), user(None, "www")
        => Err(SecurityError::UnknownUser("www".into())))]
    #[test_case(&json!({"runAsNonRoot": true, "runAsUser": 0}), user(Some(7), "")
        => Err(SecurityError::UserIsRoot))]
    fn non_root(own: &Value, image: ImageUser) -> Result<(), SecurityError> {
        let (pod, container) = parts(&json!({}), own);
        verify_non_root(&pod, &container, &image)
    }

    #[test]
    fn container_overrides_pod() {
        let (pod, container) = parts(
            &json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]}),
            &json!({"runAsUser": 9, "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]}}),
        );
        let got = container_context(&pod, &container, &user(Some(5), ""), None);
        assert_eq!(got.run_as_user, Some(v1::Int64Value { value: 9 }));
        assert_eq!(got.run_as_group, Some(v1::Int64Value { value: 2 }));
        assert_eq!(got.supplemental_groups, [4, 3]);
        assert!(got.no_new_privs);
        assert_eq!(got.capabilities.expect("set").drop_capabilities, ["ALL"]);
        assert_eq!(got.masked_paths.len(), MASKED.len());
    }

    #[test]
    fn privileged_sees_everything() {
        let (pod, container) = parts(
            &json!({}),
            &json!({"privileged": true,
            "seccompProfile": {"type": "RuntimeDefault"}}),
        );
        let got = container_context(&pod, &container, &ImageUser::default(), None);
        assert!(got.masked_paths.is_empty() && got.readonly_paths.is_empty());
        assert_eq!(got.seccomp, Some(profile(ProfileType::Unconfined)));
    }
}
