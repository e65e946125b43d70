//! Conversion of custom resources between versions by asking the webhook of their definition.
//!
//! Where a definition has none, versions differ in name only and nothing here has anything to do;
//! that is asked first and costs nothing.

use std::time::Duration;

use bytes::Bytes;
use minik_api::Resource;
use minik_meta::{Reason, Status, gvk, names, object};
use minik_store::Entry;
use serde_json::{Value, json};

use crate::call::Call;
use crate::core::Core;
use crate::negotiate::Shape;
use crate::objects;
use crate::{vault, webhook};

/// How deep an object may be nested, with the record of who owns its fields: what is nested more deeply
/// could be written, but not be parsed again.
const DEPTH_MAX: usize = 126;

/// How long a conversion may take.
const CONVERSION_MAX: Duration = Duration::from_secs(30);

/// Entries with their values in the version of the call.
///
/// Who asks for metadata only gets it without conversion: identity, owners and finalizers are the
/// same in all versions, and the controllers that follow all kinds must not depend on a webhook.
pub(crate) async fn served(call: &Call, mut entries: Vec<Entry>) -> Result<Vec<Entry>, Status> {
    for entry in &entries {
        vault::readable_in_list(&entry.key, &entry.value)?;
    }
    if call.output.shape != Shape::Metadata {
        let mut values: Vec<&mut Bytes> =
            entries.iter_mut().map(|entry| &mut entry.value).collect();
        convert_bytes(&call.core, &call.kind, &mut values).await?;
    }
    Ok(entries)
}

/// One entry with its value in the version of the call.
pub(crate) async fn served_one(call: &Call, entry: Entry) -> Result<Entry, Status> {
    vault::readable(&entry.value)?;
    let mut entry = entry;
    convert_bytes(&call.core, &call.kind, &mut [&mut entry.value]).await?;
    Ok(entry)
}

/// Converts stored values in place to the version of `kind`.
pub(crate) async fn convert_bytes(
    core: &Core,
    kind: &Resource,
    values: &mut [&mut Bytes],
) -> Result<(), Status> {
    if !asks_webhook(kind) {
        return Ok(());
    }
    let foreign: Vec<usize> =
        (0..values.len()).filter(|index| !objects::is_in_version(kind, values[*index])).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let given: Vec<Value> = foreign
        .iter()
        .map(|index| serde_json::from_slice(values[*index]).unwrap_or_default())
        .collect();
    let converted = convert(core, kind, &kind.api_version(), given).await?;
    for (index, mut object) in foreign.into_iter().zip(converted) {
        objects::refit(kind, &mut object);
        *values[index] = objects::bytes(object);
    }
    Ok(())
}

/// The bytes to store for an object of the call's version.
pub(crate) async fn to_storage(call: &Call, object: Value) -> Result<Bytes, Status> {
    if object::is_deeper(&object, DEPTH_MAX) {
        let kind = call.group_kind();
        return Err(Status::bad_request(format!("{kind}: exceeded max depth")));
    }
    let kind = &call.kind;
    if kind.custom.is_none() || kind.is_storage_version() {
        return Ok(objects::write(kind, object));
    }
    let storage = &kind.storage;
    let wanted = gvk::api_version(&storage.group, &storage.version);
    let mut converted = object;
    if asks_webhook(kind) {
        let mut answer = convert(&call.core, kind, &wanted, vec![converted]).await?;
        converted = answer.pop().unwrap_or_default();
    }
    object::set(&mut converted, &["apiVersion"], wanted);
    // The storage version need not be served; then its schema is applied when it is read.
    if let Some(stored) = call.core.kinds.find(&storage.group, &storage.version, &storage.plural) {
        objects::refit(&stored, &mut converted);
    }
    Ok(objects::bytes(converted))
}

/// An object of one version in another one of the same stored kind.
pub(crate) async fn between(
    core: &Core,
    from: &Resource,
    to: &Resource,
    object: Value,
) -> Result<Value, Status> {
    let mut converted = object;
    if from.custom.is_none() {
        minik_api::convert(&mut converted, from, to)?;
        return Ok(converted);
    }
    if asks_webhook(to) {
        let mut answer = convert(core, to, &to.api_version(), vec![converted]).await?;
        converted = answer.pop().unwrap_or_default();
    }
    object::set(&mut converted, &["apiVersion"], to.api_version());
    objects::refit(to, &mut converted);
    Ok(converted)
}

fn asks_webhook(kind: &Resource) -> bool {
    kind.custom.as_ref().is_some_and(|custom| custom.webhook)
}

