//! Values that field selectors compare with.

use std::borrow::Cow;

use minik_meta::{FieldSelector, Status, object};
use serde_json::Value;

use crate::resource::Resource;

/// The text of a selectable field of an object; empty where absent. The field must be one that
/// [`check`] accepts.
pub fn select<'a>(resource: &Resource, object: &'a Value, field: &str) -> Cow<'a, str> {
    let own = resource.group.is_empty();
    match (resource.kind.as_ref(), field) {
        ("Event", "source") if own => match object::text(object, &["source", "component"]) {
            "" => object::text(object, &["reportingComponent"]).into(),
            component => component.into(),
        },
        ("Event", "reportingComponent") if own => {
            object::text(object, &["reportingComponent"]).into()
        }
        ("Pod", "status.podIP") if own => match object::text(object, &["status", "podIP"]) {
            "" => at(object, "status.podIPs.0.ip"),
            ip => ip.into(),
        },
        ("Pod", "status.podIPs") if own => at(object, "status.podIPs.0.ip"),
        // Absent booleans and counters are selected by their zero value.
        ("Pod", "spec.hostNetwork") | ("Node", "spec.unschedulable") if own => {
            text_or(object, field, "false")
        }
        (_, "status.replicas" | "status.successful") => text_or(
            object,
            if field == "status.successful" { "status.succeeded" } else { field },
            "0",
        ),
        _ => at(object, field),
    }
}

/// Whether every field of the selector can be selected by; the error is upstream's 400.
pub fn check(resource: &Resource, selector: &FieldSelector) -> Result<(), Status> {
    for term in &selector.requirements {
        let known = matches!(term.field.as_str(), "metadata.name")
            || (term.field == "metadata.namespace" && resource.namespaced)
            || resource.selectable_fields.iter().any(|one| *one == term.field);
        if !known {
            return Err(Status::bad_request(format!("field label not supported: {}", term.field)));
        }
    }
    Ok(())
}

/// Whether the object satisfies the selector.
pub fn matches(resource: &Resource, object: &Value, selector: &FieldSelector) -> bool {
    selector.matches(|field| select(resource, object, field))
}

fn text_or<'a>(object: &'a Value, path: &str, zero: &'static str) -> Cow<'a, str> {
    match at(object, path) {
        text if text.is_empty() => zero.into(),
        text => text,
    }
}

/// What is at a dotted path, list indexes included, as text.
fn at<'a>(object: &'a Value, path: &str) -> Cow<'a, str> {
    let mut value = object;
    for step in path.split('.') {
        let next = match value {
            Value::Array(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
            other => other.get(step),
        };
        let Some(next) = next else { return "".into() };
        value = next;
    }
    match value {
        Value::String(text) => text.into(),
        Value::Bool(_) | Value::Number(_) => value.to_string().into(),
        Value::Null | Value::Array(_) | Value::Object(_) => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::kinds;
    use serde_json::json;
    use test_case::test_case;

    #[test_case("metadata.name=a", true)]
    #[test_case("spec.nodeName=n1,status.phase!=Failed", true)]
    #[test_case("spec.nodeName=", false)]
    #[test_case("status.podIP=10.0.0.1", true)]
    #[test_case("spec.hostNetwork=false", true)]
    fn pods(selector: &str, expected: bool) {
        let pods = kinds().by_resource("", "v1", "pods").unwrap();
        let pod = json!({
            "metadata": {"name": "a"}, "spec": {"nodeName": "n1"},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
        });
        let selector = selector.parse().unwrap();
        check(pods, &selector).unwrap();
        assert_eq!(matches(pods, &pod, &selector), expected);
    }

    #[test]
    fn other_fields_are_refused() {
        let pods = kinds().by_resource("", "v1", "pods").unwrap();
        let error = check(pods, &"spec.image=x".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "field label not supported: spec.image");
        let nodes = kinds().by_resource("", "v1", "nodes").unwrap();
        assert!(check(nodes, &"metadata.namespace=x".parse().unwrap()).is_err());
    }

    #[test]
    fn kinds_with_fields_of_their_own() {
        let jobs = kinds().by_resource("batch", "v1", "jobs").unwrap();
        assert_eq!(select(jobs, &json!({"status": {"succeeded": 2}}), "status.successful"), "2");
        assert_eq!(select(jobs, &json!({}), "status.successful"), "0");
        let events = kinds().by_resource("", "v1", "events").unwrap();
        let event = json!({"source": {"component": "kubelet"}});
        assert_eq!(select(events, &event, "source"), "kubelet");
    }
}
