//! What somebody wants to be asked about: rules, and selectors of namespaces and objects.

use minik_meta::object::Object;
use minik_meta::{LabelSelector, Status, object};
use serde_json::Value;

use super::rules::{MatchPolicy, Matched, Rule, matched};
use super::{Attributes, Equivalent, Objects, Operation};

/// The matching part of a webhook (`rules`) or of a policy and its bindings (`resourceRules`).
#[derive(Debug)]
pub struct Constraints {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    policy: MatchPolicy,
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
    /// Whether having no rules means everything.
    all_if_empty: bool,
}

impl Constraints {
    /// Reads a webhook.
    pub fn of_webhook(webhook: &Value) -> Constraints {
        Self::parse(webhook, "rules", "", false)
    }

    /// Reads `MatchResources`; absent ones match everything.
    pub fn of_policy(resources: &Value) -> Constraints {
        Self::parse(resources, "resourceRules", "excludeResourceRules", true)
    }

    fn parse(value: &Value, rules: &str, excluded: &str, all_if_empty: bool) -> Constraints {
        let selector = |key: &str| {
            let given = object::at(value, &[key]);
            let all = || Ok(LabelSelector::everything());
            let parsed = given.map_or_else(all, |one| LabelSelector::from_object(Some(one)));
            parsed.map_err(|error| error.to_string())
        };
        let parse = |key: &str| object::list(value, &[key]).iter().map(Rule::parse).collect();
        Constraints {
            rules: parse(rules),
            excluded: parse(excluded),
            policy: MatchPolicy::parse(object::text(value, &["matchPolicy"])),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            all_if_empty,
        }
    }

    /// Whether they match a request, and in which version it is meant. `namespace` reads the labels
    /// of the request's namespace.
    ///
    /// # Errors
    /// 404 where the namespace is missing, 500 for a selector that cannot be read; only if the
    /// rules match.
    pub fn matches(
        &self,
        request: &Attributes,
        objects: Objects<'_>,
        namespace: impl FnOnce() -> Result<Option<Object>, Status>,
        equivalents: impl Fn() -> Vec<Equivalent>,
    ) -> Result<Option<Matched>, Status> {
        if !self.excluded.is_empty()
            && matched(&self.excluded, self.policy, request, &equivalents)?.is_some()
        {
            return Ok(None);
        }
        let found = match self.rules.is_empty() && self.all_if_empty {
            true => Matched { resource: request.resource.clone(), kind: request.kind.clone() },
            false => match matched(&self.rules, self.policy, request, equivalents)? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let selected = selects_namespace(&self.namespaces, request, objects, namespace)?
            && selects_object(&self.objects, objects)?;
        Ok(selected.then_some(found))
    }
}

/// Whether a selector of namespaces selects that of the request: cluster-scoped objects always,
/// namespaces by their own labels.
fn selects_namespace(
    selector: &Result<LabelSelector, String>,
    request: &Attributes,
    objects: Objects<'_>,
    namespace: impl FnOnce() -> Result<Option<Object>, Status>,
) -> Result<bool, Status> {
    let of_namespaces = request.resource.resource == "namespaces";
    if request.namespace.is_empty() && !of_namespaces {
        return Ok(true);
    }
    let selector = selector.as_ref().map_err(Status::internal)?;
    if selector.is_empty() {
        return Ok(true);
    }
    let itself = of_namespaces
        && request.subresource.is_empty()
        && matches!(request.operation, Operation::Create | Operation::Update);
    if itself {
        return Ok(selector.matches(objects.new.and_then(object::labels)));
    }
    Ok(selector.matches(namespace()?.as_ref()))
}

/// Whether a selector of objects selects the old or the new state.
fn selects_object(
    selector: &Result<LabelSelector, String>,
    objects: Objects<'_>,
) -> Result<bool, Status> {
    let selector = selector.as_ref().map_err(Status::internal)?;
    // Options of a connection have no metadata, hence no labels that could be selected.
    let has = |state: Option<&Value>| {
        state.is_some_and(|state| {
            state.get("metadata").is_some() && selector.matches(object::labels(state))
        })
    };
    Ok(selector.is_empty() || has(objects.new) || has(objects.old))
}
