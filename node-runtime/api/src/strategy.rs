//! What happens to an object before it is stored: status reset, generation, validation.
//!
//! Order for the caller: on create, give the object its name, namespace and uid, then
//! [`prepare_create`], then [`validate`]. On update, [`prepare_update`] (or
//! [`prepare_status_update`]), then [`validate_update`]. Objects are decoded and defaulted before.

mod certificates;
mod jobs;
mod services;
mod status;

use minik_meta::{FieldError, Status, object};
use serde_json::Value;

use crate::aggregation;
use crate::custom::definition;
use crate::defaults;
use crate::resource::Resource;
use crate::validate;

pub use certificates::stamp_conditions;
pub use status::prepare_status_update;

/// Metadata that only the server writes: an update keeps what is stored.
const SERVER_METADATA: &[&str] =
    &["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"];

/// Makes a decoded, defaulted object ready to be stored for the first time: no status but the
/// initial one, generation 1, no deletion under way.
///
/// Not done here: name, namespace, uid and creation time, which must be set before; addresses and
/// node ports of Services; what admission fills in.
pub fn prepare_create(resource: &Resource, new: &mut Value) {
    let metadata = object::metadata_mut(new);
    for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        metadata.shift_remove(key);
    }
    if resource.has_generation {
        metadata.insert("generation".into(), 1.into());
    }
    if resets_status(resource) {
        set_status(resource, new, None);
    }
    match (resource.group.as_ref(), resource.kind.as_ref()) {
        ("", "Pod") => {
            let class = qos_class(new);
            object::set(new, &["status", "qosClass"], class);
        }
        ("", "Namespace") => add_namespace_finalizer(new),
        ("", "Service") => services::prepare_create(new),
        ("batch", "Job") => jobs::generate_selector(new),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition::prepare_create(new),
        ("apiregistration.k8s.io", "APIService")
            if object::at(new, &["spec", "service"]).is_none() =>
        {
            aggregation::mark_local(new);
        }
        _ => {}
    }
}

/// Makes a new version of an object ready to replace `old` through the main resource: the status
/// stays, server metadata stays, the generation counts a change of the spec.
pub fn prepare_update(resource: &Resource, new: &mut Value, old: &Value) {
    keep_metadata(new, old, SERVER_METADATA);
    if resource.has_status() {
        set_status(resource, new, old.get("status").cloned());
    }
    match (resource.group.as_ref(), resource.kind.as_ref()) {
        ("", "Namespace") => keep(new, old, &["spec", "finalizers"]),
        ("", "Service") => services::prepare_update(new, old),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition::prepare_update(new),
        _ => {}
    }
    if resource.has_generation && spec_changed(resource, new, old) {
        let next = object::generation(old) + 1;
        object::metadata_mut(new).insert("generation".into(), next.into());
    }
}

/// Whether an object to be created follows the rules of its kind.
///
/// # Errors
/// 422 with every rule broken.
pub fn validate(resource: &Resource, new: &Value) -> Result<(), Status> {
    refuse(resource, new, &wrong(resource, new, Write::Create))
}

/// Whether a prepared new version may replace `old`: the rules of the kind and its immutable
/// fields.
///
/// # Errors
/// 422 with every rule broken.
pub fn validate_update(resource: &Resource, new: &Value, old: &Value) -> Result<(), Status> {
    refuse(resource, new, &wrong(resource, new, Write::Update(old)))
}

/// Whether a prepared new status may replace that of `old`.
///
/// # Errors
/// 422 with every rule broken.
pub fn validate_status_update(resource: &Resource, new: &Value, old: &Value) -> Result<(), Status> {
    refuse(resource, new, &wrong(resource, new, Write::UpdateStatus(old)))
}

