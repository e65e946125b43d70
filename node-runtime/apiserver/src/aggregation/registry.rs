//! Which versions other API servers serve, folded from the stored `APIService` objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minik_api::aggregation::is_available;
use minik_meta::object;
use serde_json::Value;

use crate::live::Fold;
use crate::tls::Trust;

/// Where API services are stored.
pub(super) const PREFIX: &str = "/registry/apiregistration.k8s.io/apiservices/";

/// A version that another server serves.
#[derive(Debug, PartialEq)]
pub(crate) struct Remote {
    /// The name of its object.
    pub(super) name: String,
    pub(super) group: String,
    pub(super) version: String,
    /// The Service in front of it.
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) port: u16,
    pub(super) trust: Trust,
    pub(super) is_available: bool,
    pub(super) group_priority: i64,
    pub(super) version_priority: i64,
    /// As it was written.
    pub(super) spec: Value,
}

#[derive(Default)]
pub(super) struct Registry {
    by_version: BTreeMap<(String, String), Arc<Remote>>,
    /// The versions by the key of their object.
    keys: BTreeMap<String, (String, String)>,
}

impl Registry {
    pub(super) fn find(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        if self.by_version.is_empty() {
            return None;
        }
        self.by_version.get(&(group.to_owned(), version.to_owned())).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Remote>> {
        self.by_version.values().cloned().collect()
    }
}

impl Fold for Registry {
    const PREFIXES: &'static [&'static str] = &[PREFIX];

    fn apply(&mut self, key: &str, object: Option<&Value>) {
        if let Some(version) = self.keys.remove(key) {
            self.by_version.remove(&version);
        }
        let Some(remote) = object.and_then(remote) else { return };
        let version = (remote.group.clone(), remote.version.clone());
        self.keys.insert(key.to_owned(), version.clone());
        self.by_version.insert(version, Arc::new(remote));
    }
}

/// Reads an API service that is not served here.
fn remote(object: &Value) -> Option<Remote> {
    let spec = &object["spec"];
    let service = object::at(spec, &["service"])?;
    let text = |value: &Value, key: &str| object::text(value, &[key]).to_owned();
    let number = |key: &str| object::integer(spec, &[key]).unwrap_or_default();
    let bundle = BASE64_STANDARD.decode(object::text(spec, &["caBundle"])).unwrap_or_default();
    let port = object::integer(service, &["port"]).unwrap_or(443);
    Some(Remote {
        name: object::name(object).to_owned(),
        group: text(spec, "group"),
        version: text(spec, "version"),
        namespace: text(service, "namespace"),
        service: text(service, "name"),
        port: u16::try_from(port).unwrap_or(443),
        trust: match object::boolean(spec, &["insecureSkipTLSVerify"]) {
            true => Trust::Anybody,
            false => Trust::of_bundle(String::from_utf8_lossy(&bundle).into_owned()),
        },
        is_available: is_available(object),
        group_priority: number("groupPriorityMinimum"),
        version_priority: number("versionPriority"),
        spec: spec.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_a_service_serves_is_remote() {
        let mut registry = Registry::default();
        let mut object = json!({
            "metadata": {"name": "v1.a.b"}, "spec": {"group": "a.b", "version": "v1"},
        });
        registry.apply("k", Some(&object));
        assert!(registry.find("a.b", "v1").is_none());
        object["spec"]["service"] = json!({"namespace": "n", "name": "s", "port": 8443});
        object["spec"]["insecureSkipTLSVerify"] = true.into();
        registry.apply("k", Some(&object));
        let found = registry.find("a.b", "v1").expect("remote");
        assert_eq!((found.port, &found.trust, found.is_available), (8443, &Trust::Anybody, false));
        registry.apply("k", None);
        assert!(registry.all().is_empty());
    }
}
