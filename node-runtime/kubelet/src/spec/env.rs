//! A container's environment: services, `envFrom`, `env`, with `$(NAME)` expanded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret};

use super::fields::{self, FieldError, NodeFacts};

/// The ConfigMaps and Secrets of the pod's namespace that are there, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    pub(crate) config_maps: HashMap<String, Arc<ConfigMap>>,
    pub(crate) secrets: HashMap<String, Arc<Secret>>,
}

/// Why the environment cannot be made; the container waits with `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvError {
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    #[error("couldn't find key {key} in {kind} {name}")]
    NoKey { kind: &'static str, name: String, key: String },
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("environment variable {0}: {1} is not supported by this kubelet")]
    Unsupported(String, &'static str),
}

/// The variables in the order they were first named; a later value replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    names: Vec<String>,
    values: HashMap<String, String>,
}

impl Environment {
    fn set(&mut self, name: &str, value: String) {
        if self.values.insert(name.to_owned(), value).is_none() {
            self.names.push(name.to_owned());
        }
    }

    /// The value of one variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All variables in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(|name| (name.as_str(), self.values[name].as_str()))
    }

    /// Replaces `$(NAME)` where the name is known; `$$` stands for `$`.
    pub(crate) fn expand(&self, text: &str) -> String {
        expand(text, |name| self.get(name))
    }
}

/// The environment of one container.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    facts: &NodeFacts,
    objects: &Objects,
    services: Vec<(String, String)>,
) -> Result<Environment, EnvError> {
    let mut all = Environment::default();
    for (name, value) in services {
        all.set(&name, value);
    }
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let optional = reference.optional.unwrap_or(false);
            for (key, value) in config_map_entries(objects, &reference.name, optional)? {
                all.set(&format!("{prefix}{key}"), value);
            }
        }
        if let Some(reference) = &source.secret_ref {
            let optional = reference.optional.unwrap_or(false);
            for (key, value) in secret_entries(objects, &reference.name, optional)? {
                all.set(&format!("{prefix}{key}"), value);
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(pod, container, facts, objects, &all, variable)? {
            all.set(&variable.name, value);
        }
    }
    Ok(all)
}

/// Keys that cannot be a variable's name (`=` ends it) are left out.
fn is_name(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

fn config_map_entries(
    objects: &Objects,
    name: &str,
    optional: bool,
) -> Result<BTreeMap<String, String>, EnvError> {
    match objects.config_maps.get(name) {
        Some(map) => {
            let data = map.data.clone().unwrap_or_default();
            Ok(data.into_iter().filter(|(key, _)| is_name(key)).collect())
        }
        None if optional => Ok(BTreeMap::new()),
        None => Err(EnvError::NoConfigMap(name.into())),
    }
}

fn secret_entries(
    objects: &Objects,
    name: &str,
    optional: bool,
) -> Result<BTreeMap<String, String>, EnvError> {
    match objects.secrets.get(name) {
        Some(secret) => {
            let data = secret.data.clone().unwrap_or_default();
            let text = |(key, value): (String, k8s_openapi::ByteString)| {
                (key, String::from_utf8_lossy(&value.0).into_owned())
            };
            Ok(data.into_iter().filter(|(key, _)| is_name(key)).map(text).collect())
        }
        None if optional => Ok(BTreeMap::new()),
        None => Err(EnvError::NoSecret(name.into())),
    }
}

/// The value of one `env` entry; `None` leaves the variable out (an optional key that is absent).
fn value_of(
    pod: &Pod,
    container: &Container,
    facts: &NodeFacts,
    objects: &Objects,
    so_far: &Environment,
    variable: &EnvVar,
) -> Result<Option<String>, EnvError> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(so_far.expand(variable.value.as_deref().unwrap_or_default())));
    };
    match source {
        EnvVarSource { field_ref: Some(selector), .. } => {
            Ok(Some(fields::field(pod, facts, selector)?))
        }
        EnvVarSource { resource_field_ref: Some(selector), .. } => {
            Ok(Some(fields::resource(pod, facts, Some(container), selector)?))
        }
        EnvVarSource { config_map_key_ref: Some(selector), .. } => {
            let optional = selector.optional.unwrap_or(false);
            let map = config_map_entries(objects, &selector.name, optional)?;
            one_key("ConfigMap", map, &selector.name, &selector.key, optional)
        }
        EnvVarSource { secret_key_ref: Some(selector), .. } => {
            let optional = selector.optional.unwrap_or(false);
            let map = secret_entries(objects, &selector.name, optional)?;
            one_key("Secret", map, &selector.name, &selector.key, optional)
        }
        EnvVarSource { file_key_ref: Some(_), .. } => {
            Err(EnvError::Unsupported(variable.name.clone(), "fileKeyRef"))
        }
        EnvVarSource { .. } => Ok(Some(String::new())),
    }
}

