//! Names of custom resources: their form, whether they are taken, who may use which group.

use minik_meta::{FieldError, Path, names, object};
use serde_json::Value;

/// The annotation with the address of the approval.
pub(super) const APPROVED: &str = "api-approved.kubernetes.io";

/// What is wrong with `spec.names`.
pub(super) fn check(given: &Value, errors: &mut Vec<FieldError>) {
    let base = Path::new("spec.names");
    let text = |key: &str| object::text(given, &[key]);
    for key in ["plural", "singular", "kind", "listKind"] {
        if text(key).is_empty() {
            errors.push(FieldError::required(&base.child(key), ""));
        }
    }
    for key in ["plural", "singular"] {
        label(&base.child(key), text(key), errors);
    }
    for key in ["kind", "listKind"] {
        let wrong = names::dns1035_label(&text(key).to_lowercase());
        if !text(key).is_empty() && !wrong.is_empty() {
            let why =
                format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.push(FieldError::invalid(&base.child(key), text(key), why));
        }
    }
    if !text("kind").is_empty() && text("kind") == text("listKind") {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(&base.child("listKind"), text("listKind"), why));
    }
    for key in ["shortNames", "categories"] {
        for (index, one) in object::list(given, &[key]).iter().enumerate() {
            label(&base.child(key).index(index), one.as_str().unwrap_or_default(), errors);
        }
    }
}

fn label(at: &Path, text: &str, errors: &mut Vec<FieldError>) {
    let wrong = names::dns1035_label(text);
    let list_item = at.as_str().ends_with(']');
    if !wrong.is_empty() && (list_item || !text.is_empty()) {
        errors.push(FieldError::invalid(at, text, wrong.join(",")));
    }
}

/// A name that another definition of the group has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// `PluralConflict` and the like.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

/// The names of `definition` that are free, over those it was given before, and the last conflict
/// of those that are not. `others` are the other definitions of the same group.
pub(super) fn accept(definition: &Value, others: &[&Value]) -> (Value, Option<Conflict>) {
    let taken = |name: &str, keys: &[&str]| {
        others.iter().any(|other| {
            keys.iter().any(|key| match object::at(other, &["status", "acceptedNames", key]) {
                Some(Value::String(text)) => text == name,
                Some(Value::Array(list)) => list.iter().any(|one| one == name),
                _ => false,
            })
        })
    };
    const RESOURCES: &[&str] = &["plural", "singular", "shortNames"];
    const KINDS: &[&str] = &["kind", "listKind"];
    let wanted = &definition["spec"]["names"];
    let accepted = object::at(definition, &["status", "acceptedNames"]).cloned();
    let mut accepted = accepted.unwrap_or_default();
    let mut conflict = None;
    let in_use = |name: &str| format!("{name:?} is already in use");
    for (key, names, reason) in [
        ("plural", RESOURCES, "PluralConflict"),
        ("singular", RESOURCES, "SingularConflict"),
        ("shortNames", RESOURCES, "ShortNamesConflict"),
        ("kind", KINDS, "KindConflict"),
        ("listKind", KINDS, "ListKindConflict"),
    ] {
        let value = wanted.get(key).cloned().unwrap_or_default();
        let clashes: Vec<String> = match &value {
            Value::String(name) if taken(name, names) => vec![in_use(name)],
            Value::Array(list) => {
                let names_of_list = list.iter().filter_map(Value::as_str);
                names_of_list.filter(|name| taken(name, names)).map(in_use).collect()
            }
            _ => Vec::new(),
        };
        if clashes.is_empty() {
            put(&mut accepted, key, value);
        } else {
            conflict = Some(Conflict { reason, message: clashes.join(", ") });
        }
    }
    put(&mut accepted, "categories", wanted.get("categories").cloned().unwrap_or_default());
    (accepted, conflict)
}

fn put(names: &mut Value, key: &str, value: Value) {
    match value {
        Value::Null => {
            object::remove(names, &[key]);
        }
        value => object::set(names, &[key], value),
    }
}

/// Whether a group belongs to the community.
pub(super) fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// What a definition says about its approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Approval {
    /// Approved, at this address.
    Approved(String),
    /// It says that it is not approved, and why.
    Waived(String),
    Missing,
    /// Neither; and what is wrong with it.
    Invalid(String, String),
}

pub(super) fn approval(definition: &Value) -> Approval {
    let text = object::annotation(definition, APPROVED).unwrap_or_default();
    if text.is_empty() {
        return Approval::Missing;
    }
    if text.starts_with("unapproved") {
        return Approval::Waived(text.to_owned());
    }
    let is_url = text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.starts_with('/') && !rest.is_empty()
    });
    if is_url {
        return Approval::Approved(text.to_owned());
    }
    let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\" with \
               either a URL or a reason starting with \"unapproved\", see \
               https://github.com/kubernetes/enhancements/pull/1111";
    Approval::Invalid(text.to_owned(), why.to_owned())
}
