//! Rules of persistent volumes, claims and storage classes.

use minik_meta::{FieldError, Quantity, names, object};
use serde_json::Value;

use crate::validate::at::{At, Errors};
use crate::validate::{labels, path, pod, volumes};

/// Fields of a persistent volume's spec that are not its source.
const NOT_SOURCES: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];
const ACCESS_MODES: &[&str] =
    &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub(super) fn claim(spec: &At<'_>, errors: &mut Errors) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        errors.required(&modes, "at least 1 access mode is required");
    }
    access_modes(&modes, errors);
    labels::selector(&spec.get("selector"), errors);
    let storage = spec.down(&["resources", "requests"]);
    match storage.get("storage").present() {
        None => errors.push(FieldError::required(&storage.path.key("storage"), "")),
        Some(amount) => {
            if amount.quantity().is_some_and(|amount| amount <= Quantity::ZERO) {
                errors.push(FieldError::invalid(
                    &storage.path.key("storage"),
                    amount.value.clone(),
                    "must be greater than zero",
                ));
            }
        }
    }
    let class = spec.get("storageClassName");
    if !class.is_empty() {
        errors.all_invalid(&class, names::dns1123_subdomain(class.text()));
    }
}

fn access_modes(modes: &At<'_>, errors: &mut Errors) {
    modes.items().for_each(|mode| errors.one_of(&mode, ACCESS_MODES));
    let once_pod = modes.items().any(|mode| mode.text() == "ReadWriteOncePod");
    if once_pod && modes.len() > 1 {
        errors.forbidden(modes, "may not use ReadWriteOncePod with other access modes");
    }
}

pub(super) fn volume(spec: &At<'_>, errors: &mut Errors) {
    let modes = spec.get("accessModes");
    errors.require(&modes);
    access_modes(&modes, errors);
    let capacity = spec.get("capacity");
    if errors.require(&capacity) {
        let storage = capacity.get("storage");
        if storage.quantity().is_some_and(|amount| amount <= Quantity::ZERO) {
            errors.push(FieldError::invalid(
                &capacity.path.key("storage"),
                storage.value.clone(),
                "must be greater than zero",
            ));
        }
    }
    match sources(spec.value).as_slice() {
        [] => errors.required(spec, "must specify a volume type"),
        [kind] if kind == "hostPath" => volumes::host_path(&spec.get(kind), errors),
        [kind] if kind == "local" => {
            errors.require(&spec.get("local").get("path"));
            if spec.get("nodeAffinity").is_absent() {
                errors.required(&spec.get("nodeAffinity"), "Local volume requires node affinity");
            }
        }
        [_] => {}
        [_, others @ ..] => {
            for kind in others {
                errors.forbidden(&spec.get(kind), "may not specify more than 1 volume type");
            }
        }
    }
    if let Some(selector) = spec.down(&["nodeAffinity", "required"]).present() {
        pod::node_selector(&selector, errors);
    }
}

fn sources(spec: &Value) -> Vec<String> {
    let keys = spec.as_object().into_iter().flatten().map(|(key, _)| key);
    keys.filter(|key| !NOT_SOURCES.contains(&key.as_str())).cloned().collect()
}

/// A claim's spec stays, except for asking for more and for being bound.
pub(in crate::validate) fn claim_update(new: &Value, old: &Value, errors: &mut Errors) {
    let fixed = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        object::remove(&mut spec, &["resources"]);
        object::remove(&mut spec, &["volumeAttributesClassName"]);
        if object::text(old, &["spec", "volumeName"]).is_empty() {
            object::remove(&mut spec, &["volumeName"]);
        }
        // A class may be given to a claim that has none.
        if object::at(old, &["spec", "storageClassName"]).is_none() {
            object::remove(&mut spec, &["storageClassName"]);
        }
        spec
    };
    if fixed(new) != fixed(old) {
        errors.push(FieldError::forbidden(
            &path("spec"),
            "spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims",
        ));
    }
    let amount = |value: &Value, at: &[&str]| {
        object::at(value, at).and_then(|one| Quantity::from_value(one).ok())
    };
    let request = ["spec", "resources", "requests", "storage"];
    let (now, before) = (amount(new, &request), amount(old, &request));
    let least = amount(old, &["status", "capacity", "storage"]).or(before);
    if now < before && now.zip(least).is_some_and(|(now, least)| now < least) {
        errors.push(FieldError::forbidden(
            &path("spec.resources.requests.storage"),
            "field can not be less than status.capacity",
        ));
    }
}

pub(in crate::validate) fn volume_update(new: &Value, old: &Value, errors: &mut Errors) {
    let source = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        if let Some(map) = spec.as_object_mut() {
            map.retain(|key, _| !NOT_SOURCES.contains(&key.as_str()));
        }
        spec
    };
    if source(new) != source(old) {
        errors.push(FieldError::forbidden(
            &path("spec.persistentvolumesource"),
            "spec.persistentvolumesource is immutable after creation",
        ));
    }
    let (new, old) = (At::root(new).get("spec"), At::root(old).get("spec"));
    errors.immutable(&new.get("volumeMode"), &old.get("volumeMode"));
    if !old.get("nodeAffinity").is_absent() {
        errors.immutable(&new.get("nodeAffinity"), &old.get("nodeAffinity"));
    }
}

pub(in crate::validate) fn storage_class_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (At::root(new), At::root(old));
    for key in ["parameters", "provisioner", "reclaimPolicy"] {
        if new.get(key).value != old.get(key).value {
            errors.forbidden(&new.get(key), &format!("updates to {key} are forbidden."));
        }
    }
    errors.immutable(&new.get("volumeBindingMode"), &old.get("volumeBindingMode"));
}
