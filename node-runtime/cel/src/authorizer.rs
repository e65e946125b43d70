//! `authorizer`: checks of what somebody may do, answered by whoever evaluates.

use std::fmt;
use std::sync::Arc;

/// Answers checks. It is asked while an expression is evaluated, twice per expression at most (each
/// check costs a third of what an evaluation may).
pub trait Authorizer: Sync {
    /// Whether who sent the request, or the service account that the check names, may do this.
    fn check(&self, check: &Check) -> Decision;
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Namespace and name of the service account asked about; the sender of the request if none.
    pub service_account: Option<(Arc<str>, Arc<str>)>,
    /// The verb.
    pub verb: String,
    /// What it is to be done to.
    pub target: CheckTarget,
}

/// What a check is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckTarget {
    /// A path of the API server that is no resource.
    Path(Arc<str>),
    /// A resource, in any version.
    Resource(ResourceCheck),
}

/// A resource to be checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceCheck {
    /// API group, empty for the core group.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// Empty for the resource itself.
    pub subresource: String,
    /// Empty for all namespaces or none.
    pub namespace: String,
    /// Empty for all names.
    pub name: String,
    /// As it was written; whoever checks ignores what cannot be parsed.
    pub field_selector: Option<String>,
    /// As it was written; whoever checks ignores what cannot be parsed.
    pub label_selector: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, may be empty.
    pub reason: String,
    /// What went wrong when it was decided.
    pub error: Option<String>,
}

/// The value of `authorizer`.
#[derive(Clone)]
pub struct AuthorizerValue<'a> {
    pub(crate) authorizer: &'a dyn Authorizer,
    pub(crate) service_account: Option<(Arc<str>, Arc<str>)>,
}

impl fmt::Debug for AuthorizerValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthorizerValue").field(&self.service_account).finish()
    }
}

impl AuthorizerValue<'_> {
    pub(crate) fn ask(&self, target: CheckTarget, verb: &str) -> Decision {
        let service_account = self.service_account.clone();
        self.authorizer.check(&Check { service_account, verb: verb.to_owned(), target })
    }
}
