//! Rules of flow schemas and priority levels: what is let through here sets queues up.

use minik_meta::{FieldError, names};

use crate::validate::at::{At, Errors};

const PRECEDENCE_MAX: i64 = 10_000;
const QUEUES_MAX: i64 = 10_000_000;
/// Bits of a flow's hash that dealing its queues may use up.
const HASH_BITS: f64 = 60.0;
const EXEMPT: &str = "exempt";
const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub(super) fn validate(kind: &str, object: &At<'_>, errors: &mut Errors) {
    let (name, spec) = (object.down(&["metadata", "name"]), object.get("spec"));
    match kind {
        "FlowSchema" => schema(name.text(), &spec, errors),
        "PriorityLevelConfiguration" => level(name.text(), &spec, errors),
        _ => {}
    }
}

fn schema(name: &str, spec: &At<'_>, errors: &mut Errors) {
    let precedence = spec.get("matchingPrecedence");
    match precedence.integer().unwrap_or_default() {
        ..=0 => errors.invalid(&precedence, "must be a positive value"),
        1 if name != EXEMPT => errors
            .invalid(&precedence, "only the schema named 'exempt' may have matchingPrecedence 1"),
        1..=PRECEDENCE_MAX => {}
        _ => errors.invalid(&precedence, &format!("must not be greater than {PRECEDENCE_MAX}")),
    }
    let level = spec.down(&["priorityLevelConfiguration", "name"]);
    if level.is_empty() {
        errors.required(&level, "must reference a priority level");
    } else {
        errors.all_invalid(&level, names::dns1123_subdomain(level.text()));
    }
    for rule in spec.get("rules").items() {
        let subjects = rule.get("subjects");
        if subjects.is_empty() {
            errors.required(&subjects, "subjects must contain at least one value");
        }
        subjects.items().for_each(|one| subject(&one, errors));
        let (resources, others) = (rule.get("resourceRules"), rule.get("nonResourceRules"));
        if resources.is_empty() && others.is_empty() {
            let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
            errors.required(&rule, why);
        }
        resources.items().for_each(|one| resource_rule(&one, errors));
        others.items().for_each(|one| url_rule(&one, errors));
    }
}

