//! Pods name a priority class; the server looks up the number behind it.

use minik_meta::{FieldError, Path, Status, object};
use minik_store::ListOptions;
use serde_json::Value;

use crate::call::Call;
use crate::objects;

/// Classes above this are for the system.
const USER_MAX: i64 = 1_000_000_000;

fn class(call: &Call, name: &str) -> Option<Value> {
    let key = format!("{}scheduling.k8s.io/priorityclasses/{name}", objects::ROOT);
    serde_json::from_slice(&call.core.store.get(&key)?.value).ok()
}

fn default_class(call: &Call) -> Result<Option<Value>, Status> {
    let prefix = format!("{}scheduling.k8s.io/priorityclasses/", objects::ROOT);
    let page = call.core.store.list(&prefix, &ListOptions::default());
    let classes = page.map_err(Status::internal)?.entries;
    let classes = classes.iter().filter_map(|entry| serde_json::from_slice(&entry.value).ok());
    let defaults = classes.filter(|class: &Value| class["globalDefault"] == true);
    Ok(defaults.min_by_key(|class| class["value"].as_i64()))
}

/// Fills in `priority`, `priorityClassName` and `preemptionPolicy`.
pub(super) fn of_new_pod(call: &Call, pod: &mut Value) -> Result<(), Status> {
    let name = object::text(pod, &["spec", "priorityClassName"]).to_owned();
    let class = match name.as_str() {
        "" => default_class(call)?,
        name => Some(class(call, name).ok_or_else(|| {
            let why = format!("no PriorityClass with name {name} was found");
            super::forbidden(call, object::name(pod), why)
        })?),
    };
    let value = class.as_ref().and_then(|class| class["value"].as_i64()).unwrap_or(0);
    let given = object::integer(pod, &["spec", "priority"]);
    if let Some(given) = given.filter(|given| *given != value) {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority \
             admission controller computed {value} from the given PriorityClass name"
        );
        return Err(super::forbidden(call, object::name(pod), why));
    }
    let text = |field: &str| class.as_ref().map(|class| object::text(class, &[field]).to_owned());
    if let Some(class) = &class {
        object::set(pod, &["spec", "priorityClassName"], object::name(class).to_owned());
    }
    object::set(pod, &["spec", "priority"], value);
    let policy = text("preemptionPolicy").filter(|policy| !policy.is_empty());
    let policy = policy.unwrap_or_else(|| "PreemptLowerPriority".to_owned());
    object::set(pod, &["spec", "preemptionPolicy"], policy);
    Ok(())
}

/// Only the system makes classes above the limit or with its prefix.
pub(super) fn check_class(call: &Call, object: &Value) -> Result<(), Status> {
    if !call.kind.is("scheduling.k8s.io", "PriorityClass") {
        return Ok(());
    }
    let name = object::name(object);
    let system = matches!(name, "system-cluster-critical" | "system-node-critical");
    let mut errors = Vec::new();
    if name.starts_with("system-") && !system {
        let why = "priority class names with 'system-' prefix are reserved for system use only";
        errors.push(FieldError::forbidden(&Path::new("metadata.name"), why));
    }
    if !system && object["value"].as_i64().is_some_and(|value| value > USER_MAX) {
        let why = format!("maximum allowed value of a user defined priority is {USER_MAX}");
        errors.push(FieldError::forbidden(&Path::new("value"), why));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&call.group_kind(), name, &errors))
}
