//! One webhook of a configuration, read once for all requests.

use std::time::Duration;

use minik_meta::object::Object;
use minik_meta::{LabelSelector, Status, object};
use serde_json::Value;

use super::rules::{MatchPolicy, Matched, Rule, matched};
use super::{Attributes, Equivalent, Objects, Operation};

/// How long a webhook may take if its configuration does not say, in seconds.
const TIMEOUT_DEFAULT_S: u64 = 10;

/// Versions of `AdmissionReview` that are spoken here.
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];

/// A webhook: whom to ask, about what, and what if it does not answer.
#[derive(Debug)]
pub struct Hook {
    /// Its own name.
    pub name: String,
    /// The name of the configuration it is in.
    pub configuration: String,
    /// Whether it may change objects.
    pub mutating: bool,
    /// Whether a request goes on where it cannot be asked.
    pub ignores_failures: bool,
    /// How long it may take.
    pub timeout: Duration,
    /// What asking does besides answering.
    pub side_effects: SideEffects,
    /// Whether it is asked again when somebody changes the object after it.
    pub reinvoked: bool,
    /// The version of `AdmissionReview` to speak, if there is one both know.
    pub review_version: Option<&'static str>,
    /// Where it is: `url` or `service`, `caBundle`.
    pub client: Value,
    /// Expressions that must all be true for it to be asked: name and text.
    pub conditions: Vec<(String, String)>,
    rules: Vec<Rule>,
    match_policy: MatchPolicy,
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
}

/// What asking a webhook does besides answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideEffects {
    /// Nothing, or nothing when told of a dry run.
    NoneOnDryRun,
    /// Something, or nobody knows.
    Some,
}

impl Hook {
    /// Reads one of the `webhooks` of a configuration.
    pub fn parse(configuration: &str, webhook: &Value, mutating: bool) -> Hook {
        let text = |key: &str| object::text(webhook, &[key]);
        let selector = |key: &str| {
            let given = object::at(webhook, &[key]);
            let all = || Ok(LabelSelector::everything());
            given
                .map_or_else(all, |one| LabelSelector::from_object(Some(one)))
                .map_err(|error| error.to_string())
        };
        let seconds = object::integer(webhook, &["timeoutSeconds"]);
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let spoken = object::list(webhook, &["admissionReviewVersions"]).iter();
        let conditions = object::list(webhook, &["matchConditions"]).iter().map(|condition| {
            let text = |key: &str| object::text(condition, &[key]).to_owned();
            (text("name"), text("expression"))
        });
        Hook {
            name: text("name").to_owned(),
            configuration: configuration.to_owned(),
            mutating,
            ignores_failures: text("failurePolicy") == "Ignore",
            timeout: Duration::from_secs(seconds.unwrap_or(TIMEOUT_DEFAULT_S)),
            side_effects: match text("sideEffects") {
                "None" | "NoneOnDryRun" => SideEffects::NoneOnDryRun,
                _ => SideEffects::Some,
            },
            reinvoked: text("reinvocationPolicy") == "IfNeeded",
            review_version: spoken
                .filter_map(Value::as_str)
                .find_map(|one| REVIEW_VERSIONS.iter().copied().find(|known| *known == one)),
            client: webhook["clientConfig"].clone(),
            conditions: conditions.collect(),
            rules: object::list(webhook, &["rules"]).iter().map(Rule::parse).collect(),
            match_policy: MatchPolicy::parse(text("matchPolicy")),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// Whether the webhook is to be asked about a request, and in which version. Conditions are not
    /// looked at. `namespace` reads the labels of the request's namespace.
    ///
    /// # Errors
    /// 404 where the namespace is missing, 500 for a selector that cannot be read.
    pub fn wants(
        &self,
        request: &Attributes,
        objects: Objects<'_>,
        namespace: impl FnOnce() -> Result<Option<Object>, Status>,
        equivalents: impl FnOnce() -> Vec<Equivalent>,
    ) -> Result<Option<Matched>, Status> {
        // Labels are looked up only for those whom the request concerns at all, but before that
        // one is refused for a namespace that is missing, its rules have to match.
        let Some(found) = matched(&self.rules, self.match_policy, request, equivalents)? else {
            return Ok(None);
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
