//! The rules of `CustomResourceDefinition` itself: what may be written, and what follows from it.

mod names;
mod places;
mod schema;
mod status;
mod versions;
mod webhook;

pub(crate) use webhook::client as check_client;

use minik_meta::{FieldError, Path, names as rules, object};
use serde_json::{Value, json};

use super::resources::{established, storage_version};
pub use names::Conflict;
pub use status::{CLEANUP, DeletionStage, is_terminating, mark_deletion, status};

/// Gives a new definition its first status.
pub(crate) fn prepare_create(new: &mut Value) {
    let stored: Vec<Value> = Some(storage_version(new))
        .filter(|version| !version.is_empty())
        .map(Value::from)
        .into_iter()
        .collect();
    let status = json!({
        "conditions": [],
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": stored,
    });
    object::set(new, &["status"], status);
}

/// Notes the version that objects are stored as from now on: it stays noted until whoever migrates
/// them takes it out.
pub(crate) fn prepare_update(new: &mut Value) {
    let storage = storage_version(new).to_owned();
    let stored = object::list(new, &["status", "storedVersions"]);
    if storage.is_empty() || stored.iter().any(|one| *one == storage.as_str()) {
        return;
    }
    let mut stored = stored.to_vec();
    stored.push(storage.into());
    object::set(new, &["status", "storedVersions"], stored);
}

/// The schemas of all versions with their places in the definition; one that all versions share is
/// there once.
pub fn schemas(definition: &Value) -> Vec<(Path, &Value)> {
    let versions = object::list(definition, &["spec", "versions"]);
    let mut found: Vec<(Path, &Value)> = Vec::new();
    for (version, places) in versions.iter().zip(places::of(versions)) {
        let at = places.schema.child("openAPIV3Schema");
        let schema = version.pointer("/schema/openAPIV3Schema");
        if let Some(schema) = schema.filter(|_| found.iter().all(|(known, _)| *known != at)) {
            found.push((at, schema));
        }
    }
    found
}

/// What is wrong with a definition, or with replacing `old` by it.
pub(crate) fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let text = |path: &[&str]| object::text(new, path);
    let (group, plural) = (text(&["spec", "group"]), text(&["spec", "names", "plural"]));
    let name = object::name(new);
    if name != format!("{plural}.{group}") {
        let at = Path::new("metadata.name");
        errors.push(FieldError::invalid(&at, name, "must be spec.names.plural+\".\"+spec.group"));
    }
    check_group(group, &mut errors);
    one_of("spec.scope", text(&["spec", "scope"]), &["Cluster", "Namespaced"], &mut errors);
    if object::boolean(new, &["spec", "preserveUnknownFields"]) {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                   spec.versions[*].schema instead";
        errors.push(FieldError::invalid(&Path::new("spec.preserveUnknownFields"), true, why));
    }
    versions::check(new, &mut errors);
    names::check(&new["spec"]["names"], &mut errors);
    webhook::check(&new["spec"]["conversion"], &mut errors);
    check_stored(new, &mut errors);
    check_approval(new, group, old, &mut errors);
    if let Some(old) = old {
        immutable(new, old, &mut errors);
    }
    errors
}

fn check_group(group: &str, errors: &mut Vec<FieldError>) {
    let at = Path::new("spec.group");
    let wrong = rules::dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if !wrong.is_empty() {
        errors.push(FieldError::invalid(&at, group, wrong.join(",")));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(&at, group, "should be a domain with at least one dot"));
    }
}

fn one_of(path: &str, value: &str, allowed: &[&str], errors: &mut Vec<FieldError>) {
    let at = Path::new(path);
    if value.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if !allowed.contains(&value) {
        errors.push(FieldError::not_supported(&at, value, allowed));
    }
}

/// Versions that objects may still be stored as cannot be taken out of the definition.
fn check_stored(new: &Value, errors: &mut Vec<FieldError>) {
    let stored = object::list(new, &["status", "storedVersions"]);
    let versions = object::list(new, &["spec", "versions"]);
    let at = Path::new("status.storedVersions");
    if stored.is_empty() {
        errors.push(FieldError::invalid(&at, json!([]), "must have at least one stored version"));
        return;
    }
    for (index, one) in stored.iter().enumerate() {
        let name = one.as_str().unwrap_or_default();
        if !versions.iter().any(|version| object::text(version, &["name"]) == name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(FieldError::invalid(&at.index(index), name, why));
        }
    }
    let storage = storage_version(new);
    if !storage.is_empty() && !stored.iter().any(|one| *one == storage) {
        let why = format!("must have the storage version {storage}");
        errors.push(FieldError::invalid(&at, stored.to_vec(), why));
    }
}

/// Groups of the community need its approval.
fn check_approval(new: &Value, group: &str, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if !names::is_protected(group) {
        return;
    }
    let approval = names::approval(new);
    // Definitions that got in without it may stay as they are.
    if old.is_some_and(|old| names::approval(old) == approval) {
        return;
    }
    let at = Path::new("metadata.annotations").key(names::APPROVED);
    match approval {
        names::Approval::Approved(_) | names::Approval::Waived(_) => {}
        names::Approval::Missing => errors.push(FieldError::required(
            &at,
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see \
             https://github.com/kubernetes/enhancements/pull/1111",
        )),
        names::Approval::Invalid(text, why) => {
            errors.push(FieldError::invalid(&at, text, why));
        }
    }
}

fn immutable(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let always: &[&[&str]] = &[&["spec", "group"], &["spec", "names", "plural"]];
    let served: &[&[&str]] = &[&["spec", "scope"], &["spec", "names", "kind"]];
    let served = if established(old) { served } else { &[] };
    for path in served.iter().chain(always) {
        let (before, after) = (object::text(old, path), object::text(new, path));
        if before != after {
            let at = Path::new(path.join("."));
            errors.push(FieldError::invalid(&at, after, "field is immutable"));
        }
    }
}

#[cfg(test)]
mod tests;
