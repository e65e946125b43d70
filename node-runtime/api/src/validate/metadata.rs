//! Rules of `metadata`.

use minik_meta::field::FieldErrorKind;
use minik_meta::{FieldError, GroupVersion, names, object};
use serde_json::Value;

use super::at::{At, Errors};
use super::labels;
use crate::resource::{NameRule, Resource};

const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
const IMMUTABLE: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

pub(super) fn create(resource: &Resource, new: &Value, errors: &mut Errors) {
    let metadata = At::root(new).get("metadata");
    let (name, base) = (metadata.get("name"), metadata.get("generateName"));
    if !base.is_empty() {
        errors.all_invalid(&base, check_name(resource.name_rule, &masked(base.text())));
    }
    if name.is_empty() {
        errors.required(&name, "name or generateName is required");
    } else {
        errors.all_invalid(&name, check_name(resource.name_rule, name.text()));
    }
    let namespace = metadata.get("namespace");
    match (resource.namespaced, namespace.is_empty()) {
        (true, true) => errors.required(&namespace, ""),
        (true, false) => errors.all_invalid(&namespace, names::dns1123_label(namespace.text())),
        (false, true) => {}
        (false, false) => errors.forbidden(&namespace, "not allowed on this type"),
    }
    common(&metadata, errors);
    finalizers(&metadata.get("finalizers"), errors);
}

pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (At::root(new).get("metadata"), At::root(old).get("metadata"));
    let finalizers = new.get("finalizers");
    if !old.get("deletionTimestamp").is_absent() {
        let before: Vec<&str> = old.get("finalizers").items().map(|one| one.text()).collect();
        let mut added: Vec<&str> =
            finalizers.items().map(|one| one.text()).filter(|one| !before.contains(one)).collect();
        added.sort_unstable();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|one| format!("{one:?}")).collect();
            errors.forbidden(
                &finalizers,
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new \
                     finalizers []string{{{}}}",
                    list.join(", ")
                ),
            );
        }
    }
    for key in IMMUTABLE {
        errors.immutable(&new.get(key), &old.get(key));
    }
    common(&new, errors);
    super::metadata::finalizers(&finalizers, errors);
}

pub(super) fn common(metadata: &At<'_>, errors: &mut Errors) {
    labels::labels(&metadata.get("labels"), errors);
    annotations(&metadata.get("annotations"), errors);
    owners(&metadata.get("ownerReferences"), errors);
}

fn check_name(rule: NameRule, name: &str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => names::dns1123_subdomain(name),
        NameRule::Label => names::dns1123_label(name),
        NameRule::Label1035 => names::dns1035_label(name),
        NameRule::PathSegment => names::path_segment(name),
        NameRule::Address => address(name),
    }
}

fn address(name: &str) -> Vec<String> {
    let why = match name.parse::<std::net::IpAddr>() {
        Ok(address) if address.to_string() == name => return Vec::new(),
        Ok(_) => "must be a valid address in canonical form",
        Err(_) => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    };
    vec![why.to_owned()]
}

/// A base for generated names may end with a dash: the suffix comes after it.
fn masked(base: &str) -> String {
    match base.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => base.to_owned(),
    }
}

pub(super) fn annotations(at: &At<'_>, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in at.entries() {
        for message in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(&at.path, key, message));
        }
        bytes += key.len() + value.text().len();
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(&at.path, ANNOTATIONS_BYTES_MAX));
    }
}

fn owners(at: &At<'_>, errors: &mut Errors) {
    let mut controllers: Vec<String> = Vec::new();
    for owner in at.items() {
        let version = owner.get("apiVersion");
        if GroupVersion::parse(version.text()).is_none() {
            errors.invalid(&version, "version must not be empty");
        }
        for key in ["kind", "name", "uid"] {
            if owner.get(key).is_empty() {
                errors.invalid(&owner.get(key), "must not be empty");
            }
        }
        if version.text() == "v1" && owner.get("kind").text() == "Event" {
            errors.invalid(&owner, "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.get("controller").is_true() {
            controllers.push(format!(
                "{}/{}",
                object::text(owner.value, &["kind"]),
                object::text(owner.value, &["name"])
            ));
        }
    }
    if let [first, others @ ..] = controllers.as_slice() {
        for other in others {
            errors.invalid(
                at,
                &format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {first} and {other}"
                ),
            );
        }
    }
}

fn finalizers(at: &At<'_>, errors: &mut Errors) {
    let mut seen = (false, false);
    for one in at.items() {
        for message in names::qualified_name(one.text()) {
            errors.push(FieldError::invalid(&at.path, one.text(), message));
        }
        seen.0 |= one.text() == "orphan";
        seen.1 |= one.text() == "foregroundDeletion";
    }
    if seen == (true, true) {
        errors.push(FieldError::new(
            FieldErrorKind::Invalid,
            &at.path,
            at.value.clone(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
}
