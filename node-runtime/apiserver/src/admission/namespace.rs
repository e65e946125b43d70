//! Objects live in namespaces that exist and are not being deleted.

use minik_meta::status::{Cause, Details};
use minik_meta::{GroupResource, Status, object};
use serde_json::Value;

use crate::call::Call;

/// Namespaces that cannot be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// Namespaces carry their name as a label, so that selectors can name them.
pub(super) fn label(call: &Call, object: &mut Value) {
    if call.kind.is("", "Namespace") {
        let name = object::name(object).to_owned();
        if !name.is_empty() {
            object::set(object, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
        }
    }
}

/// Refuses to create something in a namespace that is missing or on its way out.
pub(super) fn must_be_open(call: &Call, object: &Value) -> Result<(), Status> {
    let namespace = &call.target.namespace;
    // Reviews do not create anything.
    let review = call.target.group == "authorization.k8s.io";
    if !call.kind.namespaced || review {
        return Ok(());
    }
    let Some(found) = call.core.read_core_object("namespaces", "", namespace) else {
        return Err(Status::not_found(&GroupResource::new("", "namespaces"), namespace));
    };
    if object::deletion_timestamp(&found).is_none() {
        return Ok(());
    }
    let message = format!("namespace {namespace} is being terminated");
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let mut status = super::forbidden(call, object::name(object), why);
    let details: &mut Details = status.details.get_or_insert_default();
    details.causes.push(Cause {
        reason: "NamespaceTerminating".to_owned(),
        message,
        field: "metadata.namespace".to_owned(),
    });
    Err(status)
}

/// Refuses to delete the namespaces every cluster needs.
pub(super) fn check_delete(call: &Call) -> Result<(), Status> {
    let name = call.target.name.as_str();
    if call.kind.is("", "Namespace") && IMMORTAL.contains(&name) {
        return Err(super::forbidden(call, name, "this namespace may not be deleted"));
    }
    Ok(())
}
