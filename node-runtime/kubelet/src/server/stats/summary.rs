//! The document of `/stats/summary`.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::serde_json::{Value, json};

use super::{NodeUse, PodUse, Use};

/// The whole document.
pub(super) fn document(node: &NodeUse, pods: &[PodUse]) -> Value {
    let used = node.memory_total.saturating_sub(node.memory_available);
    let time = time(node.at_nanos);
    json!({
        "node": {
            "nodeName": node.name,
            "startTime": time,
            "cpu": {"time": time, "usageCoreNanoSeconds": node.cpu_nanos},
            "memory": {
                "time": time,
                "availableBytes": node.memory_available,
                "usageBytes": used,
                "workingSetBytes": used,
            },
            "fs": {
                "time": time,
                "availableBytes": node.disk_available,
                "capacityBytes": node.disk_total,
                "usedBytes": node.disk_total.saturating_sub(node.disk_available),
            },
        },
        "pods": pods.iter().map(pod).collect::<Vec<_>>(),
    })
}

fn pod(pod: &PodUse) -> Value {
    let sum = |field: fn(&Use) -> u64| pod.containers.iter().map(field).sum::<u64>();
    let at = pod.containers.iter().map(|it| it.at_nanos).max().unwrap_or(0);
    json!({
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": time(at),
        "containers": pod.containers.iter().map(container).collect::<Vec<_>>(),
        "cpu": {
            "time": time(at),
            "usageNanoCores": sum(|it| it.cpu_nano_cores),
            "usageCoreNanoSeconds": sum(|it| it.cpu_nanos),
        },
        "memory": {
            "time": time(at),
            "usageBytes": sum(|it| it.memory_usage),
            "workingSetBytes": sum(|it| it.memory_working_set),
            "rssBytes": sum(|it| it.memory_rss),
        },
    })
}

fn container(container: &Use) -> Value {
    let time = time(container.at_nanos);
    json!({
        "name": container.name,
        "startTime": time,
        "cpu": {
            "time": time,
            "usageNanoCores": container.cpu_nano_cores,
            "usageCoreNanoSeconds": container.cpu_nanos,
        },
        "memory": {
            "time": time,
            "usageBytes": container.memory_usage,
            "workingSetBytes": container.memory_working_set,
            "rssBytes": container.memory_rss,
        },
        "rootfs": {"time": time, "usedBytes": container.disk_used},
    })
}

fn time(nanos: i64) -> String {
    let seconds = nanos.div_euclid(1_000_000_000);
    Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_the_sum_of_their_containers() {
        let (node, mut pods) = super::super::tests::sample();
        let twin = pods[0].containers[0].clone();
        pods[0].containers.push(twin);
        let document = document(&node, &pods);
        assert_eq!(document["pods"][0]["memory"]["workingSetBytes"], 8192);
        assert_eq!(document["pods"][0]["cpu"]["usageCoreNanoSeconds"], 3_000_000_000_u64);
        assert_eq!(document["node"]["memory"]["time"], "2026-01-01T00:00:00Z");
    }
}
