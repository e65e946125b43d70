//! The policies that have bindings, in the order of their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::policy::{Binding, Policy};
use crate::live::Fold;

pub(super) const VALIDATING: &str =
    "/registry/admissionregistration.k8s.io/validatingadmissionpolicies/";
const VALIDATING_BINDINGS: &str =
    "/registry/admissionregistration.k8s.io/validatingadmissionpolicybindings/";
const MUTATING: &str = "/registry/admissionregistration.k8s.io/mutatingadmissionpolicies/";
const MUTATING_BINDINGS: &str =
    "/registry/admissionregistration.k8s.io/mutatingadmissionpolicybindings/";

/// Policies with their bindings.
pub(crate) type PolicyList = Arc<[(Arc<Policy>, Vec<Arc<Binding>>)]>;

/// Folded from the stored objects.
#[derive(Default)]
pub(crate) struct Policies {
    validating: Bound,
    mutating: Bound,
}

#[derive(Default)]
struct Bound {
    policies: BTreeMap<String, Arc<Policy>>,
    bindings: BTreeMap<String, Arc<Binding>>,
    /// Those with bindings; none where there are none, so that asking for that costs nothing.
    all: Option<PolicyList>,
}

impl Policies {
    pub(crate) fn validating(&self) -> Option<PolicyList> {
        self.validating.all.clone()
    }

    pub(crate) fn mutating(&self) -> Option<PolicyList> {
        self.mutating.all.clone()
    }
}

impl Fold for Policies {
    const PREFIXES: &'static [&'static str] =
        &[VALIDATING, VALIDATING_BINDINGS, MUTATING, MUTATING_BINDINGS];

    fn apply(&mut self, key: &str, object: Option<&Value>) {
        if let Some(name) = key.strip_prefix(VALIDATING) {
            self.validating.put_policy(name, object);
        } else if let Some(name) = key.strip_prefix(VALIDATING_BINDINGS) {
            self.validating.put_binding(name, object);
        } else if let Some(name) = key.strip_prefix(MUTATING) {
            self.mutating.put_policy(name, object);
        } else if let Some(name) = key.strip_prefix(MUTATING_BINDINGS) {
            self.mutating.put_binding(name, object);
        }
    }
}

impl Bound {
    fn put_policy(&mut self, name: &str, object: Option<&Value>) {
        match object {
            Some(object) => {
                self.policies.insert(name.to_owned(), Arc::new(Policy::parse(object)));
            }
            None => {
                self.policies.remove(name);
            }
        }
        self.settle();
    }

    fn put_binding(&mut self, name: &str, object: Option<&Value>) {
        match object {
            Some(object) => {
                self.bindings.insert(name.to_owned(), Arc::new(Binding::parse(object)));
            }
            None => {
                self.bindings.remove(name);
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        let bound = self.policies.iter().map(|(name, policy)| {
            let bindings = self.bindings.values().filter(|one| one.policy == *name);
            (Arc::clone(policy), bindings.cloned().collect::<Vec<_>>())
        });
        let all: Vec<_> = bound.filter(|(_, bindings)| !bindings.is_empty()).collect();
        self.all = (!all.is_empty()).then(|| all.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_policy_counts_once_it_is_bound() {
        let mut policies = Policies::default();
        policies.apply(&format!("{VALIDATING}p"), Some(&json!({"metadata": {"name": "p"}})));
        assert!(policies.validating().is_none());
        let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p"}});
        policies.apply(&format!("{MUTATING_BINDINGS}b"), Some(&binding));
        assert!(policies.validating().is_none(), "a binding of another kind");
        policies.apply(&format!("{VALIDATING_BINDINGS}b"), Some(&binding));
        assert_eq!(policies.validating().expect("bound").len(), 1);
        policies.apply(&format!("{VALIDATING_BINDINGS}b"), None);
        assert!(policies.validating().is_none());
    }
}
