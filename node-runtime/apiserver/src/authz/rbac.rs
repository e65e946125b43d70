//! Role-based access: which rules a user holds where. Pure: fed with roles and bindings as they
//! change, asked on each request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::user::{SERVICE_ACCOUNT_PREFIX, User};

/// One rule of a role: what may be done to what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PolicyRule {
    pub(crate) verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(
        rename = "nonResourceURLs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub(crate) non_resource_urls: Vec<String>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What a request wants, in the words of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish<'a> {
    /// A verb on a resource.
    Resource {
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    },
    /// A verb on a page.
    Page { verb: &'a str, path: &'a str },
}

impl<'a> Wish<'a> {
    /// The same with another verb.
    pub(crate) fn with_verb(self, other: &'a str) -> Wish<'a> {
        match self {
            Wish::Resource { group, resource, subresource, namespace, name, .. } => {
                Wish::Resource { verb: other, group, resource, subresource, namespace, name }
            }
            Wish::Page { path, .. } => Wish::Page { verb: other, path },
        }
    }
}

impl PolicyRule {
    /// Whether this rule alone grants `wish` where it holds.
    pub(crate) fn allows(&self, wish: &Wish<'_>) -> bool {
        match *wish {
            Wish::Resource { verb, group, resource, subresource, name, .. } => {
                has(&self.verbs, verb)
                    && has(&self.api_groups, group)
                    && self.resources.iter().any(|rule| names(rule, resource, subresource))
                    && (self.resource_names.is_empty()
                        || self.resource_names.iter().any(|have| have == name))
            }
            Wish::Page { verb, path } => {
                has(&self.verbs, verb)
                    && self.non_resource_urls.iter().any(|rule| match rule.strip_suffix('*') {
                        Some(prefix) => path.starts_with(prefix),
                        None => path == rule,
                    })
            }
        }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|have| have == "*" || have == wanted)
}

/// Whether the `resources` entry `rule` covers `resource/subresource`.
fn names(rule: &str, resource: &str, subresource: &str) -> bool {
    match rule.split_once('/') {
        None if rule == "*" => true,
        None => subresource.is_empty() && rule == resource,
        Some((base, sub)) => {
            !subresource.is_empty() && sub == subresource && (base == "*" || base == resource)
        }
    }
}

/// What a binding hands out: a role of its namespace, or a cluster role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RoleKey {
    /// Empty for cluster roles.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A binding by place: its namespace (empty for cluster role bindings) and name.
type BindingKey = RoleKey;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

impl Subject {
    fn describe(&self) -> String {
        match self {
            Subject::Group(name) => format!("Group {name:?}"),
            Subject::User(name) => {
                let account = name.strip_prefix(SERVICE_ACCOUNT_PREFIX);
                match account.and_then(|account| account.split_once(':')) {
                    Some((namespace, account)) => {
                        format!("ServiceAccount \"{account}/{namespace}\"")
                    }
                    None => format!("User {name:?}"),
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Binding {
    role: RoleKey,
    subjects: Vec<Subject>,
}

/// All roles and bindings, found by subject.
#[derive(Debug, Default)]
pub(crate) struct Rbac {
    roles: HashMap<RoleKey, Arc<[PolicyRule]>>,
    bindings: HashMap<BindingKey, Binding>,
    by_subject: HashMap<Subject, HashSet<BindingKey>>,
}

impl Rbac {
    /// Takes the new state of a role, or its absence.
    pub(crate) fn set_role(&mut self, key: RoleKey, role: Option<&Value>) {
        match role {
            Some(role) => self.roles.insert(key, rules_of(role).into()),
            None => self.roles.remove(&key),
        };
    }

    /// Takes the new state of a binding, or its absence.
    pub(crate) fn set_binding(&mut self, key: BindingKey, binding: Option<&Value>) {
        if let Some(old) = self.bindings.remove(&key) {
            for subject in &old.subjects {
                if let Some(keys) = self.by_subject.get_mut(subject) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        self.by_subject.remove(subject);
                    }
                }
            }
        }
        let Some(binding) = binding.and_then(|value| binding_of(&key, value)) else { return };
        for subject in &binding.subjects {
            self.by_subject.entry(subject.clone()).or_default().insert(key.clone());
        }
        self.bindings.insert(key, binding);
    }

    /// The rules of one role.
    pub(crate) fn role(&self, key: &RoleKey) -> Option<Arc<[PolicyRule]>> {
        self.roles.get(key).cloned()
    }

    /// The rules `user` holds in `namespace` (empty: over the whole cluster).
    pub(crate) fn rules<'a>(
        &'a self,
        user: &User,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a PolicyRule> {
        let mut subjects = Vec::with_capacity(user.groups.len() + 1);
        subjects.push(Subject::User(user.name.clone()));
        subjects.extend(user.groups.iter().cloned().map(Subject::Group));
        subjects
            .into_iter()
            .filter_map(|subject| self.by_subject.get(&subject))
            .flatten()
            .filter(move |key| key.namespace.is_empty() || key.namespace == namespace)
            .filter_map(|key| self.roles.get(&self.bindings.get(key)?.role))
            .flat_map(|rules| rules.iter())
    }

    /// Which binding grants `wish`, in upstream's words: those of the whole cluster first.
    pub(crate) fn explain(&self, user: &User, wish: &Wish<'_>) -> Option<String> {
        let wanted = match wish {
            Wish::Resource { namespace, .. } => namespace,
            Wish::Page { .. } => "",
        };
        let own: Vec<Subject> = std::iter::once(Subject::User(user.name.clone()))
            .chain(user.groups.iter().cloned().map(Subject::Group))
            .collect();
        let mut keys: Vec<&BindingKey> = own
            .iter()
            .filter_map(|subject| self.by_subject.get(subject))
            .flatten()
            .filter(|key| key.namespace.is_empty() || key.namespace == wanted)
            .collect();
        keys.sort_by_key(|key| (&key.namespace, &key.name));
        keys.into_iter().find_map(|key| {
            let binding = self.bindings.get(key)?;
            let rules = self.roles.get(&binding.role)?;
            rules.iter().find(|rule| rule.allows(wish))?;
            let subject = binding.subjects.iter().find(|subject| own.contains(subject))?;
            let place = match key.namespace.as_str() {
                "" => format!("ClusterRoleBinding {:?}", key.name),
                namespace => format!("RoleBinding \"{}/{namespace}\"", key.name),
            };
            let role = if binding.role.namespace.is_empty() { "ClusterRole" } else { "Role" };
            Some(format!(
                "RBAC: allowed by {place} of {role} {:?} to {}",
                binding.role.name,
                subject.describe()
            ))
        })
    }

    /// Whether some rule of `user` grants `wish`.
    pub(crate) fn allows(&self, user: &User, wish: &Wish<'_>) -> bool {
        let namespace = match wish {
            Wish::Resource { namespace, .. } => namespace,
            Wish::Page { .. } => "",
        };
        self.rules(user, namespace).any(|rule| rule.allows(wish))
    }
}

/// The rules of a role object.
pub(crate) fn rules_of(role: &Value) -> Vec<PolicyRule> {
    role.get("rules").and_then(|rules| Vec::deserialize(rules).ok()).unwrap_or_default()
}

/// The role a binding object refers to.
pub(crate) fn role_ref(namespace: &str, binding: &Value) -> Option<RoleKey> {
    let reference = binding.get("roleRef")?;
    let name = reference.get("name")?.as_str()?.to_owned();
    let namespace = match reference.get("kind")?.as_str()? {
        "Role" => namespace.to_owned(),
        _ => String::new(),
    };
    Some(RoleKey { namespace, name })
}

fn binding_of(key: &BindingKey, value: &Value) -> Option<Binding> {
    let subjects = value.get("subjects").and_then(Value::as_array);
    let subjects = subjects.into_iter().flatten().filter_map(|subject| {
        let name = subject.get("name")?.as_str()?;
        match subject.get("kind")?.as_str()? {
            "User" => Some(Subject::User(name.to_owned())),
            "Group" => Some(Subject::Group(name.to_owned())),
            "ServiceAccount" => {
                let given = subject.get("namespace").and_then(Value::as_str).unwrap_or_default();
                let namespace = if given.is_empty() { key.namespace.as_str() } else { given };
                Some(Subject::User(format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")))
            }
            _ => None,
        }
    });
    Some(Binding { role: role_ref(&key.namespace, value)?, subjects: subjects.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use test_case::test_case;

    fn key(namespace: &str, name: &str) -> RoleKey {
        RoleKey { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn rbac() -> Rbac {
        let mut rbac = Rbac::default();
        let reader = json!({"rules": [
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"]},
            {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/openapi/*"]},
        ]});
        rbac.set_role(key("", "reader"), Some(&reader));
        let scaler = json!({"rules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/scale"]},
        ]});
        rbac.set_role(key("web", "scaler"), Some(&scaler));
        let everywhere = json!({
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "User", "name": "ann"}],
        });
        rbac.set_binding(key("", "ann"), Some(&everywhere));
        let in_web = json!({
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "Group", "name": "web-team"}],
        });
        rbac.set_binding(key("web", "team"), Some(&in_web));
        let robot = json!({
            "roleRef": {"kind": "Role", "name": "scaler"},
            "subjects": [{"kind": "ServiceAccount", "name": "robot"}],
        });
        rbac.set_binding(key("web", "robot"), Some(&robot));
        rbac
    }

    #[test_case("ann", "get pods ns=web", true; "cluster binding counts in a namespace")]
    #[test_case("ann", "list pods ns=", true; "and over all of them")]
    #[test_case("ann", "delete pods ns=web", false; "verb not in the rule")]
    #[test_case("ann", "get pods/log ns=web", true; "subresource named")]
    #[test_case("ann", "get pods/exec ns=web", false; "subresource not named")]
    #[test_case("ann", "get secrets ns=web name=one", true; "resource name matches")]
    #[test_case("ann", "get secrets ns=web name=two", false; "resource name differs")]
    #[test_case("ann", "list secrets ns=web", false; "a list has no name")]
    #[test_case("bob", "get pods ns=web", true; "by group in the binding's namespace")]
    #[test_case("bob", "get pods ns=other", false; "not elsewhere")]
    #[test_case("bob", "get pods ns=", false; "nor everywhere")]
    #[test_case("robot", "update deployments/scale ns=web", true; "star base with subresource")]
    #[test_case("robot", "update deployments ns=web", false; "but not the resource")]
    #[test_case("ann", "get /healthz", true; "page")]
    #[test_case("ann", "get /openapi/v2", true; "page below a star")]
    #[test_case("ann", "get /metrics", false; "other page")]
    fn grants(user: &str, wish: &str, expected: bool) {
        let user = match user {
            "bob" => User::new("bob", ["web-team"]),
            "robot" => User::service_account("web", "robot"),
            name => User::new(name, Vec::<String>::new()),
        };
        let (verb, rest) = wish.split_once(' ').expect("verb");
        let field = |label: &str| {
            rest.split(' ').find_map(|part| part.strip_prefix(label)).unwrap_or_default()
        };
        let first = rest.split(' ').next().unwrap_or_default();
        let (resource, subresource) = first.split_once('/').unwrap_or((first, ""));
        let wish = if first.starts_with('/') {
            Wish::Page { verb, path: first }
        } else {
            let (namespace, name) = (field("ns="), field("name="));
            Wish::Resource { verb, group: "", resource, subresource, namespace, name }
        };
        assert_eq!(rbac().allows(&user, &wish), expected);
    }

    #[test]
    fn grants_are_explained() {
        let pods = |verb, resource, subresource| Wish::Resource {
            verb,
            group: "",
            resource,
            subresource,
            namespace: "web",
            name: "",
        };
        let explain = |user: User, wish| rbac().explain(&user, &wish).unwrap_or_default();
        assert_eq!(
            explain(User::new("ann", ["web-team"]), pods("get", "pods", "")),
            r#"RBAC: allowed by ClusterRoleBinding "ann" of ClusterRole "reader" to User "ann""#
        );
        assert_eq!(
            explain(User::new("bob", ["web-team"]), pods("get", "pods", "")),
            r#"RBAC: allowed by RoleBinding "team/web" of ClusterRole "reader" to Group "web-team""#
        );
        assert_eq!(
            explain(User::service_account("web", "robot"), pods("get", "deployments", "scale")),
            r#"RBAC: allowed by RoleBinding "robot/web" of Role "scaler" to ServiceAccount "robot/web""#
        );
        assert_eq!(explain(User::new("bob", ["web-team"]), pods("delete", "pods", "")), "");
    }

    #[test]
    fn a_removed_binding_grants_nothing() {
        let mut rbac = rbac();
        rbac.set_binding(key("", "ann"), None);
        let user = User::new("ann", Vec::<String>::new());
        assert_eq!(rbac.rules(&user, "web").count(), 0);
        assert!(!rbac.by_subject.contains_key(&Subject::User("ann".to_owned())));
    }
}
