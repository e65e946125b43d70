//! A pod's resources as the kernel takes them: QoS class, control groups, shares, quotas, limits.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use minik_cri::v1;

use super::quantity::{cpu_millis, memory_bytes};
use crate::config::CgroupDriver;
use crate::object;

/// Quality of service: who is throttled and killed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    /// The name in `status.qosClass`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class of a pod, from the requests and limits of all its containers.
pub(crate) fn qos(spec: &PodSpec) -> Qos {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut any = false;
    let mut guaranteed = true;
    for container in containers {
        let resources = container.resources.clone().unwrap_or_default();
        let (limits, requests) = (resources.limits.as_ref(), resources.requests.as_ref());
        let pairs = [
            (cpu_millis(limits), cpu_millis(requests)),
            (memory_bytes(limits), memory_bytes(requests)),
        ];
        for (limit, request) in pairs {
            let (limit, request) = (limit.unwrap_or(0), request.or(limit).unwrap_or(0));
            any |= limit > 0 || request > 0;
            guaranteed &= limit > 0 && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// The control group all of a pod's containers live under.
pub(crate) fn cgroup_parent(driver: CgroupDriver, qos: Qos, uid: &str) -> String {
    match driver {
        CgroupDriver::Systemd => {
            let uid = uid.replace('-', "_");
            match qos {
                Qos::Guaranteed => format!("kubepods-pod{uid}.slice"),
                Qos::Burstable => format!("kubepods-burstable-pod{uid}.slice"),
                Qos::BestEffort => format!("kubepods-besteffort-pod{uid}.slice"),
            }
        }
        CgroupDriver::Cgroupfs => match qos {
            Qos::Guaranteed => format!("/kubepods/pod{uid}"),
            Qos::Burstable => format!("/kubepods/burstable/pod{uid}"),
            Qos::BestEffort => format!("/kubepods/besteffort/pod{uid}"),
        },
    }
}

/// Length of the CPU quota's period in microseconds.
const CPU_PERIOD_US: i64 = 100_000;
/// The kernel takes no quota below this.
const CPU_QUOTA_MIN_US: i64 = 1000;
/// The kernel takes no fewer shares than this.
const CPU_SHARES_MIN: i64 = 2;
/// Pods with at least this priority are killed last.
const NODE_CRITICAL_PRIORITY: i32 = 2_000_001_000;

/// One container's limits.
pub(crate) fn container_resources(
    pod: &Pod,
    container: &Container,
    node_memory_bytes: i64,
) -> v1::LinuxContainerResources {
    let resources = container.resources.clone().unwrap_or_default();
    let (limits, requests) = (resources.limits.as_ref(), resources.requests.as_ref());
    let cpu_limit = cpu_millis(limits).unwrap_or(0);
    let cpu_request = cpu_millis(requests).unwrap_or(cpu_limit);
    let memory_limit = memory_bytes(limits).unwrap_or(0);
    let memory_request = memory_bytes(requests).unwrap_or(memory_limit);
    v1::LinuxContainerResources {
        cpu_shares: (cpu_request * 1024 / 1000).clamp(CPU_SHARES_MIN, 262_144),
        cpu_period: if cpu_limit > 0 { CPU_PERIOD_US } else { 0 },
        cpu_quota: match cpu_limit {
            0 => 0,
            limit => (limit * CPU_PERIOD_US / 1000).max(CPU_QUOTA_MIN_US),
        },
        memory_limit_in_bytes: memory_limit,
        // Equal to the memory limit: no swap.
        memory_swap_limit_in_bytes: memory_limit,
        oom_score_adj: oom_score(pod, memory_request, node_memory_bytes),
        ..Default::default()
    }
}

/// How eagerly the kernel kills the container when memory runs out: -997 late, 1000 first.
fn oom_score(pod: &Pod, memory_request: i64, node_memory_bytes: i64) -> i64 {
    let spec = object::spec(pod);
    if spec.priority.unwrap_or(0) >= NODE_CRITICAL_PRIORITY {
        return -997;
    }
    match qos(spec) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let share = memory_request.saturating_mul(1000) / node_memory_bytes.max(1);
            (1000 - share).clamp(3, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::serde_json::{Value, from_value, json};
    use test_case::test_case;

    use super::*;

    fn pod(resources: &Value) -> Pod {
        let container = json!({"name": "a", "resources": resources});
        from_value(json!({"metadata": {"uid": "u-1"}, "spec": {"containers": [container]}}))
            .expect("a pod")
    }

    #[test_case(&json!({}), "BestEffort")]
    #[test_case(&json!({"requests": {"cpu": "1"}}), "Burstable")]
    #[test_case(&json!({"limits": {"cpu": "1"}}), "Burstable")]
    #[test_case(&json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed")]
    #[test_case(
        &json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
        "Burstable"; "request below limit")]
    #[test_case(
        &json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}}),
        "Guaranteed"; "equal in another notation")]
    fn class(resources: &Value, class: &str) {
        assert_eq!(qos(object::spec(&pod(resources))).as_str(), class);
    }

    #[test]
    fn limits_become_kernel_numbers() {
        let pod = pod(&json!({
            "limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "100m"}
        }));
        let got = container_resources(&pod, &object::spec(&pod).containers[0], 1 << 30);
        let want = v1::LinuxContainerResources {
            cpu_shares: 102,
            cpu_period: 100_000,
            cpu_quota: 50_000,
            memory_limit_in_bytes: 64 << 20,
            memory_swap_limit_in_bytes: 64 << 20,
            oom_score_adj: 938,
            ..Default::default()
        };
        assert_eq!(got, want);
    }

    #[test_case(CgroupDriver::Systemd, Qos::Burstable => "kubepods-burstable-poda_b.slice")]
    #[test_case(CgroupDriver::Systemd, Qos::Guaranteed => "kubepods-poda_b.slice")]
    #[test_case(CgroupDriver::Cgroupfs, Qos::BestEffort => "/kubepods/besteffort/poda-b")]
    fn cgroups(driver: CgroupDriver, qos: Qos) -> String {
        cgroup_parent(driver, qos, "a-b")
    }
}