/// Which write brings a new state about.
#[derive(Clone, Copy, Debug)]
pub enum Write<'a> {
    /// There was none before.
    Create,
    /// It replaces this one.
    Update(&'a Value),
    /// Its status replaces that of this one.
    UpdateStatus(&'a Value),
}

/// What is wrong with a prepared new state: every rule broken that the kind itself has. Whoever
/// knows more rules adds what they find and asks [`refuse`].
pub fn wrong(resource: &Resource, new: &Value, write: Write<'_>) -> Vec<FieldError> {
    match write {
        Write::Create => validate::create(resource, new),
        Write::Update(old) => validate::update(resource, new, old),
        Write::UpdateStatus(old) => validate::status_update(resource, new, old),
    }
}

/// The answer if anything is wrong.
///
/// # Errors
/// 422 with all that is wrong.
pub fn refuse(resource: &Resource, new: &Value, wrong: &[FieldError]) -> Result<(), Status> {
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(&resource.group_kind(), object::name(new), wrong)),
    }
}

/// Most kinds with a status start without; nodes bring theirs along.
fn resets_status(resource: &Resource) -> bool {
    resource.has_status() && !resource.is("", "Node")
}

fn set_status(resource: &Resource, new: &mut Value, status: Option<Value>) {
    let map = object::fields(new);
    match status {
        Some(status) => {
            map.insert("status".into(), status);
        }
        None => {
            map.shift_remove("status");
            defaults::default_field(resource, map, "status");
        }
    }
}

fn keep_metadata(new: &mut Value, old: &Value, keys: &[&str]) {
    for key in keys {
        keep(new, old, &["metadata", key]);
    }
}

/// Takes what is at `path` from `old`, absence included.
fn keep(new: &mut Value, old: &Value, path: &[&str]) {
    match object::at(old, path) {
        Some(value) => object::set(new, path, value.clone()),
        None => {
            object::remove(new, path);
        }
    }
}

/// Whether anything but metadata and status differs. A Deployment's annotations count, too: they
/// are copied to its ReplicaSets.
fn spec_changed(resource: &Resource, new: &Value, old: &Value) -> bool {
    // A status that is not written apart is part of the spec.
    let apart = resource.custom.is_none() || resource.has_status();
    let counts = |key: &str| key != "metadata" && !(apart && key == "status");
    let same_annotations = || {
        let path = ["metadata", "annotations"];
        object::at(new, &path) == object::at(old, &path)
    };
    let fields =
        |value| object::map(value, &[]).into_iter().flatten().filter(|(key, _)| counts(key));
    let same = fields(new).count() == fields(old).count()
        && fields(new).all(|(key, value)| old.get(key) == Some(value));
    !same || (resource.is("apps", "Deployment") && !same_annotations())
}

fn add_namespace_finalizer(new: &mut Value) {
    const FINALIZER: &str = "kubernetes";
    let finalizers = object::list(new, &["spec", "finalizers"]);
    if !finalizers.iter().any(|one| one == FINALIZER) {
        let mut finalizers = finalizers.to_vec();
        finalizers.push(FINALIZER.into());
        object::set(new, &["spec", "finalizers"], finalizers);
    }
}

/// `Guaranteed` where every container limits cpu and memory and requests as much, `BestEffort`
/// where none says anything, else `Burstable`.
pub fn qos_class(pod: &Value) -> &'static str {
    let own = [&["spec", "initContainers"][..], &["spec", "containers"]];
    let containers = own.iter().flat_map(|path| object::list(pod, path));
    let pod_level = object::at(pod, &["spec", "resources"]);
    let all: Vec<&Value> = match pod_level {
        Some(_) => vec![&pod["spec"]],
        None => containers.collect(),
    };
    let amount = |container: &Value, list: &str, name: &str| {
        let value = object::at(container, &["resources", list, name])?;
        minik_meta::Quantity::from_value(value).ok().filter(|amount| !amount.is_zero())
    };
    let (mut any, mut guaranteed) = (false, !all.is_empty());
    for container in all {
        for name in ["cpu", "memory"] {
            let (request, limit) =
                (amount(container, "requests", name), amount(container, "limits", name));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests;
