//! What containers use: `/stats/summary` for people and metrics servers, `/metrics/resource` for
//! those that read Prometheus' text.

mod prometheus;
mod summary;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use minik_cri::v1;

use super::Served;
use crate::spec::names;

/// One container's use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Use {
    name: String,
    /// When it was measured, in nanoseconds since 1970.
    at_nanos: i64,
    cpu_nanos: u64,
    cpu_nano_cores: u64,
    memory_working_set: u64,
    memory_usage: u64,
    memory_rss: u64,
    disk_used: u64,
}

/// One pod's containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PodUse {
    namespace: String,
    name: String,
    uid: String,
    containers: Vec<Use>,
}

/// The node as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NodeUse {
    name: String,
    at_nanos: i64,
    cpu_nanos: u64,
    memory_total: u64,
    memory_available: u64,
    disk_total: u64,
    disk_available: u64,
}

pub(super) async fn summary(State(served): State<Served>) -> Response {
    match measure(&served).await {
        Ok((node, pods)) => {
            let text = summary::document(&node, &pods).to_string();
            ([(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}

pub(super) async fn resource(State(served): State<Served>) -> Response {
    match measure(&served).await {
        Ok((node, pods)) => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], prometheus::text(&node, &pods)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}

async fn measure(served: &Served) -> Result<(NodeUse, Vec<PodUse>), String> {
    let stats = served.shared.runtime.container_stats().await;
    let stats = stats.map_err(|error| error.to_string())?;
    let node = node_use(&served.shared.config.node_name, &served.shared.config.paths.root);
    Ok((node, by_pod(&stats)))
}

/// Sorts containers' numbers by pod. Containers that do not run have none.
fn by_pod(stats: &[v1::ContainerStats]) -> Vec<PodUse> {
    let mut pods: BTreeMap<String, PodUse> = BTreeMap::new();
    for stat in stats {
        let Some(attributes) = &stat.attributes else { continue };
        let label = |key: &str| attributes.labels.get(key).cloned().unwrap_or_default();
        let (Some(cpu), Some(memory)) = (&stat.cpu, &stat.memory) else { continue };
        let number = |value: &Option<v1::UInt64Value>| value.map_or(0, |value| value.value);
        let pod = pods.entry(label(names::POD_UID)).or_insert_with(|| PodUse {
            namespace: label(names::POD_NAMESPACE),
            name: label(names::POD_NAME),
            uid: label(names::POD_UID),
            containers: Vec::new(),
        });
        pod.containers.push(Use {
            name: label(names::CONTAINER_NAME),
            at_nanos: cpu.timestamp,
            cpu_nanos: number(&cpu.usage_core_nano_seconds),
            cpu_nano_cores: number(&cpu.usage_nano_cores),
            memory_working_set: number(&memory.working_set_bytes),
            memory_usage: number(&memory.usage_bytes),
            memory_rss: number(&memory.rss_bytes),
            disk_used: stat.writable_layer.as_ref().map_or(0, |fs| number(&fs.used_bytes)),
        });
    }
    pods.into_values().collect()
}

fn node_use(name: &str, root: &std::path::Path) -> NodeUse {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = |field| crate::node::facts::memory_field(&meminfo, field).unwrap_or(0);
    let disk = rustix::fs::statvfs(root).ok();
    let disk = disk.as_ref();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    NodeUse {
        name: name.to_owned(),
        at_nanos: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        cpu_nanos: cpu_nanos(&std::fs::read_to_string("/proc/stat").unwrap_or_default()),
        memory_total: memory("MemTotal"),
        memory_available: memory("MemAvailable"),
        disk_total: disk.map_or(0, |fs| fs.f_blocks * fs.f_frsize),
        disk_available: disk.map_or(0, |fs| fs.f_bavail * fs.f_frsize),
    }
}

/// Time that all processors were busy, from `/proc/stat`, which counts in hundredths of seconds.
fn cpu_nanos(stat: &str) -> u64 {
    let Some(line) = stat.lines().find(|line| line.starts_with("cpu ")) else { return 0 };
    let fields: Vec<u64> =
        line.split_whitespace().skip(1).map_while(|it| it.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|index| fields.get(*index)).sum::<u64>();
    busy * 10_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample() -> (NodeUse, Vec<PodUse>) {
        let node = NodeUse {
            name: "minik".into(),
            at_nanos: 1_767_225_600_000_000_000,
            cpu_nanos: 3_000_000_000,
            memory_total: 2 << 30,
            memory_available: 1 << 30,
            disk_total: 8 << 30,
            disk_available: 6 << 30,
        };
        let container = Use {
            name: "app".into(),
            at_nanos: 1_767_225_600_000_000_000,
            cpu_nanos: 1_500_000_000,
            cpu_nano_cores: 20_000_000,
            memory_working_set: 4096,
            memory_usage: 8192,
            memory_rss: 1024,
            disk_used: 512,
        };
        let pod = PodUse {
            namespace: "default".into(),
            name: "web".into(),
            uid: "u1".into(),
            containers: vec![container],
        };
        (node, vec![pod])
    }

    #[test]
    fn processors() {
        assert_eq!(cpu_nanos("cpu  1 2 3 100 50 4 5 0 0 0\ncpu0 1 1 1 1\n"), 150_000_000);
        assert_eq!(cpu_nanos(""), 0);
    }
}
