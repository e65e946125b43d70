//! The webhooks of all configurations, in the order they are asked: by the name of their
//! configuration, then as they are listed there.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use minik_api::admission::Hook;
use minik_meta::object;
use serde_json::Value;

use super::expressions::{Conditions, environment};
use crate::live::Fold;

const MUTATING: &str = "/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/";
const VALIDATING: &str = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/";

/// Webhooks in order, shared by the requests that ask them.
pub(crate) type HookList = Arc<[Arc<Asked>]>;

/// A webhook with its conditions, which are compiled when they are first looked at.
pub(crate) struct Asked {
    pub(super) hook: Hook,
    conditions: OnceLock<Conditions>,
}

impl Asked {
    fn new(hook: Hook) -> Asked {
        Asked { hook, conditions: OnceLock::new() }
    }

    /// The expressions that must all be true for it to be asked.
    pub(super) fn conditions(&self) -> &Conditions {
        self.conditions.get_or_init(|| {
            let texts = self.hook.conditions.iter().map(|(_, text)| text.as_str());
            Conditions::compile(&environment(false), texts)
        })
    }
}

impl Deref for Asked {
    type Target = Hook;

    fn deref(&self) -> &Hook {
        &self.hook
    }
}

/// Folded from the stored configurations.
#[derive(Default)]
pub(crate) struct Hooks {
    mutating: Ordered,
    validating: Ordered,
}

#[derive(Default)]
struct Ordered {
    by_name: BTreeMap<String, Vec<Arc<Asked>>>,
    /// All of them; none where there are none, so that asking for that costs nothing.
    all: Option<HookList>,
}

impl Hooks {
    /// Those that may change objects.
    pub(crate) fn mutating(&self) -> Option<HookList> {
        self.mutating.all.clone()
    }

    /// Those that only allow or deny.
    pub(crate) fn validating(&self) -> Option<HookList> {
        self.validating.all.clone()
    }
}

impl Fold for Hooks {
    const PREFIXES: &'static [&'static str] = &[MUTATING, VALIDATING];

    fn apply(&mut self, key: &str, configuration: Option<&Value>) {
        if let Some(name) = key.strip_prefix(MUTATING) {
            self.mutating.put(name, configuration, true);
        } else if let Some(name) = key.strip_prefix(VALIDATING) {
            self.validating.put(name, configuration, false);
        }
    }
}

impl Ordered {
    fn put(&mut self, name: &str, configuration: Option<&Value>, mutating: bool) {
        let webhooks = configuration.map_or(&[][..], |one| object::list(one, &["webhooks"]));
        let parse = |webhook| Arc::new(Asked::new(Hook::parse(name, webhook, mutating)));
        match webhooks.is_empty() {
            true => self.by_name.remove(name),
            false => self.by_name.insert(name.to_owned(), webhooks.iter().map(parse).collect()),
        };
        let all: Vec<Arc<Asked>> = self.by_name.values().flatten().cloned().collect();
        self.all = (!all.is_empty()).then(|| all.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(list: Option<HookList>) -> Vec<String> {
        let list = list.unwrap_or_else(|| Arc::new([]));
        list.iter().map(|hook| format!("{}/{}", hook.configuration, hook.name)).collect()
    }

    #[test]
    fn webhooks_are_asked_by_the_names_of_their_configurations() {
        let mut hooks = Hooks::default();
        assert!(hooks.mutating().is_none());
        let configuration = json!({"webhooks": [{"name": "z"}, {"name": "a"}]});
        hooks.apply(&format!("{MUTATING}later"), Some(&configuration));
        hooks.apply(&format!("{MUTATING}first"), Some(&json!({"webhooks": [{"name": "m"}]})));
        hooks.apply(&format!("{VALIDATING}v"), Some(&json!({"webhooks": []})));
        assert_eq!(names(hooks.mutating()), ["first/m", "later/z", "later/a"]);
        assert!(hooks.validating().is_none(), "a configuration without webhooks asks nobody");
        hooks.apply(&format!("{MUTATING}later"), None);
        assert_eq!(names(hooks.mutating()), ["first/m"]);
    }
}
