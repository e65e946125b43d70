//! Rules of API services.

use minik_meta::{FieldError, names};

use super::at::{At, Errors};

/// An `APIService`.
pub(super) fn api_service(object: &At<'_>, errors: &mut Errors) {
    let spec = object.get("spec");
    let (group, version) = (spec.get("group"), spec.get("version"));
    let wanted = format!("{}.{}", version.text(), group.text());
    let name = object.down(&["metadata", "name"]);
    if !name.is_empty() && name.text() != wanted {
        let why = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        errors.invalid(&name, &why);
    }
    if group.text().is_empty() && version.text() != "v1" {
        let why = "only v1 may have an empty group and it better be legacy kube";
        errors.required(&group, why);
    }
    if !group.text().is_empty() {
        errors.all_invalid(&group, names::dns1123_subdomain(group.text()));
    }
    errors.all_invalid(&version, names::dns1035_label(version.text()));
    priority(&spec.get("groupPriorityMinimum"), 20000, errors);
    priority(&spec.get("versionPriority"), 1000, errors);
    api_service_client(&spec, errors);
}

fn priority(at: &At<'_>, most: i64, errors: &mut Errors) {
    let number = at.integer().unwrap_or_default();
    if !(1..=most).contains(&number) {
        let why = format!("must be positive and less than {most}");
        errors.push(FieldError::invalid(&at.path, number, why));
    }
}

fn api_service_client(spec: &At<'_>, errors: &mut Errors) {
    let (bundle, insecure) = (spec.get("caBundle"), spec.get("insecureSkipTLSVerify"));
    let service = spec.get("service");
    if service.is_absent() {
        if !bundle.is_empty() {
            let bytes = format!("{} bytes", bundle.text().len() / 4 * 3);
            let why = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid(&bundle.path, bytes, why));
        }
        if insecure.is_true() {
            errors.invalid(&insecure, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    errors.require(&service.get("namespace"));
    errors.require(&service.get("name"));
    if insecure.is_true() && !bundle.is_empty() {
        errors.invalid(&insecure, "may not be true if caBundle is present");
    }
}

/// The status of an `APIService`.
pub(super) fn api_service_status(object: &At<'_>, errors: &mut Errors) {
    for condition in object.down(&["status", "conditions"]).items() {
        let status = condition.get("status");
        if !["False", "True", "Unknown"].contains(&status.text()) {
            errors.push(FieldError::not_supported(
                &status.path,
                status.value.clone(),
                &["False", "True", "Unknown"],
            ));
        }
    }
}
