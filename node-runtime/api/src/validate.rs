//! Validation: every rule an object breaks, with path and upstream's words.
//!
//! Three layers: metadata (same for all kinds), enumerations and required fields (from the schema),
//! and a file of rules per family of kinds.

mod admission;
mod aggregation;
mod at;
mod cluster;
mod generic;
mod labels;
mod metadata;
mod network;
mod pod;
mod pod_update;
mod service;
mod volumes;
mod workload;

use minik_meta::{FieldError, Path};
use serde_json::Value;

use crate::custom::definition;
use crate::resource::Resource;
use at::At;

pub(crate) use at::Errors;

/// What is wrong with an object to be created.
pub(crate) fn create(resource: &Resource, new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    metadata::create(resource, new, &mut errors);
    spec(resource, new, None, &mut errors);
    custom(resource, new, None, &mut errors);
    errors.into_vec()
}

/// What is wrong with replacing `old` by `new`.
pub(crate) fn update(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    metadata::update(new, old, &mut errors);
    spec(resource, new, Some(old), &mut errors);
    custom(resource, new, Some(old), &mut errors);
    immutable(resource, new, old, &mut errors);
    errors.into_vec()
}

/// What is wrong with replacing the status of `old`.
pub(crate) fn status_update(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    metadata::update(new, old, &mut errors);
    custom(resource, new, Some(old), &mut errors);
    if resource.is("apiregistration.k8s.io", "APIService") {
        aggregation::api_service_status(&At::root(new), &mut errors);
    }
    errors.into_vec()
}

/// Rules of the metadata of an object inside another.
pub(crate) fn embedded_metadata(value: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let mut found = Errors::default();
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    metadata::common(&At { path: at.child("metadata"), value: metadata }, &mut found);
    errors.extend(found.into_vec());
}

fn custom(resource: &Resource, new: &Value, old: Option<&Value>, errors: &mut Errors) {
    if let Some(custom) = &resource.custom {
        crate::custom::check(resource, custom, new, old)
            .into_iter()
            .for_each(|one| errors.push(one));
    }
}

fn spec(resource: &Resource, new: &Value, old: Option<&Value>, errors: &mut Errors) {
    if resource.custom.is_some() {
        return;
    }
    let object = At::root(new);
    match (resource.group.as_ref(), resource.kind.as_ref()) {
        ("", "Pod") => pod::pod(&object, errors),
        ("", "PodTemplate") => pod::template(&object.get("template"), errors),
        ("", "Service") => service::service(&object, errors),
        ("", "ReplicationController") => workload::replication_controller(&object, errors),
        ("apps", "Deployment") => workload::deployment(&object, errors),
        ("apps", "ReplicaSet") => workload::replica_set(&object, errors),
        ("apps", "DaemonSet") => workload::daemon_set(&object, errors),
        ("apps", "StatefulSet") => workload::stateful_set(&object, errors),
        ("batch", "Job") => workload::job(&object, errors),
        ("batch", "CronJob") => workload::cron_job(&object, errors),
        ("networking.k8s.io", _) | ("discovery.k8s.io", _) => {
            network::validate(&resource.kind, &object, errors);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            definition::validate(new, old).into_iter().for_each(|one| errors.push(one));
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => admission::configuration(&object, old.map(At::root).as_ref(), errors),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            admission::validating_policy(&object, errors);
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            admission::mutating_policy(&object, errors);
        }
        ("admissionregistration.k8s.io", kind) => {
            let validates = kind == "ValidatingAdmissionPolicyBinding";
            admission::binding(&object, validates, errors);
        }
        ("apiregistration.k8s.io", "APIService") => aggregation::api_service(&object, errors),
        (group, kind) => cluster::validate(group, kind, &object, errors),
    }
    generic::check(resource, new, errors);
}

fn immutable(resource: &Resource, new: &Value, old: &Value, errors: &mut Errors) {
    let same = |errors: &mut Errors, path: &[&str]| {
        let (new, old) = (At::root(new).down(path), At::root(old).down(path));
        errors.immutable(&new, &old);
    };
    match (resource.group.as_ref(), resource.kind.as_ref()) {
        ("", "Pod") => pod_update::pod(&At::root(new), &At::root(old), errors),
        ("", "Service") => service::update(&At::root(new), &At::root(old), errors),
        ("", "ConfigMap" | "Secret") => cluster::config_update(resource, new, old, errors),
        ("", "PersistentVolumeClaim") => cluster::claim_update(new, old, errors),
        ("", "PersistentVolume") => cluster::volume_update(new, old, errors),
        ("", "Node") => cluster::node_update(new, old, errors),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => same(errors, &["spec", "selector"]),
        ("apps", "StatefulSet") => workload::stateful_set_update(new, old, errors),
        ("apps", "ControllerRevision") => same(errors, &["data"]),
        ("batch", "Job") => workload::job_update(new, old, errors),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding")
            if new.get("roleRef") != old.get("roleRef") =>
        {
            errors.invalid(&At::root(new).get("roleRef"), "cannot change roleRef");
        }
        ("storage.k8s.io", "StorageClass") => cluster::storage_class_update(new, old, errors),
        ("discovery.k8s.io", "EndpointSlice") => same(errors, &["addressType"]),
        ("networking.k8s.io", "IPAddress") => same(errors, &["spec", "parentRef"]),
        ("networking.k8s.io", "ServiceCIDR") => {
            network::service_cidr_update(&At::root(new), &At::root(old), errors);
        }
        ("scheduling.k8s.io", "PriorityClass") => cluster::priority_class_update(new, old, errors),
        ("node.k8s.io", "RuntimeClass") => same(errors, &["handler"]),
        ("certificates.k8s.io", "CertificateSigningRequest") => same(errors, &["spec"]),
        _ => {}
    }
}

/// A path from its printed form, for errors that have no value at hand.
fn path(text: &str) -> Path {
    Path::new(text)
}

#[cfg(test)]
mod tests;
