//! Server-side apply: `group/version/Kind`, a live object, a configuration.

use minik_api::apply::{BuiltInVersions, Write, check_managers, settle, track};
use minik_api::{Resource, apply as server_side};
use minik_meta::object::list;
use serde_json::Value;

use super::{kind, object, parts};

/// Applying again changes nothing, neither the object nor who owns what; a forced apply never
/// conflicts; an apply that conflicts says so with 409; owners can always be read.
pub fn apply(data: &[u8]) {
    let [name, live, config] = parts(data);
    let resource = kind(name);
    let Some(mut config) = object(resource, config) else { return };
    without_managers(&mut config);
    let write = |manager: &'static str| Write {
        resource,
        subresource: "",
        manager,
        now: "2026-01-01T00:00:00Z",
        versions: &BuiltInVersions,
    };
    let live = live_object(resource, live, &write("a"));
    if let Err(status) = server_side::apply(&write("b"), live.as_ref(), &config, false) {
        assert!(matches!(status.code, 400 | 409 | 422 | 500), "{}", status.message);
    }
    let applied = match server_side::apply(&write("b"), live.as_ref(), &config, true) {
        Ok(applied) => applied,
        Err(status) => {
            assert_ne!(status.code, 409, "{}", status.message);
            return;
        }
    };
    let owners = list(&applied, &["metadata", "managedFields"]);
    check_managers(owners).expect("owners can be read");
    if owners.is_empty() {
        return;
    }
    let again = server_side::apply(&write("b"), Some(&applied), &config, false);
    let mut again = again.unwrap_or_else(|status| panic!("its own: {}", status.message));
    settle(&applied, &mut again);
    assert_eq!(again, applied);
    let mut same = applied.clone();
    track(&write("c"), Some(&applied), &mut same);
    assert_eq!(same, applied, "no change, no owner");
}

/// The object as it would be stored: with its owners.
fn live_object(resource: &Resource, text: &[u8], write: &Write<'_>) -> Option<Value> {
    let mut live = object(resource, text)?;
    minik_api::default(resource, &mut live);
    if check_managers(list(&live, &["metadata", "managedFields"])).is_err() {
        without_managers(&mut live);
    }
    track(write, None, &mut live);
    Some(live)
}

fn without_managers(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
}
