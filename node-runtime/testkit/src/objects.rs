//! Objects that tests need again and again.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An object from its JSON text, as one would write it in a manifest.
///
/// # Panics
/// If the value is not such an object: a mistake in the test.
#[must_use]
pub fn yaml_like<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of the kind asked for")
}

/// A Deployment of one container, whose pods carry the label `app` with its name.
#[must_use]
pub fn deployment(name: &str, image: &str, replicas: i32) -> Deployment {
    yaml_like(json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": image,
                    "ports": [{ "name": "http", "containerPort": 8080 }] }] },
            },
        },
    }))
}

/// A Service in front of the pods with the label `app` of that name.
#[must_use]
pub fn service(name: &str) -> Service {
    yaml_like(json!({
        "metadata": { "name": name },
        "spec": { "selector": { "app": name },
                  "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
    }))
}
