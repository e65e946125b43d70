//! LimitRanges: default resources of containers, and bounds of containers, pods and claims.

use minik_meta::{Quantity, Status, object};
use minik_store::ListOptions;
use serde_json::Value;

use crate::call::Call;
use crate::objects;

/// The items of all LimitRanges of the call's namespace.
fn items(call: &Call) -> Result<Vec<Value>, Status> {
    let prefix = format!("{}core/limitranges/{}/", objects::ROOT, call.target.namespace);
    let page = call.core.store.list(&prefix, &ListOptions::default());
    let page = page.map_err(Status::internal)?;
    let ranges =
        page.entries.iter().filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok());
    Ok(ranges.flat_map(|range| object::list(&range, &["spec", "limits"]).to_vec()).collect())
}

/// Gives containers the default limits and requests of their namespace.
pub(super) fn default_resources(call: &Call, pod: &mut Value) -> Result<(), Status> {
    apply_defaults(&items(call)?, pod);
    Ok(())
}

fn apply_defaults(items: &[Value], pod: &mut Value) {
    for item in items.iter().filter(|item| item["type"] == "Container") {
        for list in ["containers", "initContainers"] {
            let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                for (from, to) in [("default", "limits"), ("defaultRequest", "requests")] {
                    for (name, amount) in object::map(item, &[from]).into_iter().flatten() {
                        if object::at(container, &["resources", to, name]).is_none() {
                            object::set(container, &["resources", to, name], amount.clone());
                        }
                    }
                }
            }
        }
    }
}

/// Refuses pods and claims outside the bounds of their namespace.
pub(super) fn check(call: &Call, object: &Value) -> Result<(), Status> {
    let pod = call.kind.is("", "Pod");
    if !pod && !call.kind.is("", "PersistentVolumeClaim") {
        return Ok(());
    }
    let items = items(call)?;
    let mut wrong = Vec::new();
    for item in &items {
        match object::text(item, &["type"]) {
            "Container" if pod => {
                let containers = object::list(object, &["spec", "containers"]).iter();
                for container in containers.chain(object::list(object, &["spec", "initContainers"]))
                {
                    check_bounds(item, "Container", &container["resources"], &mut wrong);
                }
            }
            "Pod" if pod => check_bounds(item, "Pod", &pod_resources(object), &mut wrong),
            "PersistentVolumeClaim" if !pod => {
                check_bounds(
                    item,
                    "PersistentVolumeClaim",
                    &object["spec"]["resources"],
                    &mut wrong,
                );
            }
            _ => {}
        }
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(super::forbidden(call, object::name(object), one)),
        many => {
            let why = format!("[{}]", many.join(", "));
            Err(super::forbidden(call, object::name(object), why))
        }
    }
}

fn quantity(value: Option<&Value>) -> Option<Quantity> {
    Quantity::from_value(value?).ok()
}

fn check_bounds(item: &Value, what: &str, resources: &Value, wrong: &mut Vec<String>) {
    let given = |list: &str, name: &str| quantity(object::at(resources, &[list, name]));
    for (name, bound) in object::map(item, &["min"]).into_iter().flatten() {
        let Some(bound) = quantity(Some(bound)) else { continue };
        let message = format!("minimum {name} usage per {what} is {bound}");
        match (given("requests", name), given("limits", name)) {
            (None, _) => wrong.push(format!("{message}.  No request is specified")),
            (Some(request), _) if request < bound => {
                wrong.push(format!("{message}, but request is {request}"));
            }
            (_, Some(limit)) if limit < bound => {
                wrong.push(format!("{message}, but limit is {limit}"));
            }
            _ => {}
        }
    }
    for (name, bound) in object::map(item, &["max"]).into_iter().flatten() {
        let Some(bound) = quantity(Some(bound)) else { continue };
        let message = format!("maximum {name} usage per {what} is {bound}");
        // Claims have requests only.
        let list = if what == "PersistentVolumeClaim" { "requests" } else { "limits" };
        match given(list, name) {
            None => wrong.push(format!("{message}.  No limit is specified")),
            Some(limit) if limit > bound => {
                wrong.push(format!("{message}, but limit is {limit}"));
            }
            Some(_) => {}
        }
    }
    for (name, bound) in object::map(item, &["maxLimitRequestRatio"]).into_iter().flatten() {
        let Some(bound) = quantity(Some(bound)) else { continue };
        let (Some(limit), Some(request)) = (given("limits", name), given("requests", name)) else {
            wrong.push(format!("{name} max limit to request ratio per {what} is {bound}, but no limit or request is specified"));
            continue;
        };
        let ratio = limit.as_f64() / request.as_f64();
        if ratio > bound.as_f64() {
            wrong.push(format!(
                "{name} max limit to request ratio per {what} is {bound}, but provided ratio is {ratio:.6}"
            ));
        }
    }
}

/// The sums over a pod's containers, as `{limits, requests}`.
fn pod_resources(pod: &Value) -> Value {
    let mut sums = Value::Null;
    for list in ["limits", "requests"] {
        let containers = object::list(pod, &["spec", "containers"]);
        for container in containers {
            for (name, amount) in object::map(container, &["resources", list]).into_iter().flatten()
            {
                let amount = quantity(Some(amount)).unwrap_or(Quantity::ZERO);
                let so_far = quantity(object::at(&sums, &[list, name])).unwrap_or(Quantity::ZERO);
                object::set(&mut sums, &[list, name], so_far.plus(amount).to_string());
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use test_case::test_case;

    #[test]
    fn defaults_fill_what_is_missing() {
        let item = json!({"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"}});
        let mut pod = json!({"spec": {"containers": [
            {"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "2"}}},
        ]}});
        apply_defaults(&[item], &mut pod);
        let containers = &pod["spec"]["containers"];
        assert_eq!(
            containers[0]["resources"],
            json!({"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}})
        );
        assert_eq!(containers[1]["resources"]["limits"]["cpu"], "2");
    }

    #[test_case(json!({"min": {"cpu": "100m"}}), "minimum cpu usage per Container is 100m, but request is 50m"; "too little")]
    #[test_case(json!({"max": {"cpu": "150m"}}), "maximum cpu usage per Container is 150m, but limit is 200m"; "too much")]
    #[test_case(json!({"max": {"memory": "1Gi"}}), "maximum memory usage per Container is 1Gi.  No limit is specified"; "no limit")]
    #[test_case(json!({"maxLimitRequestRatio": {"cpu": "2"}}), "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000"; "ratio")]
    #[test_case(json!({"min": {"cpu": "10m"}, "max": {"cpu": "1"}}), ""; "inside")]
    fn bounds(item: Value, expected: &str) {
        let resources = json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "200m"}});
        let mut wrong = Vec::new();
        check_bounds(&item, "Container", &resources, &mut wrong);
        assert_eq!(wrong.join(", "), expected);
    }
}
