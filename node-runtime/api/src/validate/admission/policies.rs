//! Rules of admission policies and their bindings, but for what their expressions say.

use minik_meta::{FieldError, names};

use super::{OPERATIONS, conditions, operations, rule};
use crate::validate::at::{At, Errors};
use crate::validate::labels;

const POLICIES: &[&str] = &["Fail", "Ignore"];
const AUDIT_ANNOTATIONS_MAX: usize = 20;
const AUDIT_EXPRESSION_BYTES_MAX: usize = 5 * 1024;

/// A `ValidatingAdmissionPolicy`, but for what its expressions say.
pub(in crate::validate) fn validating_policy(object: &At<'_>, errors: &mut Errors) {
    let spec = object.get("spec");
    policy(&spec, OPERATIONS, errors);
    let (validations, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.required(&validations, why);
        errors.required(&annotations, why);
    }
    for one in validations.items() {
        validation(&one, errors);
    }
    if annotations.len() > AUDIT_ANNOTATIONS_MAX {
        let why = format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations");
        errors.invalid(&annotations, &why);
    }
    let mut seen: Vec<&str> = Vec::new();
    for one in annotations.items() {
        let (key, expression) = (one.get("key"), one.get("valueExpression"));
        let full = format!("{}/{}", object.down(&["metadata", "name"]).text(), key.text());
        for why in names::qualified_name(&full) {
            errors.push(FieldError::invalid(&key.path, full.as_str(), why));
        }
        if seen.contains(&key.text()) {
            errors.duplicate(&key);
        }
        seen.push(key.text());
        match expression.text().trim().len() {
            0 => errors.required(&expression, "valueExpression is not specified"),
            bytes if bytes > AUDIT_EXPRESSION_BYTES_MAX => {
                let why = format!("must not exceed {AUDIT_EXPRESSION_BYTES_MAX} bytes in length");
                errors.required(&expression, &why);
            }
            _ => {}
        }
    }
}

fn validation(at: &At<'_>, errors: &mut Errors) {
    let (expression, message) = (at.get("expression"), at.get("message"));
    let from_expression = at.get("messageExpression");
    if expression.text().trim().is_empty() {
        errors.required(&expression, "expression is not specified");
    }
    let blank = |one: &At<'_>| !one.text().is_empty() && one.text().trim().is_empty();
    if blank(&from_expression) {
        errors.invalid(&from_expression, "must be non-empty if specified");
    }
    if blank(&message) {
        errors.invalid(&message, "message must be non-empty if specified");
    } else if message.text().trim().contains(['\n', '\r']) {
        errors.invalid(&message, "message must not contain line breaks");
    }
    errors.one_of(&at.get("reason"), &["Forbidden", "Invalid", "RequestEntityTooLarge"]);
}

/// A `MutatingAdmissionPolicy`, but for what its expressions say.
pub(in crate::validate) fn mutating_policy(object: &At<'_>, errors: &mut Errors) {
    let spec = object.get("spec");
    // What goes cannot be changed.
    policy(&spec, &["*", "CONNECT", "CREATE", "UPDATE"], errors);
    let mutations = spec.get("mutations");
    if mutations.is_empty() {
        errors.required(&mutations, "mutations must contain at least one item");
    }
    for one in mutations.items() {
        mutation(&one, errors);
    }
    let again = spec.get("reinvocationPolicy");
    errors.require(&again);
    errors.one_of(&again, &["IfNeeded", "Never"]);
}

fn mutation(at: &At<'_>, errors: &mut Errors) {
    let kind = at.get("patchType");
    let (field, other) = match kind.text() {
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "" => return errors.required(&kind, ""),
        _ => return errors.one_of(&kind, &["ApplyConfiguration", "JSONPatch"]),
    };
    let (patch, other) = (at.get(field), at.get(other));
    if patch.is_absent() {
        errors.required(&patch, &format!("must be specified when patchType is {}", kind.text()));
    } else if patch.get("expression").text().trim().is_empty() {
        errors.required(&patch.get("expression"), "expression is not specified");
    }
    if !other.is_absent() {
        let why = format!("must not be specified when patchType is {}", kind.text());
        errors.forbidden(&other, &why);
    }
}

