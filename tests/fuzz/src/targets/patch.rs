//! Patches: `group/version/Kind`, an object, a patch.

use minik_api::decode::{ContentType, FieldValidation, decode_any};
use minik_api::{Resource, conform, patch as patches};
use serde_json::Value;

use super::{kind, object, parts};

/// Every patch ends in an object or a refusal; a merge patch done twice is done once.
pub fn patch(data: &[u8]) {
    let [name, target, patch] = parts(data);
    let resource = kind(name);
    let Ok((patch, _)) = decode_any(patch, ContentType::Json) else { return };
    let Some(target) = object(resource, target) else { return };

    let mut merged = target.clone();
    patches::merge::apply(&mut merged, &patch);
    let mut again = merged.clone();
    patches::merge::apply(&mut again, &patch);
    assert_eq!(again, merged);
    is_fit(resource, merged);

    let mut changed = target.clone();
    if patches::json::apply(&mut changed, &patch).is_ok() {
        is_fit(resource, changed);
    }

    let mut changed = target;
    if patches::strategic::apply(&resource.schema, &mut changed, &patch).is_ok() {
        is_fit(resource, changed);
    }
}

/// What a patch makes is an object of the kind, or is refused.
fn is_fit(resource: &Resource, mut value: Value) {
    if conform(resource, &mut value, FieldValidation::Ignore).is_ok() {
        super::decode::is_stable(resource, &value);
    }
}
