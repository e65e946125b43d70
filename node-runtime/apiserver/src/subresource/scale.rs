//! The number of replicas of anything that has one, in one shape for all kinds.

use http::{Request, Response, StatusCode};
use minik_api::resource::ScalePaths;
use minik_meta::{LabelSelector, Status, object};
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::input::{self, Patch};
use crate::kinds::Kind;
use crate::negotiate::Format;
use crate::route::Verb;
use crate::verbs::write::{self, Change, Part};
use crate::{objects, respond};

pub(super) async fn run(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let Some(paths) = &call.kind.scale else { return Err(Status::not_found_path()) };
    let kind = call.core.kinds.body("autoscaling", "v1", "Scale");
    let kind = kind.ok_or_else(Status::not_found_path)?;
    let object = match call.verb {
        Verb::Update => {
            let wanted = input::object(call, kind, request).await?;
            set(call, paths, Box::new(|_| Ok(wanted.clone()))).await?
        }
        Verb::Patch => {
            let patch = input::patch(request).await?;
            set(call, paths, patched(call, kind, &patch)).await?
        }
        _ => {
            let key = objects::key(call.kind, &call.target.namespace, &call.target.name);
            let entry = call.core.store.get(&key);
            let missing = || Status::not_found(&call.resource(), &call.target.name);
            let entry = entry.ok_or_else(missing)?;
            objects::read(call.kind, &entry.value, entry.modified)
        }
    };
    let format = match call.output.format {
        Format::PrettyJson => Format::PrettyJson,
        format => format,
    };
    Ok(respond::value(StatusCode::OK, format, &scale_of(paths, &object)))
}

/// The scale that a patch makes of the current one.
fn patched<'a>(call: &'a Call, kind: Kind, patch: &'a Patch) -> Change<'a> {
    Box::new(move |current| {
        let mut wanted = patch.apply(kind, current)?;
        minik_api::decode::conform(kind, &mut wanted, input::validation(call)?)?;
        Ok(wanted)
    })
}

async fn set(call: &Call, paths: &ScalePaths, wanted: Change<'_>) -> Result<Value, Status> {
    write::modify(call, Part::Main, rescaled(call, paths, wanted)).await
}

/// The object with the replicas of the scale that is wanted.
fn rescaled<'a>(call: &'a Call, paths: &'a ScalePaths, wanted: Change<'a>) -> Change<'a> {
    Box::new(move |current| {
        let wanted = wanted(&scale_of(paths, current))?;
        let replicas = object::integer(&wanted, &["spec", "replicas"]).unwrap_or(0);
        if replicas < 0 {
            let path = minik_meta::Path::new("spec.replicas");
            let why = "must be greater than or equal to 0";
            let error = minik_meta::FieldError::invalid(&path, replicas, why);
            let kind = minik_meta::GroupKind::new("autoscaling", "Scale");
            return Err(Status::invalid(&kind, &call.target.name, &[error]));
        }
        let mut changed = current.clone();
        object::set(&mut changed, &steps(&paths.spec_replicas), replicas);
        let version = object::resource_version(&wanted).to_owned();
        object::set(&mut changed, &["metadata", "resourceVersion"], version);
        Ok(changed)
    })
}

fn steps(path: &str) -> Vec<&str> {
    path.split('.').filter(|step| !step.is_empty()).collect()
}

/// The `Scale` of an object.
fn scale_of(paths: &ScalePaths, object: &Value) -> Value {
    let number = |path: &str| object::integer(object, &steps(path)).unwrap_or(0);
    let selector = match object::at(object, &steps(&paths.selector)) {
        Some(Value::String(text)) => text.clone(),
        Some(found @ Value::Object(map)) if map.contains_key("matchLabels") || map.contains_key("matchExpressions") => {
            LabelSelector::from_object(Some(found)).map(|one| one.to_string()).unwrap_or_default()
        }
        Some(Value::Object(labels)) => LabelSelector::from_map(labels).to_string(),
        _ => String::new(),
    };
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": number(&paths.spec_replicas)},
        "status": {"replicas": number(&paths.status_replicas)},
    });
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_as_scale() {
        let kind = minik_api::kinds().by_resource("apps", "v1", "deployments").expect("kind");
        let deployment = json!({
            "metadata": {"name": "web", "namespace": "a", "resourceVersion": "5"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"replicas": 2},
        });
        let scale = scale_of(kind.scale.as_ref().expect("scales"), &deployment);
        assert_eq!(scale["spec"], json!({"replicas": 3}));
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=web"}));
    }
}
