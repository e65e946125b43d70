//! Rules of RBAC objects.

use minik_meta::FieldError;

use crate::validate::at::{At, Errors};
use crate::validate::labels;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn validate(kind: &str, object: &At<'_>, errors: &mut Errors) {
    match kind {
        "Role" | "ClusterRole" => {
            for one in object.get("rules").items() {
                rule(&one, kind == "Role", errors);
            }
            let selectors = object.down(&["aggregationRule", "clusterRoleSelectors"]);
            if !object.get("aggregationRule").is_absent() && selectors.is_empty() {
                errors.required(
                    &selectors,
                    "at least one clusterRoleSelector required if \
                                             aggregationRule is non-nil",
                );
            }
            selectors.items().for_each(|one| labels::selector(&one, errors));
        }
        "RoleBinding" => binding(object, &["Role", "ClusterRole"], errors),
        "ClusterRoleBinding" => binding(object, &["ClusterRole"], errors),
        _ => {}
    }
}

fn rule(at: &At<'_>, namespaced: bool, errors: &mut Errors) {
    if at.get("verbs").is_empty() {
        errors.required(&at.get("verbs"), "verbs must contain at least one value");
    }
    let urls = at.get("nonResourceURLs");
    if !urls.is_empty() {
        if namespaced {
            errors.invalid(&urls, "namespaced rules cannot apply to non-resource URLs");
        }
        let names_resources = ["apiGroups", "resources", "resourceNames"];
        if names_resources.iter().any(|key| !at.get(key).is_empty()) {
            errors.invalid(
                &urls,
                "rules cannot apply to both regular resources and non-resource URLs",
            );
        }
        return;
    }
    if at.get("apiGroups").is_empty() {
        errors.required(&at.get("apiGroups"), "resource rules must supply at least one api group");
    }
    if at.get("resources").is_empty() {
        errors.required(&at.get("resources"), "resource rules must supply at least one resource");
    }
}

fn binding(object: &At<'_>, kinds: &[&str], errors: &mut Errors) {
    let role = object.get("roleRef");
    let group = role.get("apiGroup");
    if group.text() != GROUP {
        errors.push(FieldError::not_supported(&group.path, group.text(), &[GROUP]));
    }
    let kind = role.get("kind");
    if !kinds.contains(&kind.text()) {
        errors.push(FieldError::not_supported(&kind.path, kind.text(), kinds));
    }
    errors.require(&role.get("name"));
    for subject in object.get("subjects").items() {
        self::subject(&subject, errors);
    }
}

fn subject(at: &At<'_>, errors: &mut Errors) {
    errors.require(&at.get("name"));
    let (kind, group) = (at.get("kind"), at.get("apiGroup"));
    let expected = match kind.text() {
        "ServiceAccount" => {
            errors.require(&at.get("namespace"));
            ""
        }
        "User" | "Group" => GROUP,
        _ => {
            errors.push(FieldError::not_supported(
                &kind.path,
                kind.text(),
                &["ServiceAccount", "User", "Group"],
            ));
            return;
        }
    };
    if group.text() != expected {
        errors.push(FieldError::not_supported(&group.path, group.text(), &[expected]));
    }
}
