//! Pods name a runtime class; what it costs to run and where it can run is written into them.

use minik_meta::{Quantity, Status, object};
use serde_json::{Map, Value};

use crate::call::Call;
use crate::objects;

/// The class that a pod names; one that is not there is refused.
fn class(call: &Call, pod: &Value) -> Result<Option<Value>, Status> {
    let name = object::text(pod, &["spec", "runtimeClassName"]);
    if name.is_empty() {
        return Ok(None);
    }
    let key = format!("{}node.k8s.io/runtimeclasses/{name}", objects::ROOT);
    let stored = call.core.store.get(&key);
    let class = stored.and_then(|stored| serde_json::from_slice(&stored.value).ok());
    class.map(Some).ok_or_else(|| {
        refused(call, pod, format!("pod rejected: RuntimeClass \"{name}\" not found"))
    })
}

fn refused(call: &Call, pod: &Value, why: impl Into<String>) -> Status {
    super::forbidden(call, object::name(pod), why.into())
}

/// Writes overhead, node selector and tolerations of the class into a new pod.
pub(super) fn of_new_pod(call: &Call, pod: &mut Value) -> Result<(), Status> {
    let Some(class) = class(call, pod)? else { return Ok(()) };
    if let Some(overhead) = object::at(&class, &["overhead", "podFixed"]) {
        let given = object::at(pod, &["spec", "overhead"]);
        if given.is_some_and(|given| !is_empty(given) && !same_amounts(given, overhead)) {
            return Err(refused(call, pod, MISMATCH));
        }
        object::set(pod, &["spec", "overhead"], overhead.clone());
    }
    let selector = object::at(&class, &["scheduling", "nodeSelector"]).and_then(Value::as_object);
    if let Some(selector) = selector {
        let given = object::at(pod, &["spec", "nodeSelector"]).and_then(Value::as_object);
        let merged = merge_selectors(given, selector).map_err(|why| refused(call, pod, why))?;
        object::set(pod, &["spec", "nodeSelector"], merged);
    }
    if class.get("scheduling").is_some() {
        let given = object::list(pod, &["spec", "tolerations"]);
        let more = object::list(&class, &["scheduling", "tolerations"]);
        let merged = merge_tolerations(given, more);
        if !merged.is_empty() {
            object::set(pod, &["spec", "tolerations"], merged);
        }
    }
    Ok(())
}

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/// Refuses a pod whose overhead is not that of its class.
pub(super) fn check(call: &Call, pod: &Value) -> Result<(), Status> {
    let class = class(call, pod)?;
    let overhead = class.as_ref().and_then(|class| object::at(class, &["overhead", "podFixed"]));
    let given = object::at(pod, &["spec", "overhead"]);
    match (overhead, given) {
        (Some(overhead), Some(given)) if same_amounts(given, overhead) => Ok(()),
        (Some(_), _) => Err(refused(call, pod, MISMATCH)),
        (None, Some(_)) => {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined \
                       Overhead";
            Err(refused(call, pod, why))
        }
        (None, None) => Ok(()),
    }
}

fn is_empty(map: &Value) -> bool {
    map.as_object().is_none_or(Map::is_empty)
}

fn same_amounts(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else { return false };
    let equal = |a: &Value, b: &Value| match (Quantity::from_value(a), Quantity::from_value(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    };
    one.len() == other.len()
        && one.iter().all(|(name, a)| other.get(name).is_some_and(|b| equal(a, b)))
}

fn merge_selectors(
    given: Option<&Map<String, Value>>,
    more: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut merged = given.cloned().unwrap_or_default();
    for (key, value) in more {
        match merged.get(key) {
            Some(has) if has != value => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; \
                     pod.spec.nodeSelector[{key}] = {}",
                    text(value),
                    text(has)
                ));
            }
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(merged)
}

/// All tolerations but those that another one covers.
fn merge_tolerations(given: &[Value], more: &[Value]) -> Vec<Value> {
    let all: Vec<&Value> = given.iter().chain(more).collect();
    let mut merged: Vec<Value> = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let covered = merged.iter().any(|other| covers(other, one));
        let covered_later = all[index + 1..].iter().any(|later| later != one && covers(later, one));
        if !covered && !covered_later {
            merged.push((*one).clone());
        }
    }
    merged
}

/// Whether whatever `narrow` tolerates, `wide` does, too.
fn covers(wide: &Value, narrow: &Value) -> bool {
    let text = |one: &'_ Value, key: &str| object::text(one, &[key]).to_owned();
    let exists = text(wide, "operator") == "Exists";
    let seconds = |one: &Value| object::integer(one, &["tolerationSeconds"]);
    if wide == narrow {
        return true;
    }
    let (key, effect) = (text(wide, "key"), text(wide, "effect"));
    if text(narrow, "key") != key && !(key.is_empty() && exists) {
        return false;
    }
    if text(narrow, "effect") != effect && !effect.is_empty() {
        return false;
    }
    if let (true, Some(limit)) = (effect == "NoExecute", seconds(wide))
        && seconds(narrow).is_none_or(|wanted| wanted > limit)
    {
        return false;
    }
    exists || (text(narrow, "operator") != "Exists" && text(narrow, "value") == text(wide, "value"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case(json!({"key": "a", "operator": "Exists"}), json!({"key": "a", "value": "1"}), true; "any value")]
    #[test_case(json!({"operator": "Exists"}), json!({"key": "a", "operator": "Exists", "effect": "NoExecute"}), true; "anything")]
    #[test_case(json!({"key": "a", "value": "1"}), json!({"key": "a", "operator": "Exists"}), false; "one value")]
    #[test_case(json!({"key": "a", "operator": "Exists", "effect": "NoSchedule"}), json!({"key": "a", "operator": "Exists"}), false; "one effect")]
    #[test_case(json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}),
        json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9}), false; "a shorter time")]
    #[test_case(json!({"key": "b", "operator": "Exists"}), json!({"key": "a", "operator": "Exists"}), false; "another key")]
    fn what_covers(wide: Value, narrow: Value, expected: bool) {
        assert_eq!(covers(&wide, &narrow), expected);
    }

    #[test]
    fn of_two_that_cover_each_other_the_first_stays() {
        let narrow = [json!({"key": "a", "value": "1"})];
        let wide = [json!({"operator": "Exists"})];
        assert_eq!(merge_tolerations(&narrow, &wide), wide);
        assert_eq!(merge_tolerations(&wide, &narrow), wide);
        assert_eq!(merge_tolerations(&wide, &wide), wide);
    }

    #[test]
    fn selectors_must_not_contradict() {
        let map = |value: Value| value.as_object().cloned().expect("a map");
        let (given, more) = (map(json!({"a": "1"})), map(json!({"a": "1", "b": "2"})));
        assert_eq!(merge_selectors(Some(&given), &more), Ok(more.clone()));
        assert_eq!(
            merge_selectors(Some(&map(json!({"b": "3"}))), &more),
            Err("conflict: runtimeClass.scheduling.nodeSelector[b] = 2; pod.spec.nodeSelector[b] = 3"
                .to_owned())
        );
    }

    #[test]
    fn amounts_are_compared_as_numbers() {
        assert!(same_amounts(&json!({"cpu": "10m"}), &json!({"cpu": "0.01"})));
        assert!(!same_amounts(&json!({"cpu": "10m"}), &json!({"cpu": "10m", "memory": "1Mi"})));
    }
}
