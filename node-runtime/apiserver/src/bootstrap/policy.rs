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
    if !role.aggregates.is_empty() {
        let selectors: Vec<Value> = role.aggregates.iter().map(|label| selector(label)).collect();
        object["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
    }
    let rules = rules_of(role, all);
    object["rules"] = serde_json::to_value(rules).unwrap_or_default();
    (plural, object)
}

/// The rules of a role and of those it is the union of, each rule once. The labels of the table form
/// no circle.
fn rules_of(role: &Role, all: &[Role]) -> Vec<PolicyRule> {
    let mut rules = role.rules.clone();
    for label in &role.aggregates {
        let parts = all.iter().filter(|part| part.label.as_ref() == Some(label));
        for rule in parts.flat_map(|part| rules_of(part, all)) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    rules
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
    let mut object = json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata(namespace, name),
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role_name},
    });
    if !subjects.is_empty() {
        object["subjects"] = subjects.iter().map(|text| subject(text)).collect();
    }
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
                    subjects.iter().all(|text| !subject(text).is_null())
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
        let part = |name: &str| rules(&format!("system:aggregate-to-{name}"));
        assert!(part("view") > 5);
        assert_eq!(rules("view"), part("view"));
        assert!(rules("edit") > part("edit") && rules("edit") <= part("edit") + rules("view"));
        assert!(rules("admin") > rules("edit"));
    }

    fn texts(value: &Value, key: &str) -> String {
        let all = value[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut all: Vec<&str> = all.collect();
        all.sort_unstable();
        all.join(",")
    }

    /// What a role or binding says, in a form that does not depend on any order.
    fn canonical(object: &Value) -> String {
        let sorted = |mut lines: Vec<String>, between: &str| {
            lines.sort_unstable();
            lines.join(between)
        };
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let role = &object["roleRef"];
        if role.is_object() {
            let subjects = list(&object["subjects"]);
            let subjects = subjects.iter().map(|one| match one["kind"].as_str() {
                Some("ServiceAccount") => {
                    format!("sa:{}/{}", text(one, "namespace"), text(one, "name"))
                }
                kind => {
                    format!("{}:{}", kind.unwrap_or_default().to_lowercase(), text(one, "name"))
                }
            });
            let subjects = sorted(subjects.collect(), " ");
            return format!("{}/{} {subjects}", text(role, "kind"), text(role, "name"));
        }
        if let Some(rule) = object.get("aggregationRule") {
            let labels = list(&rule["clusterRoleSelectors"]);
            let labels = labels.iter().flat_map(|one| {
                let keys = one["matchLabels"].as_object().into_iter().flatten();
                keys.map(|(key, _)| key.trim_start_matches(AGGREGATE).to_owned())
                    .collect::<Vec<_>>()
            });
            return format!("aggregate {}", sorted(labels.collect(), " "));
        }
        let fields = ["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"];
        let rules = list(&object["rules"]);
        let rules = rules.iter().map(|rule| fields.map(|field| texts(rule, field)).join(" "));
        sorted(rules.collect(), "\n")
    }

    fn text<'a>(value: &'a Value, key: &str) -> &'a str {
        value[key].as_str().unwrap_or_default()
    }

    /// Every role and binding of Kubernetes v1.36 with the start of the SHA-256 of its canonical
    /// form, made from the published tables of its bootstrap policy.
    const EXPECTED: &str = include_str!("expected.txt");

    #[test]
    fn every_role_and_binding_is_the_published_one() {
        let ours: std::collections::BTreeMap<String, String> = objects()
            .iter()
            .map(|(_, object)| {
                let metadata = &object["metadata"];
                let labels = metadata["labels"].as_object().into_iter().flatten();
                let labels: Vec<&str> =
                    labels.filter_map(|(key, _)| key.strip_prefix(AGGREGATE)).collect();
                let said = format!("{}\n{}", labels.join(","), canonical(object));
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, said.as_bytes());
                let start = digest.as_ref()[..6].iter().map(|byte| format!("{byte:02x}"));
                let namespace = metadata["namespace"].as_str().unwrap_or("-");
                let key =
                    format!("{} {namespace} {}", text(object, "kind"), text(metadata, "name"));
                (key, start.collect())
            })
            .collect();
        let expected: Vec<(&str, &str)> =
            EXPECTED.lines().filter_map(|line| line.rsplit_once(' ')).collect();
        assert!(expected.len() > 100);
        let wrong: Vec<_> = expected
            .iter()
            .filter(|(key, digest)| ours.get(*key).map(String::as_str) != Some(digest))
            .collect();
        assert!(wrong.is_empty(), "missing or different: {wrong:#?}");
        let more: Vec<&str> = ours
            .keys()
            .map(String::as_str)
            .filter(|key| !expected.iter().any(|(other, _)| other == key))
            .collect();
        assert_eq!(
            more,
            [
                "ClusterRole - system:controller:storage-provisioner",
                "ClusterRole - system:controller:taint-eviction-controller",
                "ClusterRole - system:coredns",
                "ClusterRoleBinding - minik:dns",
                "ClusterRoleBinding - system:controller:storage-provisioner",
                "ClusterRoleBinding - system:controller:taint-eviction-controller",
            ]
        );
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
