//! The text of `/metrics/resource`, as metrics servers read it.

use std::fmt::Write;

use super::{NodeUse, PodUse, Use};

/// The whole text.
pub(super) fn text(node: &NodeUse, pods: &[PodUse]) -> String {
    let mut text = String::new();
    for (metric, kind, help, value) in PER_CONTAINER {
        head(&mut text, &format!("container_{metric}"), kind, &help.replace("{}", "container"));
        for pod in pods {
            for container in &pod.containers {
                let labels = labels(pod, Some(&container.name));
                let (value, millis) = (value(container), container.at_nanos / 1_000_000);
                line(&mut text, &format!("container_{metric}{{{labels}}}"), &value, millis);
            }
        }
    }
    for (metric, kind, help, value) in PER_CONTAINER {
        head(&mut text, &format!("pod_{metric}"), kind, &help.replace("{}", "pod"));
        for pod in pods {
            let sum = sum(pod);
            let name = format!("pod_{metric}{{{}}}", labels(pod, None));
            line(&mut text, &name, &value(&sum), sum.at_nanos / 1_000_000);
        }
    }
    let used = node.memory_total.saturating_sub(node.memory_available);
    let whole = Use {
        at_nanos: node.at_nanos,
        cpu_nanos: node.cpu_nanos,
        memory_working_set: used,
        ..Default::default()
    };
    for (metric, kind, help, value) in PER_CONTAINER {
        head(&mut text, &format!("node_{metric}"), kind, &help.replace("{}", "node"));
        line(&mut text, &format!("node_{metric}"), &value(&whole), node.at_nanos / 1_000_000);
    }
    let help = "1 if there was an error while getting container metrics, 0 otherwise";
    head(&mut text, "resource_scrape_error", "gauge", help);
    text.push_str("resource_scrape_error 0\n");
    text
}

/// Name, kind, help with `{}` for whose it is, and how it is read.
type Metric = (&'static str, &'static str, &'static str, fn(&Use) -> String);

const PER_CONTAINER: [Metric; 2] = [
    (
        "cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the {} in core-seconds",
        |it| seconds(it.cpu_nanos),
    ),
    ("memory_working_set_bytes", "gauge", "Current working set of the {} in bytes", |it| {
        it.memory_working_set.to_string()
    }),
];

/// A pod's containers together.
fn sum(pod: &PodUse) -> Use {
    let mut sum = Use::default();
    for container in &pod.containers {
        sum.at_nanos = sum.at_nanos.max(container.at_nanos);
        sum.cpu_nanos += container.cpu_nanos;
        sum.memory_working_set += container.memory_working_set;
    }
    sum
}

fn labels(pod: &PodUse, container: Option<&str>) -> String {
    let container = container.map(|name| format!("container=\"{name}\",")).unwrap_or_default();
    format!("{container}namespace=\"{}\",pod=\"{}\"", pod.namespace, pod.name)
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, value: &str, millis: i64) {
    let _ = writeln!(text, "{name} {value} {millis}");
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
