//! Registry passwords from pull secrets.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::serde_json::{Value, from_slice};
use minik_cri::v1;

use super::reference::Reference;

/// The entries that fit an image, the most specific first.
pub(crate) fn matching(secrets: &[Arc<Secret>], image: &Reference) -> Vec<v1::AuthConfig> {
    let mut found: Vec<(usize, v1::AuthConfig)> = secrets
        .iter()
        .flat_map(|secret| entries(secret))
        .filter(|(location, _)| fits(location, image))
        .map(|(location, auth)| (location.len(), auth))
        .collect();
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, auth)| auth).collect()
}

fn entries(secret: &Secret) -> Vec<(String, v1::AuthConfig)> {
    let data = secret.data.as_ref();
    let read = |key: &str| {
        data.and_then(|data| data.get(key)).and_then(|bytes| from_slice::<Value>(&bytes.0).ok())
    };
    let auths = match secret.type_.as_deref() {
        Some("kubernetes.io/dockercfg") => read(".dockercfg"),
        _ => read(".dockerconfigjson").map(|mut config| config["auths"].take()),
    };
    let auths = auths.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    auths.iter().filter_map(|(location, entry)| Some((location.clone(), auth(entry)?))).collect()
}

fn auth(entry: &Value) -> Option<v1::AuthConfig> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    if username.is_empty() {
        let joined = STANDARD.decode(text("auth").trim()).ok()?;
        let joined = String::from_utf8(joined).ok()?;
        let (user, secret) = joined.split_once(':')?;
        (username, password) = (user.to_owned(), secret.trim_end_matches('\0').to_owned());
    }
    Some(v1::AuthConfig {
        username,
        password,
        identity_token: text("identitytoken"),
        ..Default::default()
    })
}

/// Whether an entry for `location` (`https://HOST/PATH`, `HOST`, `*.example`) is for the image.
fn fits(location: &str, image: &Reference) -> bool {
    let bare = location.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_end_matches('/');
    let path = path.strip_prefix("v1").or(path.strip_prefix("v2")).unwrap_or(path);
    let path = path.trim_start_matches('/');
    let same_path = path.is_empty()
        || image.repository == path
        || image.repository.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    let is_hub =
        |host: &str| matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let same_host =
        if is_hub(host) { is_hub(&image.registry) } else { host_fits(host, &image.registry) };
    same_host && same_path
}

/// `*` stands for one label's characters.
fn host_fits(pattern: &str, host: &str) -> bool {
    let (patterns, labels): (Vec<_>, Vec<_>) =
        (pattern.split('.').collect(), host.split('.').collect());
    patterns.len() == labels.len()
        && patterns.iter().zip(labels).all(|(pattern, label)| match pattern.split_once('*') {
            Some((start, end)) => {
                label.len() >= start.len() + end.len()
                    && label.starts_with(start)
                    && label.ends_with(end)
            }
            None => *pattern == label,
        })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use test_case::test_case;

    use super::*;

    fn users(image: &str) -> String {
        let config = br#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
            "registry.example": {"username": "whole", "password": "x"},
            "registry.example/team": {"username": "team", "password": "x"},
            "*.lab.example:5000": {"username": "wild", "password": "x"}
        }}"#;
        let secret = Secret {
            type_: Some("kubernetes.io/dockerconfigjson".into()),
            data: Some([(".dockerconfigjson".into(), ByteString(config.to_vec()))].into()),
            ..Default::default()
        };
        let image = Reference::parse(image).expect("an image");
        let found = matching(&[Arc::new(secret)], &image);
        found.into_iter().map(|auth| auth.username).collect::<Vec<_>>().join(" ")
    }

    #[test_case("nginx" => "hub")]
    #[test_case("registry.example/app" => "whole")]
    #[test_case("registry.example/team/app" => "team whole")]
    #[test_case("registry.example/teams/app" => "whole")]
    #[test_case("a.lab.example:5000/x" => "wild")]
    #[test_case("other.example/x" => "")]
    fn most_specific_first(image: &str) -> String {
        users(image)
    }
}
