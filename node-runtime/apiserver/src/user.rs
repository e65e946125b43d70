//! Who makes a request, after authentication.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The group whose members may do everything, whatever the roles say.
pub(crate) const MASTERS: &str = "system:masters";
/// The group of everybody who proved an identity.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of requests without an identity.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of requests without an identity.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
/// The group of all service accounts.
pub(crate) const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// The group of all kubelets.
pub(crate) const NODES: &str = "system:nodes";
/// What the name of each kubelet starts with.
pub(crate) const NODE_PREFIX: &str = "system:node:";
/// What the name of each service account starts with.
pub(crate) const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// An identity: a name, the groups it is in, and what else the authenticator knew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name, as it appears in role bindings: `system:kube-scheduler`, `alice`.
    pub name: String,
    /// Identifies the user across renames; empty when the authenticator has none.
    pub uid: String,
    /// The groups, including `system:authenticated`.
    pub groups: Vec<String>,
    /// More facts by key, such as the pod a service-account token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with a proven identity: `system:authenticated` is added to the groups.
    pub fn new<G: Into<String>>(
        name: impl Into<String>,
        groups: impl IntoIterator<Item = G>,
    ) -> User {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        User { name: name.into(), uid: String::new(), groups, extra: BTreeMap::new() }
    }

    /// The all-powerful administrator: a member of `system:masters`.
    pub fn admin() -> User {
        User::new("kubernetes-admin", [MASTERS])
    }

    /// The service account `name` of `namespace`, as its token would identify it.
    pub fn service_account(namespace: &str, name: &str) -> User {
        User::new(
            format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"),
            [SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")],
        )
    }

    /// The kubelet of node `name`.
    pub fn node(name: &str) -> User {
        User::new(format!("{NODE_PREFIX}{name}"), [NODES])
    }

    /// A request that came without an identity.
    pub(crate) fn anonymous() -> User {
        User {
            name: ANONYMOUS.to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..User::default()
        }
    }

    /// As reviews tell of the user.
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.name});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.clone().into();
        }
        info["groups"] = json!(self.groups);
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }

    /// Whether the user is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|have| have == group)
    }

    /// The node this user is the kubelet of, if it is one.
    pub(crate) fn node_name(&self) -> Option<&str> {
        self.is_in(NODES).then(|| self.name.strip_prefix(NODE_PREFIX)).flatten()
    }
}
