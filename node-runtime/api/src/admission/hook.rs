//! One webhook of a configuration, read once for all requests.

use std::time::Duration;

use minik_meta::object::Object;
use minik_meta::{Status, object};
use serde_json::Value;

use super::constraints::Constraints;
use super::rules::Matched;
use super::{Attributes, Equivalent, Objects};

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
    constraints: Constraints,
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
            constraints: Constraints::of_webhook(webhook),
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
        equivalents: impl Fn() -> Vec<Equivalent>,
    ) -> Result<Option<Matched>, Status> {
        self.constraints.matches(request, objects, namespace, equivalents)
    }
}