fn one_key(
    kind: &'static str,
    mut map: BTreeMap<String, String>,
    name: &str,
    key: &str,
    optional: bool,
) -> Result<Option<String>, EnvError> {
    match map.remove(key) {
        Some(value) => Ok(Some(value)),
        None if optional => Ok(None),
        None => Err(EnvError::NoKey { kind, name: name.into(), key: key.into() }),
    }
}

fn expand<'a>(text: &str, value: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let reference =
            after.strip_prefix('(').and_then(|inner| inner.split_once(')')).filter(|_| true);
        rest = if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            escaped
        } else if let Some((name, tail)) = reference {
            match value(name) {
                Some(value) => out.push_str(value),
                // Unknown names stay as they are, for a shell inside to deal with.
                None => out.push_str(&format!("$({name})")),
            }
            tail
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    out
}

/// Names of the ConfigMaps and Secrets that a container's environment reads.
pub(crate) fn references(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for source in container.env_from.iter().flatten() {
        config_maps.extend(source.config_map_ref.iter().map(|reference| reference.name.clone()));
        secrets.extend(source.secret_ref.iter().map(|reference| reference.name.clone()));
    }
    let from = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    for source in from {
        config_maps.extend(source.config_map_key_ref.iter().map(|key| key.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|key| key.name.clone()));
    }
    (config_maps, secrets)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use k8s_openapi::serde_json::{Value, from_value, json};
    use test_case::test_case;

    use super::*;

    #[test_case("a $(X) b" => "a 1 b")]
    #[test_case("$$(X)" => "$(X)")]
    #[test_case("$(NO) $(X" => "$(NO) $(X"; "unknown and unclosed stay")]
    #[test_case("$X 5$" => "$X 5$")]
    #[test_case("$(X)$(X)" => "11")]
    fn expansion(text: &str) -> String {
        expand(text, |name| (name == "X").then_some("1"))
    }

    fn check(container: &Value, want: Expect) {
        let pod: Pod = from_value(json!({"metadata": {"name": "web"}})).expect("a pod");
        let container: Container = from_value(container.clone()).expect("a container");
        let map: ConfigMap =
            from_value(json!({"data": {"color": "red", "bad=key": "x"}})).expect("a config map");
        let secret: Secret = from_value(json!({"data": {"pass": "czNjcjN0"}})).expect("a secret");
        let objects = Objects {
            config_maps: HashMap::from([("colors".to_owned(), Arc::new(map))]),
            secrets: HashMap::from([("keys".to_owned(), Arc::new(secret))]),
        };
        let services = vec![("KUBERNETES_SERVICE_HOST".to_owned(), "10.96.0.1".to_owned())];
        let got = environment(&pod, &container, &NodeFacts::default(), &objects, services);
        let text = match got {
            Ok(all) => all.iter().map(|(name, value)| format!("{name}={value}\n")).collect(),
            Err(error) => format!("{error}\n"),
        };
        want.assert_eq(&text);
    }

    #[test]
    fn sources() {
        check(
            &json!({"name": "c",
                "envFrom": [{"prefix": "C_", "configMapRef": {"name": "colors"}},
                    {"secretRef": {"name": "none", "optional": true}}],
                "env": [
                    {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(C_color)-$(Z)"},
                    {"name": "A", "value": "2"},
                    {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "P", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "pass"}}},
                    {"name": "N", "valueFrom": {"configMapKeyRef":
                        {"name": "colors", "key": "none", "optional": true}}}]}),
            expect![[r#"
                KUBERNETES_SERVICE_HOST=10.96.0.1
                C_color=red
                A=2
                B=1-red-$(Z)
                ME=web
                P=s3cr3t
            "#]],
        );
        check(
            &json!({"name": "c", "env": [{"name": "A", "valueFrom":
                {"configMapKeyRef": {"name": "colors", "key": "none"}}}]}),
            expect![[r#"
                couldn't find key none in ConfigMap colors
            "#]],
        );
        check(
            &json!({"name": "c", "envFrom": [{"secretRef": {"name": "none"}}]}),
            expect![[r#"
                secret "none" not found
            "#]],
        );
    }
}
