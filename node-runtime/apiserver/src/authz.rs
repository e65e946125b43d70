//! Decides whether a user may do what a request asks for.

pub(crate) mod aggregate;
pub(crate) mod escalation;
pub(crate) mod node;
pub(crate) mod rbac;

use crate::vault::Store;
use minik_meta::{GroupResource, Reason, Status};
use minik_store::StoreError;
use serde_json::Value;

use crate::live::{Fold, Live};
use crate::user::{MASTERS, User};
use rbac::{PolicyRule, Rbac, RoleKey, Wish};

/// All that decides: roles and bindings, and for kubelets which objects concern their node.
pub(crate) struct Authorizer {
    rbac: Live<Rbac>,
    nodes: Live<node::Graph>,
}

impl Authorizer {
    pub(crate) fn new(store: &Store) -> Result<Authorizer, StoreError> {
        Ok(Authorizer { rbac: Live::new(store)?, nodes: Live::new(store)? })
    }

    /// Whether `user` may do `wish`.
    pub(crate) fn allows(&self, user: &User, wish: &Wish<'_>) -> bool {
        self.decide(user, wish).is_ok()
    }

    /// Allowed, or the reason to add to the refusal (mostly empty).
    pub(crate) fn decide(&self, user: &User, wish: &Wish<'_>) -> Result<(), String> {
        if user.is_in(MASTERS) {
            return Ok(());
        }
        let mut reason = String::new();
        if let Some(name) = user.node_name() {
            match node::decide(&self.nodes.now(), name, wish) {
                node::Decision::Allow => return Ok(()),
                node::Decision::NoOpinion(why) => reason = why,
            }
        }
        if self.rbac.now().allows(user, wish) { Ok(()) } else { Err(reason) }
    }

    /// As [`Authorizer::decide`], with upstream's reason also where it is allowed.
    pub(crate) fn explain(&self, user: &User, wish: &Wish<'_>) -> Result<String, String> {
        self.decide(user, wish)?;
        if user.is_in(MASTERS) {
            return Ok(String::new());
        }
        Ok(self.rbac.now().explain(user, wish).unwrap_or_default())
    }

    /// All rules `user` holds in `namespace`.
    pub(crate) fn rules(&self, user: &User, namespace: &str) -> Vec<PolicyRule> {
        let mut rules: Vec<PolicyRule> = self.rbac.now().rules(user, namespace).cloned().collect();
        if user.is_in(MASTERS) {
            let star = || vec!["*".to_owned()];
            rules.push(PolicyRule {
                verbs: star(),
                api_groups: star(),
                resources: star(),
                ..PolicyRule::default()
            });
            rules.push(PolicyRule {
                verbs: star(),
                non_resource_urls: star(),
                ..PolicyRule::default()
            });
        }
        rules
    }

    /// The rules of the role `key`, if it exists.
    pub(crate) fn role(&self, key: &RoleKey) -> Option<std::sync::Arc<[PolicyRule]>> {
        self.rbac.now().role(key)
    }
}

/// The refusal upstream gives.
pub(crate) fn forbidden(user: &User, wish: &Wish<'_>) -> Status {
    forbidden_because(user, wish, "")
}

/// The refusal with a reason, if there is one.
pub(crate) fn forbidden_because(user: &User, wish: &Wish<'_>, reason: &str) -> Status {
    let mut why = describe(user, wish);
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    match *wish {
        Wish::Page { .. } => Status::new(Reason::Forbidden, format!("forbidden: {why}"))
            .with_details(minik_meta::status::Details::default()),
        Wish::Resource { group, resource, name, .. } => {
            Status::forbidden(&GroupResource::new(group, resource), name, why)
        }
    }
}

/// `User "x" cannot list resource "pods" in API group "" in the namespace "y"`.
fn describe(user: &User, wish: &Wish<'_>) -> String {
    let user = &user.name;
    match *wish {
        Wish::Page { verb, path } => format!("User {user:?} cannot {verb} path {path:?}"),
        Wish::Resource { verb, group, resource, subresource, namespace, .. } => {
            let mut full = resource.to_owned();
            if !subresource.is_empty() {
                full = format!("{resource}/{subresource}");
            }
            let place = match namespace {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            format!("User {user:?} cannot {verb} resource {full:?} in API group {group:?} {place}")
        }
    }
}

impl Fold for Rbac {
    const PREFIXES: &'static [&'static str] = &["/registry/rbac.authorization.k8s.io/"];

    fn apply(&mut self, key: &str, object: Option<&Value>) {
        let mut parts = key.split('/').skip(3);
        let (Some(kind), Some(first)) = (parts.next(), parts.next()) else { return };
        let place = match parts.next() {
            Some(name) => RoleKey { namespace: first.to_owned(), name: name.to_owned() },
            None => RoleKey { namespace: String::new(), name: first.to_owned() },
        };
        match kind {
            "roles" | "clusterroles" => self.set_role(place, object),
            "rolebindings" | "clusterrolebindings" => self.set_binding(place, object),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("pods", "", "web", "", r#"pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "web""#; "collection")]
    #[test_case("pods", "exec", "web", "a", r#"pods "a" is forbidden: User "ann" cannot list resource "pods/exec" in API group "" in the namespace "web""#; "subresource")]
    #[test_case("nodes", "", "", "", r#"nodes is forbidden: User "ann" cannot list resource "nodes" in API group "" at the cluster scope"#; "cluster")]
    fn refusals(resource: &str, subresource: &str, namespace: &str, name: &str, expected: &str) {
        let user = User::new("ann", Vec::<String>::new());
        let wish =
            Wish::Resource { verb: "list", group: "", resource, subresource, namespace, name };
        assert_eq!(forbidden(&user, &wish).message, expected);
    }

    #[test]
    fn pages_are_refused_by_path() {
        let user = User::anonymous();
        let wish = Wish::Page { verb: "get", path: "/apis" };
        assert_eq!(
            forbidden(&user, &wish).message,
            r#"forbidden: User "system:anonymous" cannot get path "/apis""#
        );
    }
}
