//! Rules of volumes in pods.

use minik_meta::names;

use super::at::{At, Errors};

/// Checks the volumes and returns their names.
pub(super) fn volumes<'a>(at: &At<'a>, errors: &mut Errors) -> Vec<&'a str> {
    let mut seen: Vec<&str> = Vec::new();
    for volume in at.items() {
        let name = volume.get("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else {
            errors.all_invalid(&name, names::dns1123_label(name.text()));
            if seen.contains(&name.text()) {
                errors.duplicate(&name);
            }
            seen.push(name.text());
        }
        source(&volume, errors);
    }
    seen
}

fn source(volume: &At<'_>, errors: &mut Errors) {
    let kinds: Vec<&str> = match volume.value.as_object() {
        Some(map) => map.keys().map(String::as_str).filter(|key| *key != "name").collect(),
        None => Vec::new(),
    };
    match kinds.as_slice() {
        [] => errors.required(volume, "must specify a volume type"),
        [kind] => one(&volume.get(kind), kind, errors),
        [_, others @ ..] => {
            for kind in others {
                errors.forbidden(&volume.get(kind), "may not specify more than 1 volume type");
            }
        }
    }
}

fn one(at: &At<'_>, kind: &str, errors: &mut Errors) {
    match kind {
        "hostPath" => host_path(at, errors),
        "emptyDir" => {
            let limit = at.get("sizeLimit");
            if limit.quantity().is_some_and(|limit| limit.is_negative()) {
                errors.forbidden(&limit, "SizeLimit field must be a valid resource quantity");
            }
        }
        "configMap" => {
            errors.require(&at.get("name"));
            mode(&at.get("defaultMode"), errors);
            items(&at.get("items"), errors);
        }
        "secret" => {
            errors.require(&at.get("secretName"));
            mode(&at.get("defaultMode"), errors);
            items(&at.get("items"), errors);
        }
        "persistentVolumeClaim" => {
            errors.require(&at.get("claimName"));
        }
        "downwardAPI" => {
            mode(&at.get("defaultMode"), errors);
            at.get("items").items().for_each(|item| path(&item.get("path"), errors));
        }
        "projected" => projected(at, errors),
        "nfs" => {
            errors.require(&at.get("server"));
            errors.require(&at.get("path"));
        }
        "csi" => {
            errors.require(&at.get("driver"));
        }
        "image" => {
            errors.require(&at.get("reference"));
        }
        _ => {}
    }
}

/// A path on the node.
pub(super) fn host_path(at: &At<'_>, errors: &mut Errors) {
    const TYPES: &[&str] = &[
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    let path = at.get("path");
    if errors.require(&path) && has_backstep(path.text()) {
        errors.invalid(&path, "must not contain '..'");
    }
    errors.one_of(&at.get("type"), TYPES);
}

fn projected(at: &At<'_>, errors: &mut Errors) {
    const SOURCES: &[&str] = &[
        "secret",
        "configMap",
        "downwardAPI",
        "serviceAccountToken",
        "clusterTrustBundle",
        "podCertificate",
    ];
    mode(&at.get("defaultMode"), errors);
    for source in at.get("sources").items() {
        let set: Vec<&&str> = SOURCES.iter().filter(|key| !source.get(key).is_absent()).collect();
        match set.as_slice() {
            [] => errors.required(&source, "must specify a volume type"),
            [_] => {}
            [_, others @ ..] => {
                for other in others {
                    errors.forbidden(
                        &source.get(other),
                        "may not specify more than 1 volume type per source",
                    );
                }
            }
        }
        if let Some(token) = source.get("serviceAccountToken").present() {
            path(&token.get("path"), errors);
            let seconds = token.get("expirationSeconds");
            if seconds.integer().is_some_and(|seconds| seconds < 600) {
                errors.invalid(&seconds, "may not specify a duration less than 10 minutes");
            }
        }
        for key in ["secret", "configMap"] {
            if let Some(from) = source.get(key).present() {
                errors.require(&from.get("name"));
                items(&from.get("items"), errors);
            }
        }
    }
}

fn items(at: &At<'_>, errors: &mut Errors) {
    for item in at.items() {
        errors.require(&item.get("key"));
        path(&item.get("path"), errors);
        mode(&item.get("mode"), errors);
    }
}

/// A relative path inside a volume.
fn path(at: &At<'_>, errors: &mut Errors) {
    if !errors.require(at) {
        return;
    }
    if at.text().starts_with('/') {
        errors.invalid(at, "must be a relative path");
    }
    if has_backstep(at.text()) {
        errors.invalid(at, "must not contain '..'");
    } else if at.text().starts_with("..") {
        errors.invalid(at, "must not start with '..'");
    }
}

fn has_backstep(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

fn mode(at: &At<'_>, errors: &mut Errors) {
    if at.integer().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.invalid(at, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}
