//! Horizontal pod autoscalers: v1 knows one metric, the rest travels in annotations.

use minik_meta::object;
use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

pub(super) fn to_v1(value: &mut Value) {
    if let Some(Value::Array(metrics)) = object::remove(value, &["spec", "metrics"]) {
        let (cpu, others): (Vec<Value>, Vec<Value>) = metrics.into_iter().partition(is_cpu_share);
        let target = cpu.first().and_then(|metric| {
            object::integer(metric, &["resource", "target", "averageUtilization"])
        });
        if let Some(target) = target {
            object::set(value, &["spec", "targetCPUUtilizationPercentage"], target);
        }
        let rest: Vec<Value> = others.iter().map(metric_to_v1).collect();
        if !rest.is_empty() {
            annotate(value, METRICS, &Value::Array(rest));
        }
    }
    if let Some(behavior) = object::remove(value, &["spec", "behavior"]) {
        annotate(value, BEHAVIOR, &behavior);
    }
    if let Some(conditions) = object::remove(value, &["status", "conditions"]) {
        annotate(value, CONDITIONS, &conditions);
    }
    if let Some(Value::Array(current)) = object::remove(value, &["status", "currentMetrics"]) {
        let share = current
            .iter()
            .filter(|one| is_cpu(one))
            .find_map(|one| object::integer(one, &["resource", "current", "averageUtilization"]));
        if let Some(share) = share {
            object::set(value, &["status", "currentCPUUtilizationPercentage"], share);
        }
    }
}

pub(super) fn to_v2(value: &mut Value) {
    let mut metrics: Vec<Value> = match take_annotation(value, METRICS) {
        Some(Value::Array(metrics)) => metrics.iter().map(metric_to_v2).collect(),
        _ => Vec::new(),
    };
    if let Some(target) = object::remove(value, &["spec", "targetCPUUtilizationPercentage"]) {
        metrics.push(json!({"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": target},
        }}));
    }
    if !metrics.is_empty() {
        object::set(value, &["spec", "metrics"], metrics);
    }
    if let Some(behavior) = take_annotation(value, BEHAVIOR) {
        object::set(value, &["spec", "behavior"], behavior);
    }
    if let Some(conditions) = take_annotation(value, CONDITIONS) {
        object::set(value, &["status", "conditions"], conditions);
    }
    let current = object::remove(value, &["status", "currentCPUUtilizationPercentage"]);
    if let Some(share) = current {
        let metric = json!([{"type": "Resource", "resource": {
            "name": "cpu", "current": {"averageUtilization": share},
        }}]);
        object::set(value, &["status", "currentMetrics"], metric);
    }
}

fn is_cpu(metric: &Value) -> bool {
    object::text(metric, &["type"]) == "Resource"
        && object::text(metric, &["resource", "name"]) == "cpu"
}

fn is_cpu_share(metric: &Value) -> bool {
    is_cpu(metric) && object::at(metric, &["resource", "target", "averageUtilization"]).is_some()
}

/// Where a metric's target is in v2, and what v1 calls it. Type, key, v2 path, v1 field.
const TARGETS: &[(&str, &str, &str, &str)] = &[
    ("Resource", "resource", "averageUtilization", "targetAverageUtilization"),
    ("Resource", "resource", "averageValue", "targetAverageValue"),
    ("ContainerResource", "containerResource", "averageUtilization", "targetAverageUtilization"),
    ("ContainerResource", "containerResource", "averageValue", "targetAverageValue"),
    ("Pods", "pods", "averageValue", "targetAverageValue"),
    ("Object", "object", "value", "targetValue"),
    ("Object", "object", "averageValue", "averageValue"),
    ("External", "external", "value", "targetValue"),
    ("External", "external", "averageValue", "targetAverageValue"),
];

/// Fields besides the target: key, v2 path, v1 field.
const FIELDS: &[(&str, &[&str], &str)] = &[
    ("resource", &["name"], "name"),
    ("containerResource", &["name"], "name"),
    ("containerResource", &["container"], "container"),
    ("pods", &["metric", "name"], "metricName"),
    ("pods", &["metric", "selector"], "selector"),
    ("object", &["metric", "name"], "metricName"),
    ("object", &["metric", "selector"], "selector"),
    ("object", &["describedObject"], "target"),
    ("external", &["metric", "name"], "metricName"),
    ("external", &["metric", "selector"], "metricSelector"),
];

fn metric_to_v1(metric: &Value) -> Value {
    let kind = object::text(metric, &["type"]);
    let mut old = Map::new();
    let mut place = "";
    for (_, key, from, to) in TARGETS.iter().filter(|(one, ..)| *one == kind) {
        place = key;
        if let Some(value) = object::at(metric, &[key, "target", from]) {
            old.insert((*to).to_owned(), value.clone());
        }
    }
    for (_, from, to) in FIELDS.iter().filter(|(one, ..)| *one == place) {
        if let Some(value) = metric.get(place).and_then(|one| object::at(one, from)) {
            old.insert((*to).to_owned(), value.clone());
        }
    }
    json!({"type": kind, place: old})
}

fn metric_to_v2(metric: &Value) -> Value {
    let kind = object::text(metric, &["type"]);
    let mut new = json!({});
    let mut place = "";
    for (_, key, to, from) in TARGETS.iter().filter(|(one, ..)| *one == kind) {
        place = key;
        if let Some(value) = object::at(metric, &[key, from]) {
            let target = match *to {
                "averageUtilization" => "Utilization",
                "averageValue" => "AverageValue",
                _ => "Value",
            };
            object::set(&mut new, &["target", "type"], target);
            object::set(&mut new, &["target", to], value.clone());
        }
    }
    for (_, to, from) in FIELDS.iter().filter(|(one, ..)| *one == place) {
        if let Some(value) = object::at(metric, &[place, from]) {
            object::set(&mut new, to, value.clone());
        }
    }
    json!({"type": kind, place: new})
}

fn annotate(value: &mut Value, key: &str, what: &Value) {
    object::set(value, &["metadata", "annotations", key], what.to_string());
}

fn take_annotation(value: &mut Value, key: &str) -> Option<Value> {
    let text = object::remove(value, &["metadata", "annotations", key])?;
    serde_json::from_str(text.as_str()?).ok()
}
