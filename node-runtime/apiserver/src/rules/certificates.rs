//! What is wrong with a certificate request: its parts, and which of them a write may change.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minik_meta::{FieldError, Path, names, object};
use minik_pki::{KeyUsages, PkiError, SigningRequest};
use serde_json::Value;

const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
/// Conditions that are true or not there.
const DECISIONS: [&str; 3] = ["Approved", "Denied", "Failed"];
/// The shortest life that can be asked for, in seconds.
const LIFE_MIN: i64 = 600;
const SUBDOMAIN_MAX: usize = 253;
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Which part of a request a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What users may change: labels and the like.
    Main,
    /// The certificate and what signers have to say.
    Status,
    /// Whether it is granted.
    Approval,
}

/// Every rule a new state breaks. What was wrong before may stay.
pub(crate) fn wrong(new: &Value, old: Option<&Value>, part: Part) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    let spec = Path::new("spec");
    request(new, &spec, &mut wrong);
    usages(new, old, &spec, &mut wrong);
    signer(new, old, &spec, &mut wrong);
    let life = object::integer(new, &["spec", "expirationSeconds"]);
    if let Some(life) = life.filter(|life| *life < LIFE_MIN) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        wrong.push(FieldError::invalid(&spec.child("expirationSeconds"), life, why));
    }
    conditions(new, old, &mut wrong);
    certificate(new, old, &mut wrong);
    if let Some(old) = old {
        changed(new, old, part, &mut wrong);
    }
    wrong
}

fn request(new: &Value, spec: &Path, wrong: &mut Vec<FieldError>) {
    let encoded = object::text(new, &["spec", "request"]);
    let pem = STANDARD.decode(encoded).unwrap_or_default();
    if let Err(error) = SigningRequest::from_pem(&pem) {
        wrong.push(FieldError::invalid(&spec.child("request"), encoded, error.to_string()));
    }
}

fn texts<'a>(request: &'a Value, path: &[&str]) -> Vec<&'a str> {
    object::list(request, path).iter().filter_map(Value::as_str).collect()
}

fn usages(new: &Value, old: Option<&Value>, spec: &Path, wrong: &mut Vec<FieldError>) {
    let path = spec.child("usages");
    let given = texts(new, &["spec", "usages"]);
    let before = old.map(|old| texts(old, &["spec", "usages"])).unwrap_or_default();
    if given.is_empty() {
        wrong.push(FieldError::required(&path, ""));
    }
    let is_unknown = |usage: &str| KeyUsages::from_names(&[usage]).is_err();
    if !before.iter().any(|usage| is_unknown(usage)) {
        for (index, usage) in given.iter().enumerate().filter(|(_, usage)| is_unknown(usage)) {
            wrong.push(FieldError::not_supported(&path.index(index), *usage, USAGES));
        }
    }
    if repeated(&before).next().is_none() {
        for index in repeated(&given) {
            wrong.push(FieldError::duplicate(&path.index(index), given[index]));
        }
    }
}

/// Places of texts that stand further ahead, too.
fn repeated<'a>(texts: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    (0..texts.len()).filter(|&index| texts[..index].contains(&texts[index]))
}

fn signer(new: &Value, old: Option<&Value>, spec: &Path, wrong: &mut Vec<FieldError>) {
    let path = spec.child("signerName");
    let name = object::text(new, &["spec", "signerName"]);
    let before = old.map_or("", |old| object::text(old, &["spec", "signerName"]));
    if name == LEGACY_SIGNER && before != LEGACY_SIGNER {
        let why = "the legacy signerName is not allowed via this API version";
        wrong.push(FieldError::invalid(&path, name, why));
        return;
    }
    if name.is_empty() {
        return; // Required by the schema.
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        wrong.push(FieldError::invalid(&path, name, why));
        return;
    };
    if domain.len() > SUBDOMAIN_MAX {
        wrong.push(FieldError::too_long(&path, SUBDOMAIN_MAX));
    }
    let labels = |text: &str, check: fn(&str) -> Vec<String>| {
        let first = text.split('.').map(|label| (label, check(label)));
        let first = first.into_iter().find(|(_, wrong)| !wrong.is_empty());
        let (label, found) = first.unwrap_or_default();
        let found: Vec<FieldError> = found
            .into_iter()
            .map(|why| {
                let why = format!("validating label {label:?}: {why}");
                FieldError::invalid(&path, text, why)
            })
            .collect();
        found
    };
    wrong.extend(labels(domain, names::dns1123_label));
    if !domain.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        wrong.push(FieldError::invalid(&path, domain, why));
    }
    wrong.extend(labels(rest, names::dns1123_subdomain));
    let whole_max = 2 * SUBDOMAIN_MAX + 63 + 2;
    if name.len() > whole_max {
        wrong.push(FieldError::too_long(&path, whole_max));
    }
}

