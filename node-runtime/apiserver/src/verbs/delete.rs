//! Deletes an object: at once, after a grace period, or when its finalizers are done.
//!
//! What has to happen is decided by [`decide`], which is pure; the loop around it carries it out.

use ::time::{Duration, OffsetDateTime};
use http::{Request, Response, StatusCode};
use minik_api::Resource;
use minik_api::custom::definition::{self, DeletionStage};
use minik_meta::status::Details;
use minik_meta::{Status, object, time};
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::{self, Call};
use crate::verbs::write;
use crate::{admission, convert, input, objects, output};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// The grace period of pods that do not name one, in seconds.
const GRACE_DEFAULT_S: i64 = 30;
const TRIES_MAX: usize = 16;

/// What happens to what the object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) grace_s: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) dry_run: bool,
}

impl Options {
    /// As a `DeleteOptions` object.
    pub(crate) fn to_value(&self) -> Value {
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
        if let Some(grace) = self.grace_s {
            options["gracePeriodSeconds"] = grace.into();
        }
        if let Some(uid) = &self.uid {
            object::set(&mut options, &["preconditions", "uid"], uid.clone());
        }
        if let Some(version) = &self.resource_version {
            object::set(&mut options, &["preconditions", "resourceVersion"], version.clone());
        }
        if let Some(propagation) = self.propagation {
            options["propagationPolicy"] = match propagation {
                Propagation::Background => "Background",
                Propagation::Foreground => "Foreground",
                Propagation::Orphan => "Orphan",
            }
            .into();
        }
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        options
    }
}

/// What deleting comes to.
#[derive(Clone, Debug, PartialEq)]
enum Decision {
    /// Gone now.
    Remove,
    /// It stays until others are done with it; this is its new state.
    Mark(Value),
    /// It is on its way already.
    AsItIs,
}

pub(crate) async fn delete(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let options = options(call, request).await?;
    let name = call.target.name.clone();
    let (object, removed) = delete_one(call, &name, &options, Some(&name)).await?;
    // Pods and namespaces take their time: clients want to see the state.
    let shows_object = !removed || call.kind.is("", "Pod") || call.kind.is("", "Namespace");
    if shows_object {
        return Ok(output::one(call, StatusCode::OK, object));
    }
    let details = Details {
        name,
        group: call.kind.group.to_string(),
        kind: call.kind.plural.to_string(),
        uid: object::uid(&object).to_owned(),
        ..Details::default()
    };
    let status = Status::success(Some(details));
    Ok(output::value(call, StatusCode::OK, &status))
}

/// Reads `DeleteOptions` from body and query; the body counts if both are there.
pub(crate) async fn options(call: &Call, request: Request<Body>) -> Result<Options, Status> {
    let kind = call.core.kinds.body("", "v1", "DeleteOptions");
    let body = match kind {
        Some(kind) => input::optional(call, &kind, request).await?,
        None => None,
    };
    match body {
        Some(body) => options_of(&body, call.dry_run),
        None => options_of(&query_options(call)?, call.dry_run),
    }
}

/// The options as a body would have them.
fn query_options(call: &Call) -> Result<Value, Status> {
    let mut options = json!({});
    let grace: Option<i64> = call
        .query
        .number("gracePeriodSeconds")
        .map_err(|text| Status::bad_request(format!("gracePeriodSeconds: {text:?}")))?;
    if let Some(grace) = grace {
        options["gracePeriodSeconds"] = grace.into();
    }
    if let Some(policy) = call.query.non_empty("propagationPolicy") {
        options["propagationPolicy"] = policy.into();
    }
    if call.query.get("orphanDependents").is_some() {
        options["orphanDependents"] = call.query.flag("orphanDependents").into();
    }
    Ok(options)
}