/// Asks the webhook; the answer has as many objects, in the same order.
async fn convert(
    core: &Core,
    kind: &Resource,
    wanted: &str,
    given: Vec<Value>,
) -> Result<Vec<Value>, Status> {
    let Some(custom) = &kind.custom else { return Ok(given) };
    let failed = |why: String| {
        let about = format!("{}/{}, Kind={}", kind.group, kind.version, kind.kind);
        let message = format!("conversion webhook for {about} failed: {why}");
        Status::new(Reason::InternalError, message)
    };
    let definition = custom.definition();
    let webhook = &definition["spec"]["conversion"]["webhook"];
    let spoken = object::list(webhook, &["conversionReviewVersions"]);
    let spoken = spoken.iter().filter_map(Value::as_str);
    let Some(version) = spoken.into_iter().find(|one| matches!(*one, "v1" | "v1beta1")) else {
        return Err(failed("it speaks no version of ConversionReview that we do".to_owned()));
    };
    let review = json!({
        "kind": "ConversionReview",
        "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": names::new_uid(), "desiredAPIVersion": wanted, "objects": given},
    });
    let answer = webhook::ask(core, &webhook["clientConfig"], &review, CONVERSION_MAX, false)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let given = review["request"]["objects"].as_array().map_or(&[][..], Vec::as_slice);
    check(&review["request"]["uid"], &answer, wanted, given).map_err(failed)
}

/// Takes the objects out of the webhook's answer; of their metadata only labels and annotations
/// are the webhook's to change.
fn check(uid: &Value, answer: &Value, wanted: &str, given: &[Value]) -> Result<Vec<Value>, String> {
    let Some(response) = object::at(answer, &["response"]) else {
        return Err("no response provided".to_owned());
    };
    if response["uid"] != *uid {
        return Err(format!("expected response.uid={uid}, got {}", response["uid"]));
    }
    if object::text(response, &["result", "status"]) != "Success" {
        let why = object::text(response, &["result", "message"]);
        return Err(if why.is_empty() { "response status was not Success" } else { why }.to_owned());
    }
    let converted = object::list(response, &["convertedObjects"]);
    if converted.len() != given.len() {
        return Err(format!("returned {} objects, expected {}", converted.len(), given.len()));
    }
    let pairs = converted.iter().zip(given).enumerate();
    pairs.map(|(index, (new, old))| check_one(index, new, old, wanted)).collect()
}

fn check_one(index: usize, new: &Value, old: &Value, wanted: &str) -> Result<Value, String> {
    let invalid = |why: String| format!("invalid converted object at index {index}: {why}");
    let version = object::text(new, &["apiVersion"]);
    if version != wanted {
        return Err(invalid(format!("invalid apiVersion {version:?}, expected {wanted:?}")));
    }
    let kind = object::text(new, &["kind"]);
    if kind != object::text(old, &["kind"]) {
        let had = object::text(old, &["kind"]);
        return Err(invalid(format!("invalid kind {kind:?}, expected {had:?}")));
    }
    for key in ["name", "namespace", "uid"] {
        let (now, before) =
            (object::text(new, &["metadata", key]), object::text(old, &["metadata", key]));
        if now != before {
            return Err(invalid(format!("must have the same {key}: {now:?} != {before:?}")));
        }
    }
    let mut object = new.clone();
    let mut metadata = old["metadata"].clone();
    for key in ["labels", "annotations"] {
        match object::at(new, &["metadata", key]) {
            Some(value) if value.is_object() => object::set(&mut metadata, &[key], value.clone()),
            _ => {
                object::remove(&mut metadata, &[key]);
            }
        }
    }
    object::set(&mut object, &["metadata"], metadata);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn told(response: Value, expected: Expect) {
        let given = [json!({
            "apiVersion": "a.b/v1", "kind": "K",
            "metadata": {"name": "n", "uid": "u", "labels": {"a": "b"}, "generation": 3},
            "spec": {"host": "x"},
        })];
        let answer = json!({"response": response});
        let said = match check(&"1".into(), &answer, "a.b/v2", &given) {
            Ok(objects) => Value::Array(objects).to_string(),
            Err(why) => why,
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn answers() {
        let object = |version: &str, name: &str| {
            json!({
                "apiVersion": version, "kind": "K",
                "metadata": {"name": name, "uid": "u", "annotations": {"c": "d"}, "generation": 9},
                "spec": {"hosts": ["x"]},
            })
        };
        let good = |objects: Value| json!({"uid": "1", "result": {"status": "Success"}, "convertedObjects": objects});
        told(
            good(json!([object("a.b/v2", "n")])),
            expect![[
                r#"[{"apiVersion":"a.b/v2","kind":"K","metadata":{"name":"n","uid":"u","generation":3,"annotations":{"c":"d"}},"spec":{"hosts":["x"]}}]"#
            ]],
        );
        told(good(json!([])), expect!["returned 0 objects, expected 1"]);
        told(
            good(json!([object("a.b/v1", "n")])),
            expect![[
                r#"invalid converted object at index 0: invalid apiVersion "a.b/v1", expected "a.b/v2""#
            ]],
        );
        told(
            good(json!([object("a.b/v2", "m")])),
            expect![[
                r#"invalid converted object at index 0: must have the same name: "m" != "n""#
            ]],
        );
        told(json!({"uid": "1", "result": {"status": "Failed", "message": "no"}}), expect!["no"]);
        told(json!({"uid": "2"}), expect![[r#"expected response.uid="1", got "2""#]]);
    }
}
