//! Rules of webhook configurations, and what admission policies share with them.

mod policies;

use minik_meta::{FieldError, names};

use super::at::{At, Errors};
use super::labels;
use crate::custom::definition;

pub(super) use policies::{binding, mutating_policy, validating_policy};

const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const CONDITIONS_MAX: usize = 64;

/// A `MutatingWebhookConfiguration` or `ValidatingWebhookConfiguration`. What an older one has
/// already may stay.
pub(super) fn configuration(object: &At<'_>, old: Option<&At<'_>>, errors: &mut Errors) {
    let all_old = |good: &dyn Fn(&At<'_>) -> bool| {
        old.is_none_or(|old| old.get("webhooks").items().all(|one| good(&one)))
    };
    let strict = Strict {
        versions: all_old(&|one| {
            let versions = one.get("admissionReviewVersions");
            versions.is_empty() || has_known_version(&versions)
        }),
        effects: all_old(&|one| SIDE_EFFECTS.contains(&one.get("sideEffects").text())),
        names: old.is_none_or(|old| {
            let mut names: Vec<&str> =
                old.get("webhooks").items().map(|one| one.get("name").text()).collect();
            names.sort_unstable();
            names.windows(2).all(|pair| pair[0] != pair[1])
        }),
    };
    let mut seen: Vec<&str> = Vec::new();
    for one in object.get("webhooks").items() {
        webhook(&one, &strict, errors);
        let name = one.get("name");
        if strict.names && !name.is_empty() && seen.contains(&name.text()) {
            errors.duplicate(&name);
        }
        seen.push(name.text());
    }
}

/// Which rules are not to be broken anew.
struct Strict {
    versions: bool,
    effects: bool,
    names: bool,
}

fn webhook(at: &At<'_>, strict: &Strict, errors: &mut Errors) {
    full_name(&at.get("name"), errors);
    for rule in at.get("rules").items() {
        operations(&rule.get("operations"), OPERATIONS, errors);
        self::rule(&rule, errors);
    }
    errors.one_of(&at.get("failurePolicy"), &["Fail", "Ignore"]);
    errors.one_of(&at.get("matchPolicy"), &["Equivalent", "Exact"]);
    let effects = at.get("sideEffects");
    let allowed: &[&str] =
        if strict.effects { SIDE_EFFECTS } else { &["None", "NoneOnDryRun", "Some", "Unknown"] };
    if effects.is_absent() {
        errors.required(&effects, &format!("must specify one of {}", allowed.join(", ")));
    }
    errors.one_of(&effects, allowed);
    let timeout = at.get("timeoutSeconds");
    if timeout.integer().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        errors.invalid(&timeout, "the timeout value must be between 1 and 30 seconds");
    }
    labels::selector(&at.get("namespaceSelector"), errors);
    labels::selector(&at.get("objectSelector"), errors);
    errors.one_of(&at.get("reinvocationPolicy"), &["IfNeeded", "Never"]);
    let mut found = Vec::new();
    let client = at.get("clientConfig");
    definition::check_client(client.value, &client.path, &mut found);
    found.into_iter().for_each(|error| errors.push(error));
    conditions(&at.get("matchConditions"), errors);
    review_versions(&at.get("admissionReviewVersions"), strict.versions, errors);
}

/// A domain of three parts at least.
fn full_name(at: &At<'_>, errors: &mut Errors) {
    let name = at.text();
    if !errors.require(at) {
        return;
    }
    let mistakes = names::dns1123_subdomain(name);
    if !mistakes.is_empty() {
        errors.invalid(at, &mistakes.join(","));
    } else if name.split('.').count() < 3 {
        errors.invalid(at, "should be a domain with at least three segments separated by dots");
    }
}

fn operations(at: &At<'_>, allowed: &[&str], errors: &mut Errors) {
    errors.require(at);
    only_all(at, "operations", errors);
    for one in at.items() {
        if !allowed.contains(&one.text()) {
            let error = FieldError::not_supported(&one.path, one.value.clone(), allowed);
            errors.push(error);
        }
    }
}

/// A list with `*` has nothing else.
fn only_all(at: &At<'_>, what: &str, errors: &mut Errors) {
    if at.len() > 1 && at.items().any(|one| one.text() == "*") {
        errors.invalid(at, &format!("if '*' is present, must not specify other {what}"));
    }
}

fn rule(at: &At<'_>, errors: &mut Errors) {
    let (groups, versions) = (at.get("apiGroups"), at.get("apiVersions"));
    errors.require(&groups);
    only_all(&groups, "API groups", errors);
    errors.require(&versions);
    only_all(&versions, "API versions", errors);
    for version in versions.items() {
        errors.require(&version);
    }
    resources(&at.get("resources"), errors);
    errors.one_of(&at.get("scope"), &["*", "Cluster", "Namespaced"]);
}

fn resources(at: &At<'_>, errors: &mut Errors) {
    errors.require(at);
    let (mut all_subs, mut all_resources): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut whole = false;
    for one in at.items() {
        if !errors.require(&one) {
            continue;
        }
        let Some((resource, sub)) = one.text().split_once('/') else {
            whole = one.text() != "*";
            continue;
        };
        if all_subs.contains(&resource) {
            let why = format!("if '{resource}/*' is present, must not specify {}", one.text());
            errors.invalid(&one, &why);
        }
        if all_resources.contains(&sub) {
            let why = format!("if '*/{sub}' is present, must not specify {}", one.text());
            errors.invalid(&one, &why);
        }
        if sub == "*" {
            all_subs.push(resource);
        }
        if resource == "*" {
            all_resources.push(sub);
        }
    }
    let has = |text: &str| at.items().any(|one| one.text() == text);
    if at.len() > 1 && has("*/*") {
        errors.invalid(at, "if '*/*' is present, must not specify other resources");
    }
    if has("*") && whole {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(at, why);
    }
}

fn conditions(at: &At<'_>, errors: &mut Errors) {
    if at.len() > CONDITIONS_MAX {
        errors.push(FieldError::too_many(&at.path, at.len(), CONDITIONS_MAX));
    }
    let mut seen: Vec<&str> = Vec::new();
    for one in at.items() {
        let (name, expression) = (one.get("name"), one.get("expression"));
        if expression.text().trim().is_empty() {
            errors.required(&expression, "");
        }
        if errors.require(&name) {
            errors.all_invalid(&name, names::qualified_name(name.text()));
            if seen.contains(&name.text()) {
                errors.duplicate(&name);
            }
            seen.push(name.text());
        }
    }
}

fn has_known_version(at: &At<'_>) -> bool {
    at.items().any(|one| REVIEW_VERSIONS.contains(&one.text()))
}

fn review_versions(at: &At<'_>, known: bool, errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, &format!("must specify one of {}", REVIEW_VERSIONS.join(", ")));
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for one in at.items() {
        if seen.contains(&one.text()) {
            errors.invalid(&one, "duplicate version");
            continue;
        }
        seen.push(one.text());
        errors.all_invalid(&one, names::dns1035_label(one.text()));
    }
    if known && !has_known_version(at) {
        let why = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errors.invalid(at, &why);
    }
}
