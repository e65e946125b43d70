//! What kubelets may write: their own node and the pods bound to it.

use minik_meta::{Status, object};
use serde_json::Value;

use crate::call::Call;

pub(super) fn check_create(call: &Call, object: &Value) -> Result<(), Status> {
    let Some(node) = call.user.node_name() else { return Ok(()) };
    let refuse = |why: String| Err(super::forbidden(call, object::name(object), why));
    match (call.kind.group.as_ref(), call.kind.kind.as_ref()) {
        ("", "Node") if object::name(object) != node => refuse(format!(
            "node \"{node}\" is not allowed to create node \"{}\"",
            object::name(object)
        )),
        ("", "Pod") => {
            let mirror = object::annotation(object, "kubernetes.io/config.mirror").is_some();
            if !mirror {
                return refuse(format!(
                    "pod does not have \"kubernetes.io/config.mirror\" annotation, node \
                     \"{node}\" can only create mirror pods"
                ));
            }
            if object::text(object, &["spec", "nodeName"]) != node {
                return refuse(format!(
                    "node \"{node}\" can only create pods with spec.nodeName set to itself"
                ));
            }
            Ok(())
        }
        ("coordination.k8s.io", "Lease") | ("storage.k8s.io", "CSINode")
            if object::name(object) != node =>
        {
            refuse(format!(
                "can only access {} with the same name as the requesting node",
                call.kind.plural
            ))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_update(call: &Call, old: &Value, new: &Value) -> Result<(), Status> {
    let Some(node) = call.user.node_name() else { return Ok(()) };
    let refuse = |why: String| Err(super::forbidden(call, object::name(old), why));
    match (call.kind.group.as_ref(), call.kind.kind.as_ref()) {
        ("", "Node") if object::name(old) != node => refuse(format!(
            "node \"{node}\" is not allowed to modify node \"{}\"",
            object::name(old)
        )),
        ("", "Node") => {
            if old["spec"]["taints"] != new["spec"]["taints"] && call.target.subresource.is_empty()
            {
                return refuse(format!("node \"{node}\" is not allowed to modify taints"));
            }
            Ok(())
        }
        ("", "Pod") if object::text(old, &["spec", "nodeName"]) != node => refuse(format!(
            "node \"{node}\" can only update pod status for pods with spec.nodeName set to itself"
        )),
        _ => Ok(()),
    }
}

pub(super) fn check_delete(call: &Call, object: &Value) -> Result<(), Status> {
    let Some(node) = call.user.node_name() else { return Ok(()) };
    if call.kind.is("", "Pod") && object::text(object, &["spec", "nodeName"]) != node {
        let why = format!("node \"{node}\" can only delete pods with spec.nodeName set to itself");
        return Err(super::forbidden(call, object::name(object), why));
    }
    if call.kind.is("", "Node") {
        let why = format!("node \"{node}\" is not allowed to delete nodes");
        return Err(super::forbidden(call, object::name(object), why));
    }
    Ok(())
}
