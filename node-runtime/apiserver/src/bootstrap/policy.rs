//! Reads `policy.rules` and `controllers.rules`: the roles and bindings of a new cluster.
//!
//! The text is part of the program, so a mistake in it is found by the test below and not by a
//! user.

use serde_json::{Map, Value, json};

use crate::authz::rbac::PolicyRule;

const POLICY: &str = include_str!("policy.rules");
const CONTROLLERS: &str = include_str!("controllers.rules");

const GROUP: &str = "rbac.authorization.k8s.io";
const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const AGGREGATE: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// An object and the plural of its kind.
pub(crate) type Made = (&'static str, Value);

/// A role while its lines are read.
struct Role {
    namespace: String,
    name: String,
    label: Option<String>,
    aggregates: Vec<String>,
    rules: Vec<PolicyRule>,
}

impl Role {
    fn new(namespace: &str, name: &str) -> Role {
        Role {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            label: None,
            aggregates: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// All roles and bindings of a new cluster, aggregated rules already filled in.
pub(crate) fn objects() -> Vec<Made> {
    let mut roles: Vec<Role> = Vec::new();
    let mut made: Vec<Made> = Vec::new();
    for line in POLICY.lines().chain(CONTROLLERS.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [comment, ..] if comment.starts_with('#') => {}
            ["clusterrole", name, label @ ..] => {
                let mut role = Role::new("", name);
                role.label =
                    label.first().and_then(|word| word.strip_prefix("label=")).map(str::to_owned);
                roles.push(role);
            }
            ["role", namespace, name] => roles.push(Role::new(namespace, name)),
            ["controller", name] => {
                let role = format!("system:controller:{name}");
                let subject = format!("sa:kube-system/{name}");
                made.push(binding("", &role, &format!("clusterrole/{role}"), &[&subject]));
                roles.push(Role::new("", &role));
            }
            ["bind", name, role, subjects @ ..] => {
                made.push(binding("", name, &format!("clusterrole/{role}"), subjects));
            }
            ["rolebind", namespace, name, role, subjects @ ..] => {
                made.push(binding(namespace, name, role, subjects));
            }
            ["aggregate", labels @ ..] => {
                if let Some(role) = roles.last_mut() {
                    role.aggregates = labels.iter().map(|&label| label.to_owned()).collect();
                }
            }
            words => {
                if let (Some(role), Some(rule)) = (roles.last_mut(), rule(words)) {
                    role.rules.push(rule);
                }
            }
        }
    }
    let objects: Vec<Made> = roles.iter().map(|role| role_object(role, &roles)).collect();
    objects.into_iter().chain(made).collect()
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(|word| if word == "-" { String::new() } else { word.to_owned() }).collect()
}

fn rule(words: &[&str]) -> Option<PolicyRule> {
    match words {
        [verbs, "url", paths] => Some(PolicyRule {
            verbs: split(verbs),
            non_resource_urls: split(paths),
            ..PolicyRule::default()
        }),
        [verbs, groups, resources, names @ ..] if names.len() <= 1 => Some(PolicyRule {
            verbs: split(verbs),
            api_groups: split(groups),
            resources: split(resources),
            resource_names: names.first().map(|names| split(names)).unwrap_or_default(),
            ..PolicyRule::default()
        }),
        _ => None,
    }
}

fn metadata(namespace: &str, name: &str) -> Value {
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    metadata
}

fn role_object(role: &Role, all: &[Role]) -> Made {
    let mut meta = metadata(&role.namespace, &role.name);
    if let Some(label) = &role.label {
        meta["labels"][format!("{AGGREGATE}{label}")] = "true".into();
    }
    let (plural, kind) = match role.namespace.is_empty() {
        true => ("clusterroles", "ClusterRole"),
        false => ("roles", "Role"),
    };
    let mut object = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": meta});
    let mut rules = role.rules.clone();
    if !role.aggregates.is_empty() {
        let selectors: Vec<Value> = role.aggregates.iter().map(|label| selector(label)).collect();
        object["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
        for label in &role.aggregates {
            let parts = all.iter().filter(|part| part.label.as_ref() == Some(label));
            rules.extend(parts.flat_map(|part| part.rules.iter().cloned()));
        }
    }
    object["rules"] = serde_json::to_value(rules).unwrap_or_default();
    (plural, object)
}

fn selector(label: &str) -> Value {
    let mut labels = Map::new();
    labels.insert(format!("{AGGREGATE}{label}"), "true".into());
    json!({"matchLabels": labels})
}

fn binding(namespace: &str, name: &str, role: &str, subjects: &[&str]) -> Made {
    let (plural, kind) = match namespace.is_empty() {
        true => ("clusterrolebindings", "ClusterRoleBinding"),
        false => ("rolebindings", "RoleBinding"),
    };
    let (role_kind, role_name) = match role.split_once('/') {
        Some(("role", name)) => ("Role", name),
        Some((_, name)) => ("ClusterRole", name),
        None => ("ClusterRole", role),
    };
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata(namespace, name),
        "subjects": subjects.iter().map(|text| subject(text)).collect::<Vec<_>>(),
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role_name},
    });
    (plural, object)
}

fn subject(text: &str) -> Value {
    match text.split_once(':') {
        Some(("user", name)) => json!({"kind": "User", "apiGroup": GROUP, "name": name}),
        Some(("group", name)) => json!({"kind": "Group", "apiGroup": GROUP, "name": name}),
        Some((_, account)) => {
            let (namespace, name) = account.split_once('/').unwrap_or(("kube-system", account));
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_understood() {
        for line in POLICY.lines().chain(CONTROLLERS.lines()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let known = match words.as_slice() {
                [] | ["aggregate", ..] => true,
                [first, ..] if first.starts_with('#') => true,
                ["clusterrole", _, rest @ ..] => rest.iter().all(|w| w.starts_with("label=")),
                ["role", _, _] | ["controller", _] => true,
                ["bind", _, _, subjects @ ..] | ["rolebind", _, _, _, subjects @ ..] => {
                    !subjects.is_empty() && subjects.iter().all(|text| !subject(text).is_null())
                }
                words => rule(words).is_some(),
            };
            assert!(known, "not understood: {line}");
        }
    }

    #[test]
    fn aggregated_roles_have_the_rules_of_their_parts() {
        let objects = objects();
        let rules = |name: &str| {
            let found = objects.iter().find(|(plural, object)| {
                *plural == "clusterroles" && object["metadata"]["name"] == name
            });
            found.map_or(0, |(_, object)| object["rules"].as_array().map_or(0, Vec::len))
        };
        let parts =
            ["admin", "edit", "view"].map(|name| rules(&format!("system:aggregate-to-{name}")));
        assert_eq!(rules("admin"), parts.iter().sum::<usize>());
        assert_eq!(rules("edit"), parts[1] + parts[2]);
        assert!(rules("view") > 5);
    }

    #[test]
    fn every_binding_names_a_role_that_exists() {
        let objects = objects();
        for (plural, object) in &objects {
            let Some(role) = object.get("roleRef") else { continue };
            let exists = objects.iter().any(|(_, other)| {
                other["kind"] == role["kind"] && other["metadata"]["name"] == role["name"]
            });
            assert!(exists, "{plural} {} names {}", object["metadata"]["name"], role["name"]);
        }
    }
}
