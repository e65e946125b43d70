//! What of a pod may change after it was created.

use serde_json::Value;

use super::at::{At, Errors};

const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
     `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
     additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set \
     to 1 if it was previously negative)";

pub(super) fn pod(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    let mut same_shape = true;
    for key in ["containers", "initContainers"] {
        if new.get(key).len() != old.get(key).len() {
            errors.forbidden(&new.get(key), "pod updates may not add or remove containers");
            same_shape = false;
        }
    }
    if new.get("ephemeralContainers").value != old.get("ephemeralContainers").value {
        errors.forbidden(&new, FORBIDDEN);
        return;
    }
    deadline(&new.get("activeDeadlineSeconds"), &old.get("activeDeadlineSeconds"), errors);
    tolerations(&new.get("tolerations"), &old.get("tolerations"), errors);
    gates(&new.get("schedulingGates"), &old.get("schedulingGates"), errors);
    if same_shape && comparable(new.value, &old) != comparable(old.value, &old) {
        errors.forbidden(&new, FORBIDDEN);
    }
}

/// The spec without what may change.
fn comparable(spec: &Value, old: &At<'_>) -> Value {
    let mut spec = spec.clone();
    let gated = !old.get("schedulingGates").is_empty();
    let Some(map) = spec.as_object_mut() else { return spec };
    for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        map.shift_remove(key);
    }
    if gated {
        // Before it is scheduled, a pod's node may still be narrowed down.
        map.shift_remove("nodeSelector");
        if let Some(affinity) = map.get_mut("affinity").and_then(Value::as_object_mut) {
            affinity.shift_remove("nodeAffinity");
        }
    }
    if old.get("terminationGracePeriodSeconds").integer().is_some_and(|seconds| seconds < 0) {
        map.shift_remove("terminationGracePeriodSeconds");
    }
    for key in ["containers", "initContainers"] {
        for one in map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(container) = one.as_object_mut() {
                container.shift_remove("image");
            }
        }
    }
    spec
}

/// May be set, and made shorter.
fn deadline(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    match (new.integer(), old.integer()) {
        (Some(new_value), Some(old_value)) if new_value > old_value => {
            errors
                .invalid(new, &format!("must be less than or equal to previous value {old_value}"));
        }
        (None, Some(_)) => {
            errors.invalid(new, "must not update from a positive integer to nil value")
        }
        _ => {}
    }
}

/// Those there are stay, except for how long they hold.
fn tolerations(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let without_seconds = |one: At<'_>| {
        let mut one = one.value.clone();
        if let Some(map) = one.as_object_mut() {
            map.shift_remove("tolerationSeconds");
        }
        one
    };
    let have: Vec<Value> = new.items().map(without_seconds).collect();
    if old.items().any(|one| !have.contains(&without_seconds(one))) {
        errors
            .forbidden(new, "existing toleration can not be modified except its tolerationSeconds");
    }
}

/// Gates may only be lifted.
fn gates(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let before: Vec<&Value> = old.items().map(|one| one.value).collect();
    if new.items().any(|one| !before.contains(&one.value)) {
        errors.forbidden(new, "only deletion is allowed, but found new scheduling gate");
    }
}
