//! The `scale` subresource: one small object that reads and writes the replicas of any kind.

use minik_meta::{FieldError, GroupKind, LabelSelector, Path, Status, object};
use serde_json::{Map, Value, json};

use crate::resource::{Resource, ScalePaths};

/// The `Scale` (`autoscaling/v1`) of an object.
///
/// # Errors
/// 404 where the kind has none.
pub fn read(resource: &Resource, object: &Value) -> Result<Value, Status> {
    let paths = paths(resource)?;
    let mut metadata = Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object::at(object, &["metadata", key]) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let number = |path: &str| object::integer(object, &steps(path)).unwrap_or_default();
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    let selector = selector(object, &paths.selector)?;
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(&paths.spec_replicas)}, "status": status,
    }))
}

/// Whether the object says how many replicas it wants. Objects of custom resources need not.
///
/// # Errors
/// 500 where it does not.
pub fn check_wanted(resource: &Resource, object: &Value) -> Result<(), Status> {
    let path = &paths(resource)?.spec_replicas;
    let absent = object::integer(object, &steps(path)).is_none();
    if absent && resource.custom.is_some() {
        return Err(Status::internal(format!("the spec replicas field {path:?} does not exist")));
    }
    Ok(())
}

/// Writes the replicas of a `Scale` into an object.
///
/// # Errors
/// 404 where the kind has no scale, 422 for a negative number.
pub fn write(resource: &Resource, object: &mut Value, scale: &Value) -> Result<(), Status> {
    let paths = paths(resource)?;
    let replicas = object::integer(scale, &["spec", "replicas"]).unwrap_or_default();
    if replicas < 0 {
        let error = FieldError::invalid(
            &Path::new("spec.replicas"),
            replicas,
            "must be greater than or equal to 0",
        );
        let kind = GroupKind::new("autoscaling", "Scale");
        return Err(Status::invalid(&kind, object::name(object), &[error]));
    }
    object::set(object, &steps(&paths.spec_replicas), replicas);
    Ok(())
}

fn paths(resource: &Resource) -> Result<&ScalePaths, Status> {
    resource.scale.as_ref().ok_or_else(Status::not_found_path)
}

fn steps(path: &str) -> Vec<&str> {
    path.split('.').filter(|step| !step.is_empty()).collect()
}

/// The selector as text: from an object, a plain map of labels, or text already.
fn selector(object: &Value, path: &str) -> Result<String, Status> {
    let Some(value) = object::at(object, &steps(path)).filter(|_| !path.is_empty()) else {
        return Ok(String::new());
    };
    let is_selector = value.get("matchLabels").is_some_and(Value::is_object)
        || value.get("matchExpressions").is_some();
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Object(labels) if !is_selector => Ok(LabelSelector::from_map(labels).to_string()),
        value => LabelSelector::from_object(Some(value))
            .map(|selector| selector.to_string())
            .map_err(Status::internal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::kinds;
    use expect_test::expect;

    #[test]
    fn of_a_deployment() {
        let resource = kinds().by_kind("apps", "v1", "Deployment").unwrap();
        let mut deployment = json!({
            "metadata": {"name": "web", "resourceVersion": "3", "labels": {"x": "y"}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"replicas": 1},
        });
        let scale = read(resource, &deployment).unwrap();
        expect![[r#"{"kind":"Scale","apiVersion":"autoscaling/v1","metadata":{"name":"web","resourceVersion":"3"},"spec":{"replicas":2},"status":{"replicas":1,"selector":"app=web"}}"#]]
            .assert_eq(&scale.to_string());
        write(resource, &mut deployment, &json!({"spec": {"replicas": 5}})).unwrap();
        assert_eq!(deployment["spec"]["replicas"], 5);
        let error =
            write(resource, &mut deployment, &json!({"spec": {"replicas": -1}})).unwrap_err();
        assert_eq!(
            error.message,
            "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be \
             greater than or equal to 0"
        );
    }

    #[test]
    fn of_a_replication_controller_and_of_what_cannot_scale() {
        let resource = kinds().by_kind("", "v1", "ReplicationController").unwrap();
        let controller = json!({"spec": {"selector": {"b": "2", "a": "1"}}});
        assert_eq!(read(resource, &controller).unwrap()["status"]["selector"], "a=1,b=2");
        let pods = kinds().by_kind("", "v1", "Pod").unwrap();
        assert_eq!(read(pods, &json!({})).unwrap_err().code, 404);
    }
}
