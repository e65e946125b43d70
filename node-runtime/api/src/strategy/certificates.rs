//! Certificate requests: who writes which of their conditions, and when that was.

use minik_meta::{object, time};
use serde_json::Value;

const CONDITIONS: &[&str] = &["status", "conditions"];
const TIMES: [&str; 2] = ["lastUpdateTime", "lastTransitionTime"];

/// What signers write: approvals and denials stay as they are, unless some were added or removed,
/// which validation refuses.
pub(super) fn prepare_status(new: &mut Value, old: &Value) {
    for decision in ["Approved", "Denied"] {
        let kept: Vec<&Value> = of_type(old, decision).collect();
        if of_type(new, decision).count() != kept.len() {
            continue;
        }
        let Some(conditions) = conditions_mut(new) else { continue };
        let places = conditions.iter_mut().filter(|one| one["type"] == decision);
        places.zip(kept).for_each(|(place, kept)| *place = kept.clone());
    }
    stamp_conditions(new, old);
}

/// Gives conditions of a certificate request the times they lack: that of the same condition as it
/// was, or now.
pub fn stamp_conditions(new: &mut Value, old: &Value) {
    let before = object::list(old, CONDITIONS);
    let now = Value::from(time::now_rfc3339());
    for condition in conditions_mut(new).into_iter().flatten() {
        let same = before.iter().find(|one| {
            one.get("type") == condition.get("type") && one.get("status") == condition.get("status")
        });
        let since = same.and_then(|one| one.get(TIMES[1])).filter(|at| !at.is_null());
        let since = since.unwrap_or(&now).clone();
        let fields = object::fields(condition);
        for (key, value) in TIMES.into_iter().zip([now.clone(), since]) {
            if fields.get(key).is_none_or(Value::is_null) {
                fields.insert(key.to_owned(), value);
            }
        }
    }
}

fn of_type<'a>(request: &'a Value, wanted: &'a str) -> impl Iterator<Item = &'a Value> {
    object::list(request, CONDITIONS).iter().filter(move |one| one["type"] == wanted)
}

fn conditions_mut(request: &mut Value) -> Option<&mut Vec<Value>> {
    request.get_mut("status")?.get_mut("conditions")?.as_array_mut()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(conditions: &Value) -> Value {
        json!({"status": {"conditions": conditions}})
    }

    #[test]
    fn signers_leave_decisions_alone() {
        let old = request(&json!([{"type": "Approved", "status": "True", "reason": "a",
            "lastUpdateTime": "x", "lastTransitionTime": "y"}]));
        let mut new = request(&json!([{"type": "Failed", "status": "True"},
            {"type": "Approved", "status": "True", "reason": "b"}]));
        prepare_status(&mut new, &old);
        assert_eq!(new["status"]["conditions"][1], old["status"]["conditions"][0]);
        assert!(new["status"]["conditions"][0]["lastUpdateTime"].is_string());
    }

    #[test]
    fn a_condition_is_as_old_as_it_was() {
        let old = request(&json!([{"type": "Denied", "status": "True",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]));
        let mut new = request(&json!([{"type": "Denied", "status": "True", "reason": "again"}]));
        stamp_conditions(&mut new, &old);
        let condition = &new["status"]["conditions"][0];
        assert_eq!(condition["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_ne!(condition["lastUpdateTime"], condition["lastTransitionTime"]);
    }
}