/// What both kinds of policies have.
fn policy(spec: &At<'_>, allowed: &[&str], errors: &mut Errors) {
    let failure = spec.get("failurePolicy");
    errors.require(&failure);
    errors.one_of(&failure, POLICIES);
    param_kind(&spec.get("paramKind"), errors);
    let constraints = spec.get("matchConstraints");
    if constraints.is_absent() {
        errors.required(&constraints, "");
    } else {
        match_resources(&constraints, allowed, errors);
        let rules = constraints.get("resourceRules");
        errors.require(&rules);
    }
    conditions(&spec.get("matchConditions"), errors);
    for one in spec.get("variables").items() {
        let (name, expression) = (one.get("name"), one.get("expression"));
        if name.text().trim().is_empty() {
            errors.required(&name, "name is not specified");
        } else if !minik_meta::cel::is_identifier(name.text()) {
            errors.invalid(&name, "name is not a valid CEL identifier");
        }
        if expression.text().trim().is_empty() {
            errors.required(&expression, "expression is not specified");
        }
    }
}

fn param_kind(at: &At<'_>, errors: &mut Errors) {
    if at.is_absent() {
        return;
    }
    let (version, kind) = (at.get("apiVersion"), at.get("kind"));
    if errors.require(&version) {
        match minik_meta::GroupVersion::parse(version.text()) {
            None => {
                let why = format!("unexpected GroupVersion string: {}", version.text());
                errors.invalid(&version, &why);
            }
            Some(parsed) => {
                let mut wrong = names::dns1035_label(&parsed.version);
                if !parsed.group.is_empty() {
                    wrong.extend(names::dns1123_subdomain(&parsed.group));
                }
                if !wrong.is_empty() {
                    errors.invalid(&version, &wrong.join(","));
                }
            }
        }
    }
    if errors.require(&kind) {
        let wrong = names::dns1035_label(&kind.text().to_lowercase());
        if !wrong.is_empty() {
            let why = "may have mixed case, but should otherwise match: ";
            errors.invalid(&kind, &format!("{why}{}", wrong.join(",")));
        }
    }
}

fn match_resources(at: &At<'_>, allowed: &[&str], errors: &mut Errors) {
    if at.is_absent() {
        return;
    }
    let policy = at.get("matchPolicy");
    errors.require(&policy);
    errors.one_of(&policy, &["Equivalent", "Exact"]);
    labels::selector(&at.get("namespaceSelector"), errors);
    labels::selector(&at.get("objectSelector"), errors);
    for one in at.get("resourceRules").items().chain(at.get("excludeResourceRules").items()) {
        let mut seen: Vec<&str> = Vec::new();
        for name in one.get("resourceNames").items() {
            errors.all_invalid(&name, names::path_segment(name.text()));
            if seen.contains(&name.text()) {
                errors.duplicate(&name);
            }
            seen.push(name.text());
        }
        operations(&one.get("operations"), allowed, errors);
        rule(&one, errors);
    }
}

/// A binding of a policy of either kind.
pub(in crate::validate) fn binding(object: &At<'_>, validates: bool, errors: &mut Errors) {
    let spec = object.get("spec");
    let policy = spec.get("policyName");
    if errors.require(&policy) {
        errors.all_invalid(&policy, names::dns1123_subdomain(policy.text()));
    }
    param_ref(&spec.get("paramRef"), errors);
    match_resources(&spec.get("matchResources"), OPERATIONS, errors);
    if validates {
        actions(&spec.get("validationActions"), errors);
    }
}

fn param_ref(at: &At<'_>, errors: &mut Errors) {
    if at.is_absent() {
        return;
    }
    let (name, selector) = (at.get("name"), at.get("selector"));
    if !name.is_empty() {
        errors.all_invalid(&name, names::path_segment(name.text()));
    }
    match (name.is_empty(), selector.is_absent()) {
        (true, true) => errors.required(at, "one of name or selector must be specified"),
        (false, false) => {
            errors.forbidden(&name, "name and selector are mutually exclusive");
            errors.forbidden(&selector, "name and selector are mutually exclusive");
        }
        _ => {}
    }
    labels::selector(&selector, errors);
    let action = at.get("parameterNotFoundAction");
    errors.require(&action);
    errors.one_of(&action, &["Allow", "Deny"]);
}

fn actions(at: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for one in at.items() {
        errors.one_of(&one, &["Audit", "Deny", "Warn"]);
        if seen.contains(&one.text()) {
            errors.duplicate(&one);
        }
        seen.push(one.text());
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure \
                   information in the API response and headers serves no purpose)";
        errors.invalid(at, why);
    }
    if seen.is_empty() {
        errors.required(at, "at least one validation action is required");
    }
}
