//! The text of `/metrics/resource`, as metrics servers read it.

use std::fmt::Write;

use super::{NodeUse, PodUse};

/// The whole text.
pub(super) fn text(node: &NodeUse, pods: &[PodUse]) -> String {
    let mut text = String::new();
    let containers =
        || pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)));
    head(
        &mut text,
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
    );
    for (pod, container) in containers() {
        let value = seconds(container.cpu_nanos);
        line(
            &mut text,
            "container_cpu_usage_seconds_total",
            pod,
            Some(&container.name),
            &value,
            container.at_nanos,
        );
    }
    head(
        &mut text,
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
    );
    for (pod, container) in containers() {
        let value = container.memory_working_set.to_string();
        line(
            &mut text,
            "container_memory_working_set_bytes",
            pod,
            Some(&container.name),
            &value,
            container.at_nanos,
        );
    }
    let sum =
        |pod: &PodUse, field: fn(&super::Use) -> u64| pod.containers.iter().map(field).sum::<u64>();
    let at = |pod: &PodUse| pod.containers.iter().map(|it| it.at_nanos).max().unwrap_or(0);
    head(
        &mut text,
        "pod_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the pod in core-seconds",
    );
    for pod in pods {
        let value = seconds(sum(pod, |it| it.cpu_nanos));
        line(&mut text, "pod_cpu_usage_seconds_total", pod, None, &value, at(pod));
    }
    head(
        &mut text,
        "pod_memory_working_set_bytes",
        "gauge",
        "Current working set of the pod in bytes",
    );
    for pod in pods {
        let value = sum(pod, |it| it.memory_working_set).to_string();
        line(&mut text, "pod_memory_working_set_bytes", pod, None, &value, at(pod));
    }
    let millis = node.at_nanos / 1_000_000;
    head(
        &mut text,
        "node_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the node in core-seconds",
    );
    let _ = writeln!(text, "node_cpu_usage_seconds_total {} {millis}", seconds(node.cpu_nanos));
    head(
        &mut text,
        "node_memory_working_set_bytes",
        "gauge",
        "Current working set of the node in bytes",
    );
    let used = node.memory_total.saturating_sub(node.memory_available);
    let _ = writeln!(text, "node_memory_working_set_bytes {used} {millis}");
    head(
        &mut text,
        "resource_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
    );
    text.push_str("resource_scrape_error 0\n");
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(
    text: &mut String,
    metric: &str,
    pod: &PodUse,
    container: Option<&str>,
    value: &str,
    at_nanos: i64,
) {
    let container = container.map(|name| format!("container=\"{name}\",")).unwrap_or_default();
    let (namespace, name, millis) = (&pod.namespace, &pod.name, at_nanos / 1_000_000);
    let _ = writeln!(
        text,
        "{metric}{{{container}namespace=\"{namespace}\",pod=\"{name}\"}} {value} {millis}"
    );
}

fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn values() {
        let (node, pods) = super::super::tests::sample();
        let text = text(&node, &pods);
        let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        expect![[r#"
            [
                "container_cpu_usage_seconds_total{container=\"app\",namespace=\"default\",pod=\"web\"} 1.500000000 1767225600000",
                "container_memory_working_set_bytes{container=\"app\",namespace=\"default\",pod=\"web\"} 4096 1767225600000",
                "pod_cpu_usage_seconds_total{namespace=\"default\",pod=\"web\"} 1.500000000 1767225600000",
                "pod_memory_working_set_bytes{namespace=\"default\",pod=\"web\"} 4096 1767225600000",
                "node_cpu_usage_seconds_total 3.000000000 1767225600000",
                "node_memory_working_set_bytes 1073741824 1767225600000",
                "resource_scrape_error 0",
            ]
        "#]]
        .assert_debug_eq(&values);
    }
}
