//! The kind that the operator looks after, as kube's derive makes it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a site is made of.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, Serialize)]
#[kube(
    group = "shop.example.com",
    version = "v1",
    kind = "Site",
    namespaced,
    status = "SiteStatus",
    shortname = "si",
    category = "all",
    selectable = ".spec.image",
    printcolumn(json_path = ".status.phase", name = "Phase", type_ = "string"),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    validation = Rule::new("size(self.metadata.name) <= 20").message("the name is too long")
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SiteSpec {
    /// What runs.
    pub(crate) image: String,
    /// How many of it.
    #[serde(default = "one")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 10").message("a site has up to ten replicas"))]
    pub(crate) replicas: i32,
    /// Where it is reached; filled in by the webhook, and kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a site does not move"))]
    pub(crate) host: Option<String>,
}

fn one() -> i32 {
    1
}

/// What is there of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SiteStatus {
    /// `Ready` or `Pending`.
    pub(crate) phase: String,
    /// Pods that are ready.
    pub(crate) replicas: i32,
    /// Selects them.
    pub(crate) selector: String,
    /// The generation this is about.
    pub(crate) observed_generation: i64,
    /// The instance of the operator that says so.
    pub(crate) said_by: String,
}
