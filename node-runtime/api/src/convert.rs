//! Conversion between the versions that one stored kind is served in.
//!
//! In v1.36: events (core and `events.k8s.io`) and horizontal pod autoscalers (v1 and v2).

mod autoscalers;

use minik_meta::{Status, object};
use serde_json::Value;

use crate::resource::Resource;

/// The two names of each field of an event: core, `events.k8s.io`.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Makes an object of `from` one of `to`: same kind and storage, another group or version.
///
/// # Errors
/// 500 where the two are not versions of one stored kind.
pub fn convert(value: &mut Value, from: &Resource, to: &Resource) -> Result<(), Status> {
    if (&from.group, &from.version) == (&to.group, &to.version) {
        return Ok(());
    }
    if from.storage != to.storage || from.kind != to.kind {
        return Err(Status::internal(format!("cannot convert {} to {}", from.gvk(), to.gvk())));
    }
    match (from.kind.as_ref(), to.group.as_ref(), to.version.as_ref()) {
        ("Event", "", _) => rename(value, |(core, new)| (new, core)),
        ("Event", "events.k8s.io", _) => rename(value, |(core, new)| (core, new)),
        ("HorizontalPodAutoscaler", _, "v1") => autoscalers::to_v1(value),
        ("HorizontalPodAutoscaler", _, "v2") => autoscalers::to_v2(value),
        _ => {}
    }
    object::fields(value).insert("apiVersion".into(), to.api_version().into());
    Ok(())
}

fn rename(
    event: &mut Value,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let map = object::fields(event);
    for pair in EVENT_FIELDS {
        let (old, new) = direction(*pair);
        if let Some(value) = map.shift_remove(old) {
            map.insert(new.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::kinds;
    use serde_json::json;

    fn there_and_back(group: (&str, &str), other: (&str, &str), kind: &str, value: Value) -> Value {
        let from = kinds().by_kind(group.0, group.1, kind).unwrap();
        let to = kinds().by_kind(other.0, other.1, kind).unwrap();
        let mut converted = value.clone();
        convert(&mut converted, from, to).unwrap();
        let middle = converted.clone();
        convert(&mut converted, to, from).unwrap();
        assert_eq!(converted, value);
        middle
    }

    #[test]
    fn events() {
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "R",
            "involvedObject": {"name": "p"}, "message": "m", "source": {"component": "c"},
            "count": 3, "reportingComponent": "k", "type": "Normal",
        });
        let new = there_and_back(("", "v1"), ("events.k8s.io", "v1"), "Event", event);
        assert_eq!(
            new,
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
                "reason": "R", "regarding": {"name": "p"}, "note": "m",
                "deprecatedSource": {"component": "c"}, "deprecatedCount": 3,
                "reportingController": "k", "type": "Normal",
            })
        );
    }

    #[test]
    fn autoscalers() {
        let autoscaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {
                "maxReplicas": 3,
                "metrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
            },
            "status": {"currentReplicas": 1, "currentMetrics": [{"type": "Resource", "resource": {
                "name": "cpu", "current": {"averageUtilization": 5, "averageValue": "5m"}}}]},
        });
        let from = kinds().by_kind("autoscaling", "v2", "HorizontalPodAutoscaler").unwrap();
        let to = kinds().by_kind("autoscaling", "v1", "HorizontalPodAutoscaler").unwrap();
        let mut old = autoscaler.clone();
        convert(&mut old, from, to).unwrap();
        assert_eq!(old["apiVersion"], "autoscaling/v1");
        assert_eq!(old["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 70}));
        assert_eq!(old["status"]["currentCPUUtilizationPercentage"], 5);
        convert(&mut old, to, from).unwrap();
        assert_eq!(old["spec"], autoscaler["spec"]);
    }

    #[test]
    fn what_v1_cannot_say_travels_in_annotations() {
        there_and_back(
            ("autoscaling", "v2"),
            ("autoscaling", "v1"),
            "HorizontalPodAutoscaler",
            json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "h", "annotations": {"a": "b"}},
                "spec": {
                    "maxReplicas": 3,
                    "metrics": [
                        {"type": "Pods", "pods": {"metric": {"name": "qps"},
                            "target": {"type": "AverageValue", "averageValue": "100"}}},
                        {"type": "External", "external": {"metric": {"name": "queue"},
                            "target": {"type": "Value", "value": "5"}}},
                        {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"},
                            "metric": {"name": "hits"}, "target": {"type": "Value", "value": "10"}}},
                        {"type": "Resource", "resource": {"name": "memory",
                            "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                    ],
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
                },
                "status": {"conditions": [{"type": "AbleToScale", "status": "True"}]},
            }),
        );
    }

    #[test]
    fn strangers_are_refused() {
        let pod = kinds().by_kind("", "v1", "Pod").unwrap();
        let event = kinds().by_kind("events.k8s.io", "v1", "Event").unwrap();
        assert_eq!(convert(&mut json!({}), pod, event).unwrap_err().code, 500);
    }
}
