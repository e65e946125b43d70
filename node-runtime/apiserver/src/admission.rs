//! What the server adds to and refuses of writes, beyond the rules of single kinds. One file per
//! plug-in; this file is their order.

mod certificates;
mod defaults;
mod definitions;
mod escalation;
mod limits;
mod namespace;
mod node;
mod pod_security;
mod priority;
mod quota;
mod service;
mod service_account;
mod unserved;

use minik_meta::{GroupResource, Status};
use serde_json::Value;

use crate::alloc::Lease;
use crate::call::Call;
use crate::verbs::write::Part;

/// Changes a new object, and refuses what cannot become good.
pub(crate) fn mutate_create(call: &Call, object: &mut Value) -> Result<(), Status> {
    namespace::label(call, object);
    if call.kind.is("", "Pod") {
        priority::of_new_pod(call, object)?;
        service_account::of_new_pod(call, object)?;
        defaults::tolerations(object);
        limits::default_resources(call, object)?;
    }
    if call.kind.is("", "Node") {
        defaults::node_taint(object);
    }
    if call.kind.is("", "PersistentVolumeClaim") {
        defaults::storage_class(call, object)?;
    }
    if call.kind.is("networking.k8s.io", "Ingress") {
        defaults::ingress_class(call, object)?;
    }
    if call.kind.is("certificates.k8s.io", "CertificateSigningRequest") {
        certificates::of_new_request(call, object)?;
    }
    defaults::protection(&call.kind, object);
    Ok(())
}

/// Changes the new state of an object.
pub(crate) fn mutate_update(
    call: &Call,
    _part: Part,
    old: &Value,
    new: &mut Value,
) -> Result<(), Status> {
    if call.kind.is("certificates.k8s.io", "CertificateSigningRequest") {
        certificates::of_old_request(old, new);
    }
    namespace::label(call, new);
    Ok(())
}

/// Refuses a new, valid object.
pub(crate) fn check_create(call: &Call, object: &Value) -> Result<(), Status> {
    namespace::must_be_open(call, object)?;
    node::check_create(call, object)?;
    priority::check_class(call, object)?;
    unserved::warn(call);
    definitions::warn(call, object);
    limits::check(call, object)?;
    pod_security::check(call, object)?;
    pod_security::check_namespace(call, None, object)?;
    escalation::check(call, None, object)
}

/// Refuses the new, valid state of an object.
pub(crate) fn check_update(
    call: &Call,
    part: Part,
    old: &Value,
    new: &Value,
) -> Result<(), Status> {
    node::check_update(call, old, new)?;
    // The rest of a pod's spec does not change what it may do.
    if part == Part::Main && !call.kind.is("", "Pod")
        || call.target.subresource == "ephemeralcontainers"
    {
        pod_security::check(call, new)?;
        pod_security::check_namespace(call, Some(old), new)?;
    }
    if part == Part::Main {
        definitions::warn(call, new);
        escalation::check(call, Some(old), new)?;
    }
    Ok(())
}

/// Refuses to delete an object.
pub(crate) fn check_delete(call: &Call, object: &Value) -> Result<(), Status> {
    namespace::check_delete(call)?;
    node::check_delete(call, object)
}

/// Counts a new object against the quotas of its namespace; the result must be held until the
/// object is written.
pub(crate) async fn charge(call: &Call, object: &Value) -> Result<quota::Charge, Status> {
    quota::charge(call, object).await
}

/// Gives a Service its addresses and ports; other kinds get nothing.
pub(crate) fn allocate(
    call: &Call,
    old: Option<&Value>,
    object: &mut Value,
) -> Result<Lease, Status> {
    if !call.kind.is("", "Service") {
        return Ok(Lease::default());
    }
    let name = minik_meta::object::name(object).to_owned();
    service::allocate(&call.core.allocator, old, object)
        .map_err(|errors| Status::invalid(&call.group_kind(), &name, &errors))
}

/// 403 in the words of a plug-in.
fn forbidden(call: &Call, name: &str, why: impl std::fmt::Display) -> Status {
    let resource = GroupResource::new(call.target.group.clone(), call.target.resource.clone());
    Status::forbidden(&resource, name, why)
}