/// Each kind of subject has a field of its own, and not those of others.
fn subject(at: &At<'_>, errors: &mut Errors) {
    const FIELDS: [(&str, &str); 3] =
        [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = at.get("kind");
    let Some((_, field)) = FIELDS.into_iter().find(|(one, _)| *one == kind.text()) else {
        return errors.one_of(&kind, &["Group", "ServiceAccount", "User"]);
    };
    let given = at.get(field);
    if given.is_absent() {
        let why = format!("{field} is required when subject kind is '{}'", kind.text());
        errors.required(&given, &why);
    } else {
        let name = given.get("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else if field == "serviceAccount" && name.text() != "*" {
            errors.all_invalid(&name, names::dns1123_subdomain(name.text()));
        }
        let namespace = given.get("namespace");
        match (field, namespace.is_empty()) {
            ("serviceAccount", true) => {
                errors.required(&namespace, "must specify namespace for service account");
            }
            ("serviceAccount", false) => {
                errors.all_invalid(&namespace, names::dns1123_label(namespace.text()));
            }
            _ => {}
        }
    }
    for (other, field) in FIELDS.into_iter().filter(|(one, _)| *one != kind.text()) {
        if !at.get(field).is_absent() {
            let why = format!("{field} is forbidden when subject kind is not '{other}'");
            errors.forbidden(&at.get(field), &why);
        }
    }
}

fn has_star(list: &At<'_>) -> bool {
    list.items().any(|one| one.text() == "*")
}

/// A star stands alone.
fn star_alone(list: &At<'_>, what: &str, errors: &mut Errors) {
    if has_star(list) && list.len() > 1 {
        errors.invalid(list, &format!("if '*' is present, must not specify other {what}"));
    }
}

fn verbs(rule: &At<'_>, errors: &mut Errors) {
    let verbs = rule.get("verbs");
    if verbs.is_empty() {
        errors.required(&verbs, "verbs must contain at least one value");
    }
    star_alone(&verbs, "verbs", errors);
    if !has_star(&verbs) && !verbs.items().all(|verb| VERBS.contains(&verb.text())) {
        errors.push(FieldError::not_supported(&verbs.path, verbs.value.clone(), VERBS));
    }
}

fn resource_rule(rule: &At<'_>, errors: &mut Errors) {
    verbs(rule, errors);
    for (field, what, missing) in [
        ("apiGroups", "api groups", "resource rules must supply at least one api group"),
        ("resources", "resources", "resource rules must supply at least one resource"),
    ] {
        let list = rule.get(field);
        if list.is_empty() {
            errors.required(&list, missing);
        }
        star_alone(&list, what, errors);
    }
    let namespaces = rule.get("namespaces");
    if namespaces.is_empty() && !rule.get("clusterScope").is_true() {
        errors.required(
            &namespaces,
            "resource rules that are not cluster scoped must supply at least one namespace",
        );
    }
    star_alone(&namespaces, "namespaces", errors);
    if !has_star(&namespaces) {
        for namespace in namespaces.items() {
            let wrong = names::dns1123_label(namespace.text());
            let intro = "each member of this list must be '*' or a DNS-1123 label; ";
            let wrong = wrong.into_iter().map(|why| format!("{intro}{why}")).collect();
            errors.all_invalid(&namespace, wrong);
        }
    }
}

fn url_rule(rule: &At<'_>, errors: &mut Errors) {
    verbs(rule, errors);
    let urls = rule.get("nonResourceURLs");
    if urls.is_empty() {
        errors.required(&urls, "nonResourceURLs must contain at least one value");
    }
    star_alone(&urls, "non-resource URLs", errors);
    for url in urls.items().filter(|url| url.text() != "*") {
        let text = url.text();
        if !text.starts_with('/') {
            errors.invalid(&url, "must start with slash");
        } else if text.contains(' ') {
            errors.invalid(&url, "must not contain white-space");
        } else if text.contains("//") {
            errors.invalid(&url, "must not contain double slash");
        } else if text.strip_suffix("/*").unwrap_or(text).contains('*') {
            errors.invalid(&url, "wildcard can only do suffix matching");
        }
    }
}

fn level(name: &str, spec: &At<'_>, errors: &mut Errors) {
    let (kind, limited, exempt) = (spec.get("type"), spec.get("limited"), spec.get("exempt"));
    if (name == EXEMPT) != (kind.text() == "Exempt") {
        errors.invalid(&kind, "must be 'Exempt' if and only if `name` is 'exempt'");
    }
    match kind.text() {
        "Exempt" => {
            if !limited.is_absent() {
                errors.forbidden(&limited, "must be nil if the type is not Limited");
            }
            shares(&exempt, errors);
        }
        "Limited" => {
            if !exempt.is_absent() {
                errors.forbidden(&exempt, "must be nil if the type is Limited");
            }
            if limited.is_absent() {
                errors.required(&limited, "must not be empty when type is Limited");
            } else {
                shares(&limited, errors);
                let borrowing = limited.get("borrowingLimitPercent");
                if borrowing.integer().is_some_and(|percent| percent < 0) {
                    errors.invalid(&borrowing, "if specified, must be a non-negative integer");
                }
                limit_response(&limited.get("limitResponse"), errors);
            }
        }
        "" => errors.required(&kind, ""),
        _ => errors.one_of(&kind, &["Exempt", "Limited"]),
    }
}

fn shares(at: &At<'_>, errors: &mut Errors) {
    let shares = at.get("nominalConcurrencyShares");
    if shares.integer().is_some_and(|shares| shares < 0) {
        errors.invalid(&shares, "must be a non-negative integer");
    }
    let lendable = at.get("lendablePercent");
    if lendable.integer().is_some_and(|percent| !(0..=100).contains(&percent)) {
        errors.invalid(&lendable, "must be between 0 and 100, inclusive");
    }
}

fn limit_response(at: &At<'_>, errors: &mut Errors) {
    let (kind, queuing) = (at.get("type"), at.get("queuing"));
    match kind.text() {
        "Reject" if !queuing.is_absent() => {
            let why = "must be nil if limited.limitResponse.type is not Limited";
            errors.forbidden(&queuing, why);
        }
        "Queue" if queuing.is_absent() => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            errors.required(&queuing, why);
        }
        "Queue" => queues(&queuing, errors),
        "Reject" => {}
        "" => errors.required(&kind, ""),
        _ => errors.one_of(&kind, &["Queue", "Reject"]),
    }
}

fn queues(at: &At<'_>, errors: &mut Errors) {
    let number = |field: &str| at.get(field).integer().unwrap_or_default();
    let (queues, hand) = (number("queues"), number("handSize"));
    if number("queueLengthLimit") <= 0 {
        errors.invalid(&at.get("queueLengthLimit"), "must be positive");
    }
    if queues <= 0 {
        errors.invalid(&at.get("queues"), "must be positive");
    } else if queues > QUEUES_MAX {
        errors.invalid(&at.get("queues"), &format!("must not be greater than {QUEUES_MAX}"));
    }
    let at = at.get("handSize");
    if hand <= 0 {
        errors.invalid(&at, "must be positive");
    } else if hand > queues {
        errors.invalid(&at, &format!("should not be greater than queues ({queues})"));
    } else if !can_be_dealt(queues, hand) {
        errors.invalid(
            &at,
            &format!(
                "required entropy bits of deckSize {queues} and handSize {hand} should not be \
                 greater than {HASH_BITS}"
            ),
        );
    }
}

/// Whether the hash of a flow has bits enough to choose such a hand.
fn can_be_dealt(queues: i64, hand: i64) -> bool {
    let mut bits = 0.0;
    for left in (queues - hand + 1..=queues).rev() {
        #[expect(clippy::cast_precision_loss, reason = "at most ten million")]
        let choices = left as f64;
        bits += choices.log2();
        if bits.ceil() > HASH_BITS {
            return false;
        }
    }
    true
}