/// Reads a `DeleteOptions` object.
pub(crate) fn options_of(body: &Value, dry_run: bool) -> Result<Options, Status> {
    let orphan = body.get("orphanDependents").and_then(Value::as_bool);
    let policy = body.get("propagationPolicy").and_then(Value::as_str);
    let propagation = match (policy, orphan) {
        (Some(_), Some(_)) => {
            return Err(Status::bad_request(
                "propagationPolicy: Invalid value: orphanDependents and deletionPropagation \
                 cannot be both set",
            ));
        }
        (Some("Background"), None) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), None) => Some(Propagation::Foreground),
        (Some("Orphan"), None) | (None, Some(true)) => Some(Propagation::Orphan),
        (Some(other), None) => {
            return Err(Status::bad_request(format!(
                "propagationPolicy: Unsupported value: {other:?}: supported values: \
                 \"Background\", \"Foreground\", \"Orphan\""
            )));
        }
        (None, None) => None,
    };
    let text = |key: &str| {
        body.pointer(&format!("/preconditions/{key}")).and_then(Value::as_str).map(str::to_owned)
    };
    let dry = body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(Options {
        grace_s: body.get("gracePeriodSeconds").and_then(Value::as_i64),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        propagation,
        dry_run: dry_run || call::dry_run(dry)?,
    })
}

/// Deletes one object; returns its last state and whether it is gone. `told` is the name under which
/// webhooks are asked; nobody is if there is none.
pub(crate) async fn delete_one(
    call: &Call,
    name: &str,
    options: &Options,
    told: Option<&str>,
) -> Result<(Value, bool), Status> {
    let kind = &call.kind;
    let key = objects::key(kind, &call.target.namespace, name);
    for _ in 0..TRIES_MAX {
        let entry = call.core.store.get(&key);
        let entry = entry.ok_or_else(|| Status::not_found(&call.resource(), name))?;
        let at = entry.modified;
        let entry = convert::served_one(call, entry).await?;
        let object = objects::read(kind, &entry.value, entry.modified);
        check_preconditions(call, name, &object, options)?;
        admission::check_delete(call, &object)?;
        let decision = decide(kind, &object, options, time::now());
        // A pod that is on its way out stays so, whoever asks for it again.
        let pending = decision == Decision::AsItIs && kind.is("", "Pod");
        if let Some(told) = told.filter(|_| !pending) {
            admission::ask_delete(call, told, &object, options).await?;
        }
        match decision {
            Decision::AsItIs => return Ok((object, false)),
            Decision::Remove if options.dry_run => return Ok((object, true)),
            Decision::Mark(marked) if options.dry_run => return Ok((marked, false)),
            Decision::Remove => {
                if write::remove(call, name, at).await? {
                    return Ok((object, true));
                }
            }
            Decision::Mark(marked) => {
                let replaced = write::replace(call, name, at, marked).await?;
                if let Some(replaced) = replaced {
                    return Ok((replaced, false));
                }
            }
        }
    }
    Err(Status::modified(&call.resource(), name))
}

fn check_preconditions(
    call: &Call,
    name: &str,
    object: &Value,
    options: &Options,
) -> Result<(), Status> {
    let checks = [
        ("UID", &options.uid, object::uid(object)),
        ("ResourceVersion", &options.resource_version, object::resource_version(object)),
    ];
    for (what, wanted, found) in checks {
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: \
                 {found}"
            );
            return Err(Status::conflict(&call.resource(), name, why));
        }
    }
    Ok(())
}

