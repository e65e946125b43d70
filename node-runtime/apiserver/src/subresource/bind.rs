//! Binds a pod to a node: what the scheduler does once, and nobody can undo.

use http::{Request, Response, StatusCode};
use minik_meta::{Status, object, time};
use serde_json::{Value, json};

use crate::admission;
use crate::body::Body;
use crate::call::Call;
use crate::owners::Owners;
use crate::route::{Target, Verb};
use crate::verbs::write::{self, Change, Part};
use crate::{input, output};

/// `POST …/pods/NAME/binding`
pub(super) async fn bind_named(
    call: &Call,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let mut binding = read(call, request).await?;
    admission::ask_virtual(call, &call.target.name, &mut binding).await?;
    let name = object::name(&binding);
    if !name.is_empty() && name != call.target.name {
        return Err(Status::bad_request(format!(
            "name in URL does not match name in Binding object ({} != {name})",
            call.target.name
        )));
    }
    assign(call, &binding).await
}

/// `POST …/bindings`, the old way.
pub(super) async fn bind(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let mut binding = read(call, request).await?;
    let name = object::name(&binding).to_owned();
    admission::ask_virtual(call, &name, &mut binding).await?;
    let target = Target {
        resource: "pods".to_owned(),
        name: object::name(&binding).to_owned(),
        ..call.target.clone()
    };
    let call = call.to(Verb::Create, target)?;
    assign(&call, &binding).await
}

async fn read(call: &Call, request: Request<Body>) -> Result<Value, Status> {
    let kind = call.core.kinds.body("", "v1", "Binding");
    let kind = kind.ok_or_else(Status::not_found_path)?;
    input::object(call, &kind, request).await
}

async fn assign(call: &Call, binding: &Value) -> Result<Response<Body>, Status> {
    let node = object::text(binding, &["target", "name"]).to_owned();
    let kind = object::text(binding, &["target", "kind"]);
    if node.is_empty() || !matches!(kind, "" | "Node") {
        return Err(Status::bad_request("target must be a Node with a name"));
    }
    write::modify(call, Part::Binding, Owners::AsGiven, change(call, node, binding)).await?;
    let success = Status::success(None);
    Ok(output::value(call, StatusCode::CREATED, &success))
}

fn assigned_to(pod: &Value, node: &str, binding: &Value) -> Value {
    let mut pod = pod.clone();
    object::set(&mut pod, &["spec", "nodeName"], node);
    let uid = object::uid(binding);
    if !uid.is_empty() {
        object::set(&mut pod, &["metadata", "uid"], uid);
    }
    for (key, value) in object::map(binding, &["metadata", "annotations"]).into_iter().flatten() {
        object::set(&mut pod, &["metadata", "annotations", key], value.clone());
    }
    let mut conditions = object::list(&pod, &["status", "conditions"]).to_vec();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": time::now_rfc3339(),
    }));
    object::set(&mut pod, &["status", "conditions"], conditions);
    pod
}

fn change<'a>(call: &'a Call, node: String, binding: &'a Value) -> Change<'a> {
    Box::new(move |pod| {
        let name = object::name(pod);
        let conflict = |why: String| Err(Status::conflict(&call.resource(), name, why));
        if object::deletion_timestamp(pod).is_some() {
            return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
        }
        let assigned = object::text(pod, &["spec", "nodeName"]);
        if !assigned.is_empty() {
            return conflict(format!("pod {name} is already assigned to node \"{assigned}\""));
        }
        if !object::list(pod, &["spec", "schedulingGates"]).is_empty() {
            return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
        }
        Ok(assigned_to(pod, &node, binding))
    })
}
