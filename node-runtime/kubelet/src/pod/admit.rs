//! Pods that this kubelet does not run, and says so, rather than run them in another way than
//! they ask for.

use k8s_openapi::api::core::v1::Pod;

use crate::object;
use crate::status::Failure;

/// Why the pod is refused, if it is.
pub(super) fn refuse(pod: &Pod) -> Option<Failure> {
    let spec = object::spec(pod);
    let context = spec.security_context.as_ref();
    let mut sysctls = context.and_then(|context| context.sysctls.as_ref()).into_iter().flatten();
    if let Some(unsafe_one) =
        sysctls.find(|it| !minik_meta::sysctls::SAFE.contains(&it.name.as_str()))
    {
        return Some(Failure {
            reason: "SysctlForbidden".into(),
            message: format!("forbidden sysctl: \"{}\" not allowlisted", unsafe_one.name),
        });
    }
    let containers = object::containers(pod);
    let wants = [
        ("user namespaces (hostUsers: false)", spec.host_users == Some(false)),
        ("resource claims", spec.resource_claims.as_ref().is_some_and(|list| !list.is_empty())),
        (
            "block volumes (volumeDevices)",
            containers.iter().any(|it| {
                it.container.volume_devices.as_ref().is_some_and(|list| !list.is_empty())
            }),
        ),
        ("the operating system it names", spec.os.as_ref().is_some_and(|os| os.name != "linux")),
    ];
    let missing: Vec<&str> =
        wants.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect();
    if missing.is_empty() {
        return None;
    }
    let message = format!("this kubelet does not support {}", missing.join(", "));
    Some(Failure { reason: "NotSupported".into(), message })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::serde_json::{Value, from_value, json};
    use test_case::test_case;

    use super::*;

    #[test_case(&json!({}) => None)]
    #[test_case(&json!({"hostUsers": true}) => None)]
    #[test_case(&json!({"hostUsers": false})
        => Some("NotSupported: this kubelet does not support user namespaces (hostUsers: false)".into()))]
    #[test_case(&json!({"securityContext": {"sysctls": [
        {"name": "net.ipv4.tcp_syncookies", "value": "1"}]}}) => None)]
    #[test_case(&json!({"securityContext": {"sysctls": [
        {"name": "kernel.msgmax", "value": "1"}]}})
        => Some("SysctlForbidden: forbidden sysctl: \"kernel.msgmax\" not allowlisted".into()))]
    fn pods(extra: &Value) -> Option<String> {
        let mut spec = json!({"containers": [{"name": "a"}]});
        spec.as_object_mut().expect("an object").extend(extra.as_object().expect("too").clone());
        let pod: Pod = from_value(json!({"spec": spec})).expect("a pod");
        refuse(&pod).map(|failure| format!("{}: {}", failure.reason, failure.message))
    }
}