/// What deleting `object` comes to.
fn decide(kind: &Resource, object: &Value, options: &Options, now: OffsetDateTime) -> Decision {
    let dying = object::deletion_timestamp(object).is_some();
    let grace = grace(kind, object, options);
    let mut finalizers = finalizers(object, options, kind);
    let definition = kind.is("apiextensions.k8s.io", "CustomResourceDefinition");
    if definition && !dying && !finalizers.iter().any(|one| one == definition::CLEANUP) {
        finalizers.push(definition::CLEANUP.to_owned());
    }
    let held = !finalizers.is_empty() || namespace_holds(kind, object);
    if !held && grace == 0 {
        return Decision::Remove;
    }
    let mut marked = object.clone();
    set_finalizers(&mut marked, finalizers);
    let had = object::integer(object, &["metadata", "deletionGracePeriodSeconds"]);
    // A second request may shorten the grace period, never lengthen it.
    if !dying || had.is_some_and(|had| grace < had) {
        let metadata = object::metadata_mut(&mut marked);
        let at = time::rfc3339(now + Duration::seconds(grace));
        metadata.insert("deletionTimestamp".to_owned(), at.into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
        if !dying && let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
        if kind.is("", "Namespace") {
            object::set(&mut marked, &["status", "phase"], "Terminating");
        }
        if definition && !dying {
            definition::mark_deletion(&mut marked, &DeletionStage::Pending);
        }
    }
    if marked == *object { Decision::AsItIs } else { Decision::Mark(marked) }
}

/// The grace period in seconds: only pods that may be running somewhere have one.
fn grace(kind: &Resource, object: &Value, options: &Options) -> i64 {
    if !kind.is("", "Pod") {
        return 0;
    }
    let unscheduled = object::text(object, &["spec", "nodeName"]).is_empty();
    let phase = object::text(object, &["status", "phase"]);
    if unscheduled || matches!(phase, "Succeeded" | "Failed") {
        return 0;
    }
    let own = object::integer(object, &["spec", "terminationGracePeriodSeconds"]);
    let grace = options.grace_s.or(own).unwrap_or(GRACE_DEFAULT_S);
    // Upstream treats negative periods as "as fast as allowed".
    if grace < 0 { 1 } else { grace }
}

fn namespace_holds(kind: &Resource, object: &Value) -> bool {
    kind.is("", "Namespace") && !object::list(object, &["spec", "finalizers"]).is_empty()
}

/// The finalizers after the propagation policy had its say.
fn finalizers(object: &Value, options: &Options, kind: &Resource) -> Vec<String> {
    let mut finalizers: Vec<String> = object::finalizers(object).map(str::to_owned).collect();
    let wanted = match options.propagation {
        None => return finalizers,
        Some(Propagation::Background) => None,
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Orphan) => Some(ORPHAN),
    };
    // Nothing owns by events and leases; the garbage collector does not look at them.
    let collected = !matches!(kind.plural.as_ref(), "events" | "leases");
    finalizers.retain(|one| one != FOREGROUND && one != ORPHAN);
    finalizers.extend(wanted.filter(|_| collected).map(str::to_owned));
    finalizers
}

fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    match finalizers.is_empty() {
        true => {
            object::remove(object, &["metadata", "finalizers"]);
        }
        false => object::set(object, &["metadata", "finalizers"], finalizers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::time::macros::datetime;
    use test_case::test_case;

    fn pod(node: &str, more: Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": "a", "generation": 1},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 5},
        });
        if let Some(more) = more.as_object() {
            let metadata = object::metadata_mut(&mut pod);
            metadata.extend(more.clone());
        }
        pod
    }

    #[test_case("pods", pod("", json!({})), json!({}), "remove"; "pod without a node")]
    #[test_case("pods", pod("n1", json!({})), json!({}), "mark 5 []"; "running pod")]
    #[test_case("pods", pod("n1", json!({})), json!({"gracePeriodSeconds": 0}), "remove"; "forced")]
    #[test_case("pods", pod("n1", json!({"deletionTimestamp": "x", "deletionGracePeriodSeconds": 5})), json!({}), "as it is"; "second delete")]
    #[test_case("pods", pod("n1", json!({"deletionTimestamp": "x", "deletionGracePeriodSeconds": 5})), json!({"gracePeriodSeconds": 2}), "mark 2 []"; "shortened")]
    #[test_case("pods", pod("", json!({"finalizers": ["f"]})), json!({}), "mark 0 [f]"; "held by a finalizer")]
    #[test_case("configmaps", json!({"metadata": {}}), json!({}), "remove"; "plain object")]
    #[test_case("configmaps", json!({"metadata": {}}), json!({"propagationPolicy": "Foreground"}), "mark 0 [foregroundDeletion]"; "foreground")]
    #[test_case("configmaps", json!({"metadata": {}}), json!({"orphanDependents": true}), "mark 0 [orphan]"; "orphan")]
    #[test_case("namespaces", json!({"metadata": {}, "spec": {"finalizers": ["kubernetes"]}}), json!({}), "mark 0 []"; "namespace")]
    fn decisions(plural: &str, object: Value, options: Value, expected: &str) {
        let kind = minik_api::kinds().by_resource("", "v1", plural).expect("kind");
        let options = options_of(&options, false).expect("options");
        let now = datetime!(2026-01-02 03:04:05 UTC);
        let said = match decide(kind, &object, &options, now) {
            Decision::Remove => "remove".to_owned(),
            Decision::AsItIs => "as it is".to_owned(),
            Decision::Mark(marked) => {
                let finalizers: Vec<_> = object::finalizers(&marked).collect();
                let grace = &marked["metadata"]["deletionGracePeriodSeconds"];
                format!("mark {grace} [{}]", finalizers.join(" "))
            }
        };
        assert_eq!(said, expected);
    }
}