fn condition_types(request: &Value) -> Vec<&str> {
    let conditions = object::list(request, &["status", "conditions"]);
    conditions.iter().map(|one| object::text(one, &["type"])).collect()
}

fn conditions(new: &Value, old: Option<&Value>, wrong: &mut Vec<FieldError>) {
    let path = Path::new("status.conditions");
    let before = old.map(condition_types).unwrap_or_default();
    let was_both = before.contains(&"Approved") && before.contains(&"Denied");
    let types = condition_types(new);
    for (index, condition) in object::list(new, &["status", "conditions"]).iter().enumerate() {
        let at = path.index(index);
        let kind = types[index];
        if kind.is_empty() && !before.contains(&"") {
            wrong.push(FieldError::required(&at.child("type"), ""));
        }
        let allowed: &[&str] = match DECISIONS.contains(&kind) {
            true => &["True"],
            false => &["False", "True", "Unknown"],
        };
        match object::text(condition, &["status"]) {
            "" => wrong.push(FieldError::required(&at.child("status"), "")),
            status if !allowed.contains(&status) => {
                wrong.push(FieldError::not_supported(&at.child("status"), status, allowed));
            }
            _ => {}
        }
        let other = match kind {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "-",
        };
        if !was_both && types[..index].contains(&other) {
            let why = "Approved and Denied conditions are mutually exclusive";
            wrong.push(FieldError::invalid(&path, kind, why));
        }
        if types[..index].contains(&kind) && repeated(&before).next().is_none() {
            wrong.push(FieldError::duplicate(&at.child("type"), kind));
        }
    }
}

fn certificate_of(request: &Value) -> &str {
    object::text(request, &["status", "certificate"])
}

fn check_certificate(encoded: &str) -> Result<(), String> {
    if encoded.is_empty() {
        return Ok(());
    }
    minik_pki::check_certificates(&STANDARD.decode(encoded).unwrap_or_default()).map_err(|error| {
        match error {
            PkiError::Certificate { reason } => reason,
            other => other.to_string(),
        }
    })
}

fn certificate(new: &Value, old: Option<&Value>, wrong: &mut Vec<FieldError>) {
    let given = certificate_of(new);
    let kept = old.map(certificate_of);
    if kept.is_some_and(|old| old == given || check_certificate(old).is_err()) {
        return;
    }
    if let Err(why) = check_certificate(given) {
        let path = Path::new("status.certificate");
        wrong.push(FieldError::invalid(&path, "<certificate data>", why));
    }
}

/// What this write may not change.
fn changed(new: &Value, old: &Value, part: Part, wrong: &mut Vec<FieldError>) {
    let path = Path::new("status.conditions");
    for kind in DECISIONS {
        let of = |request| -> Vec<&Value> {
            let all = object::list(request, &["status", "conditions"]).iter();
            all.filter(|one| one["type"] == kind).collect()
        };
        let (new, old) = (of(new), of(old));
        let forbidden = |what| {
            let why = format!("updates may not {what} a condition of type {kind:?}");
            FieldError::forbidden(&path, why)
        };
        if new.len() < old.len() {
            wrong.push(forbidden("remove"));
        } else if part == Part::Approval || kind == "Failed" {
            continue;
        } else if new.len() > old.len() {
            wrong.push(forbidden("add"));
        } else if new != old {
            wrong.push(forbidden("modify"));
        }
    }
    let (new, old) = (certificate_of(new), certificate_of(old));
    if new == old {
        return;
    }
    let path = Path::new("status.certificate");
    if part != Part::Status {
        wrong.push(FieldError::forbidden(&path, "updates may not set certificate content"));
    } else if !old.is_empty() {
        let why = "updates may not modify existing certificate content";
        wrong.push(FieldError::forbidden(&path, why));
    }
}

#[cfg(test)]
mod tests;
