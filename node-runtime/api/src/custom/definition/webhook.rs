//! Rules of `spec.conversion`.

use minik_meta::{FieldError, Path, names, object};
use serde_json::Value;

/// What is wrong with how versions are converted.
pub(super) fn check(conversion: &Value, errors: &mut Vec<FieldError>) {
    let at = Path::new("spec.conversion");
    let strategy = object::text(conversion, &["strategy"]);
    super::one_of("spec.conversion.strategy", strategy, &["None", "Webhook"], errors);
    let webhook = object::at(conversion, &["webhook"]);
    match (strategy, webhook) {
        ("Webhook", None) => errors.push(FieldError::required(
            &at.child("webhookClientConfig"),
            "required when strategy is set to Webhook",
        )),
        ("Webhook", Some(webhook)) => {
            client(&webhook["clientConfig"], &at.child("webhookClientConfig"), errors);
            reviews(webhook, &at.child("conversionReviewVersions"), errors);
        }
        (_, Some(_)) => errors.push(FieldError::forbidden(
            &at.child("webhookClientConfig"),
            "should not be set when strategy is not set to Webhook",
        )),
        (_, None) => {}
    }
}

fn reviews(webhook: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let versions = object::list(webhook, &["conversionReviewVersions"]);
    if versions.is_empty() {
        errors.push(FieldError::required(at, ""));
        return;
    }
    for (index, one) in versions.iter().enumerate() {
        let version = one.as_str().unwrap_or_default();
        for message in names::dns1035_label(version) {
            errors.push(FieldError::invalid(&at.index(index), version, message));
        }
    }
    if !versions.iter().any(|one| matches!(one.as_str(), Some("v1" | "v1beta1"))) {
        let why = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(at, versions.to_vec(), why));
    }
}

pub(crate) fn client(config: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    match (object::at(config, &["url"]), object::at(config, &["service"])) {
        (Some(url), None) => check_url(url.as_str().unwrap_or_default(), &at.child("url"), errors),
        (None, Some(service)) => check_service(service, &at.child("service"), errors),
        _ => errors.push(FieldError::required(at, "exactly one of url or service is required")),
    }
}

fn check_url(url: &str, at: &Path, errors: &mut Vec<FieldError>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let mut wrong = |why: &str, value: &str| errors.push(FieldError::invalid(at, value, why));
    let Some((scheme, rest)) = url.split_once("://") else {
        return wrong(&format!("url must be a valid URL{FORM}"), url);
    };
    if scheme != "https" {
        wrong(&format!("'https' is the only allowed URL scheme{FORM}"), scheme);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if host.is_empty() {
        wrong(&format!("host must be specified{FORM}"), host);
    }
    if let Some((user, _)) = host.rsplit_once('@') {
        wrong("user information is not permitted in the URL", user);
    }
    if let Some((_, fragment)) = path.split_once('#') {
        wrong("fragments are not permitted in the URL", fragment);
    }
    if let Some((_, query)) = path.split('#').next().unwrap_or_default().split_once('?') {
        wrong("query parameters are not permitted in the URL", query);
    }
}

fn check_service(service: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    for key in ["name", "namespace"] {
        if object::text(service, &[key]).is_empty() {
            let why = format!("service {key} is required");
            errors.push(FieldError::required(&at.child(key), why));
        }
    }
    if let Some(port) = object::integer(service, &["port"])
        && !(1..=65535).contains(&port)
    {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(&at.child("port"), port, why));
    }
    check_path(object::text(service, &["path"]), &at.child("path"), errors);
}

/// The path of a service: segments that are names.
fn check_path(path: &str, at: &Path, errors: &mut Vec<FieldError>) {
    let mut wrong = |why: String| errors.push(FieldError::invalid(at, path, why));
    if matches!(path, "" | "/") {
        return;
    }
    if path == "//" {
        return wrong("segment[0] may not be empty".to_owned());
    }
    if !path.starts_with('/') {
        wrong("must start with a '/'".to_owned());
    }
    let rest = path.get(1..).unwrap_or_default();
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    for (index, segment) in rest.split('/').enumerate() {
        if segment.is_empty() {
            wrong(format!("segment[{index}] may not be empty"));
            continue;
        }
        for why in names::dns1123_subdomain(segment) {
            wrong(format!("segment[{index}]: {why}"));
        }
    }
}
