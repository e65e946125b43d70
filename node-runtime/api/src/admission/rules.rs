//! Which requests a rule is about.

use minik_meta::{GroupVersionKind, GroupVersionResource, Status, object};
use serde_json::Value;

use super::{Attributes, Equivalent};

const ANY: &str = "*";

/// Operations, groups, versions and resources; `*` stands for all.
#[derive(Clone, Debug)]
pub struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// Resource and subresource, which is empty for the object itself.
    resources: Vec<(String, String)>,
    scope: Scope,
    /// Names of objects; all if there is none. Only rules of policies have them.
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    All,
    Cluster,
    Namespaced,
}

/// Whether a rule for one version of a resource is one for the others, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchPolicy {
    /// Only what the rule names.
    Exact,
    /// Also the same objects in other versions; whoever asked is shown the version it named.
    Equivalent,
}

impl MatchPolicy {
    /// Reads `matchPolicy`.
    pub fn parse(text: &str) -> Self {
        if text == "Exact" { Self::Exact } else { Self::Equivalent }
    }
}

/// How a request is to be shown to whoever matched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The resource that a rule names, in the version it names.
    pub resource: GroupVersionResource,
    /// The kind of the body there.
    pub kind: GroupVersionKind,
}

impl Rule {
    /// Reads a `RuleWithOperations` or `NamedRuleWithOperations`.
    pub fn parse(rule: &Value) -> Rule {
        let texts = |key: &str| -> Vec<String> {
            let list = object::list(rule, &[key]).iter();
            list.filter_map(|one| one.as_str().map(str::to_owned)).collect()
        };
        let split = |text: String| match text.split_once('/') {
            Some((resource, subresource)) => (resource.to_owned(), subresource.to_owned()),
            None => (text, String::new()),
        };
        Rule {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources").into_iter().map(split).collect(),
            scope: match object::text(rule, &["scope"]) {
                "Cluster" => Scope::Cluster,
                "Namespaced" => Scope::Namespaced,
                _ => Scope::All,
            },
            names: texts("resourceNames"),
        }
    }

    /// Whether the rule is about the request, were its resource `resource`.
    pub fn matches(&self, request: &Attributes, resource: &GroupVersionResource) -> bool {
        let has =
            |list: &[String], wanted: &str| list.iter().any(|one| one == ANY || one == wanted);
        let about = |(name, sub): &(String, String)| {
            (name == ANY || *name == resource.resource)
                && (sub == ANY || *sub == request.subresource)
        };
        let namespaced = !request.is_of_namespaces() && !request.namespace.is_empty();
        let in_scope = match self.scope {
            Scope::All => true,
            Scope::Namespaced => namespaced,
            Scope::Cluster => !namespaced,
        };
        in_scope
            && has(&self.operations, request.operation.as_str())
            && has(&self.groups, &resource.group)
            && has(&self.versions, &resource.version)
            && self.resources.iter().any(about)
            && (self.names.is_empty() || self.names.contains(&request.name))
    }
}

/// The first of the rules that is about the request, and in which version it is meant.
/// `equivalents` are asked for only if no rule names the request's own version.
///
/// # Errors
/// 500 where a rule names a version whose kind is not known.
pub fn matched(
    rules: &[Rule],
    policy: MatchPolicy,
    request: &Attributes,
    equivalents: impl FnOnce() -> Vec<Equivalent>,
) -> Result<Option<Matched>, Status> {
    if rules.iter().any(|rule| rule.matches(request, &request.resource)) {
        let (resource, kind) = (request.resource.clone(), request.kind.clone());
        return Ok(Some(Matched { resource, kind }));
    }
    if policy == MatchPolicy::Exact {
        return Ok(None);
    }
    let equivalents = equivalents();
    let pairs = rules.iter().flat_map(|rule| equivalents.iter().map(move |one| (rule, one)));
    let found = pairs
        .filter(|(_, one)| one.resource != request.resource)
        .find(|(rule, one)| rule.matches(request, &one.resource));
    let Some((_, found)) = found else { return Ok(None) };
    let GroupVersionResource { group, version, resource } = &found.resource;
    let unknown = || {
        let what = format!("{group}/{version}, Resource={resource}");
        Status::internal(format!("unable to convert to {what}: unknown kind"))
    };
    let kind = found.kind.clone().ok_or_else(unknown)?;
    Ok(Some(Matched { resource: found.resource.clone(), kind }))
}
