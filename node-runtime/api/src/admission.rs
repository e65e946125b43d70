//! Who is asked about a request before it is served: which webhooks match it, what they are sent,
//! and what their answers mean. Nothing here talks to anybody.

mod constraints;
mod hook;
pub mod review;
mod rules;

use minik_meta::{GroupVersionKind, GroupVersionResource};
use serde_json::Value;

pub use constraints::Constraints;
pub use hook::{Hook, SideEffects};
pub use rules::{MatchPolicy, Matched, Rule, matched};

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It comes into being.
    Create,
    /// It changes.
    Update,
    /// It is to go.
    Delete,
    /// Somebody connects to what it stands for: exec, port-forward, proxy.
    Connect,
}

impl Operation {
    /// As rules and reviews name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A request, as far as it decides who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// What is done.
    pub operation: Operation,
    /// The resource of the request's path.
    pub resource: GroupVersionResource,
    /// Empty for the object itself.
    pub subresource: String,
    /// The kind of the body: that of the subresource, where there is one.
    pub kind: GroupVersionKind,
    /// Of a namespace its own name; empty for other cluster-scoped objects.
    pub namespace: String,
    /// Empty while the name is not known: collections, names to be generated.
    pub name: String,
}

impl Attributes {
    /// Whether the request is about the configuration of admission itself. Nobody is asked about
    /// that, so that nobody can make it impossible to repair.
    pub fn is_exempt(&self) -> bool {
        self.kind.group == "admissionregistration.k8s.io"
            && matches!(
                self.kind.kind.as_str(),
                "MutatingWebhookConfiguration"
                    | "ValidatingWebhookConfiguration"
                    | "MutatingAdmissionPolicy"
                    | "MutatingAdmissionPolicyBinding"
                    | "ValidatingAdmissionPolicy"
                    | "ValidatingAdmissionPolicyBinding"
            )
    }

    fn is_of_namespaces(&self) -> bool {
        self.resource.group.is_empty() && self.resource.resource == "namespaces"
    }
}

/// The states of an object that a request is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Objects<'a> {
    /// What is wanted; none for deletions.
    pub new: Option<&'a Value>,
    /// What is there; none for creations.
    pub old: Option<&'a Value>,
}

/// The same resource in another version or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivalent {
    /// The other resource.
    pub resource: GroupVersionResource,
    /// The kind of the body there, if it is served there at all.
    pub kind: Option<GroupVersionKind>,
}

#[cfg(test)]
mod tests;
