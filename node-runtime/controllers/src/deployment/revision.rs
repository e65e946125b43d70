//! Which ReplicaSet belongs to the template as it is now, how the sets are numbered, and which
//! are old enough to forget. `kubectl rollout history` and `undo` read what is written here.

use std::cmp::Ordering;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use minik_reconcile::{Change, KeyOf};
use serde_json::Value;

use crate::deployment::{is_rolling, replicas, scaling, set_replicas, spec};
use crate::history::short_hash;
use crate::owned;
use crate::wiring::{name_of, namespace_of};

/// Number of a template, on its ReplicaSet and on the Deployment.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Numbers a ReplicaSet had before, when its template came back.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Tells the pods of one template from those of another.
const HASH: &str = "pod-template-hash";
/// Longest list of former numbers.
const HISTORY_BYTES_MAX: usize = 2000;
/// Sets kept for `kubectl rollout undo` when the Deployment does not say how many.
const HISTORY_LIMIT_DEFAULT: i32 = 10;

/// Annotations of a Deployment that say nothing about its ReplicaSets.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    scaling::DESIRED,
    scaling::MAX,
    "deprecated.deployment.rollback.to",
];

/// The ReplicaSets of a Deployment, told apart.
pub(super) struct Revisions {
    /// The one of the template as it is now.
    pub(super) new: Option<Arc<ReplicaSet>>,
    /// All others, oldest first.
    pub(super) old: Vec<Arc<ReplicaSet>>,
}

impl Revisions {
    pub(super) fn of(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Revisions {
        let new = matching(deployment, sets).cloned();
        let mut old: Vec<_> = sets
            .iter()
            .filter(|set| new.as_ref().is_none_or(|new| new.uid_str() != set.uid_str()))
            .cloned()
            .collect();
        old.sort_by(|a, b| by_age(a, b));
        Revisions { new, old }
    }

    /// The new set, then the old ones.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.new.iter().chain(&self.old)
    }

    /// What is to become of the new set.
    pub(super) fn new_set(&self, deployment: &Deployment, may_create: bool) -> New {
        let before = self.old.iter().map(|set| number(&**set)).max().unwrap_or(0);
        let next = before + 1;
        match &self.new {
            Some(set) => New::There {
                uid: set.uid_str().to_owned(),
                wanted: Box::new(renumbered(deployment, set, next)),
            },
            None if may_create => New::Create(Box::new(make(deployment, self, next))),
            None => New::None,
        }
    }
}

/// The ReplicaSet of the template as it is now.
pub(super) enum New {
    /// There is none, and none may be made yet.
    None,
    /// It exists, and should look like this.
    There { uid: String, wanted: Box<ReplicaSet> },
    /// It is to be made.
    Create(Box<ReplicaSet>),
}

impl New {
    /// `set` with the annotations it should have, if it is the new one.
    pub(super) fn with_annotations(&self, set: &ReplicaSet) -> ReplicaSet {
        match self {
            New::There { uid, wanted } if uid == set.uid_str() => (**wanted).clone(),
            _ => set.clone(),
        }
    }

    /// The revision the Deployment should carry, if it carries another.
    pub(super) fn revision_of_deployment(&self, deployment: &Deployment) -> Option<i64> {
        let set = match self {
            New::None => return None,
            New::There { wanted, .. } => wanted,
            New::Create(set) => set,
        };
        let wanted = number(&**set);
        (deployment.annotation(REVISION) != Some(wanted.to_string().as_str())).then_some(wanted)
    }
}

/// The set made from the template as it is now; the oldest, should there be several.
pub(super) fn matching<'a>(
    deployment: &Deployment,
    sets: &'a [Arc<ReplicaSet>],
) -> Option<&'a Arc<ReplicaSet>> {
    let wanted = comparable(&spec(deployment).template);
    let same = sets.iter().filter(|set| {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        template.is_some_and(|template| comparable(template) == wanted)
    });
    same.min_by(|a, b| by_age(a, b))
}

/// The template without the hash, and without the difference between empty and absent.
fn comparable(template: &PodTemplateSpec) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH);
    }
    let mut value = serde_json::to_value(template).unwrap_or_default();
    prune(&mut value);
    value
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            // An empty object can be a choice (`emptyDir: {}`), an empty list or text is none.
            fields.retain(|name, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::String(text) => !text.is_empty(),
                Value::Object(inner) => {
                    !(inner.is_empty() && matches!(name.as_str(), "annotations" | "metadata"))
                }
                Value::Bool(_) | Value::Number(_) => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn by_age(a: &ReplicaSet, b: &ReplicaSet) -> Ordering {
    let age = |set: &ReplicaSet| set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    age(a).cmp(&age(b)).then_with(|| a.metadata.name.cmp(&b.metadata.name))
}

/// The revision an object carries; 0 if none.
pub(super) fn number<K: kube::Resource>(object: &K) -> i64 {
    object.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The new set with the number, the annotations and the ready time it should have.
fn renumbered(deployment: &Deployment, set: &ReplicaSet, next: i64) -> ReplicaSet {
    let mut wanted = set.clone();
    copy_annotations(deployment, &mut wanted);
    let old = number(set);
    if old < next {
        let annotations = wanted.metadata.annotations.get_or_insert_default();
        annotations.insert(REVISION.to_owned(), next.to_string());
        if old > 0 {
            let history = annotations.entry(HISTORY.to_owned()).or_default();
            *history = joined(history, old);
        }
    }
    wanted.spec.get_or_insert_default().min_ready_seconds = spec(deployment).min_ready_seconds;
    wanted
}

/// The list of former numbers with one more; the oldest are dropped when it gets too long.
fn joined(history: &str, number: i64) -> String {
    let mut numbers: Vec<&str> = history.split(',').filter(|one| !one.is_empty()).collect();
    let number = number.to_string();
    numbers.push(&number);
    while numbers.len() > 1
        && numbers.iter().map(|one| one.len() + 1).sum::<usize>() > HISTORY_BYTES_MAX
    {
        numbers.remove(0);
    }
    numbers.join(",")
}

fn copy_annotations(deployment: &Deployment, set: &mut ReplicaSet) {
    let from = deployment.metadata.annotations.iter().flatten();
    let copied = from.filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()));
    for (name, value) in copied {
        let annotations = set.metadata.annotations.get_or_insert_default();
        annotations.insert(name.clone(), value.clone());
    }
}

fn make(deployment: &Deployment, revisions: &Revisions, next: i64) -> ReplicaSet {
    let wanted = spec(deployment);
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template_hash(&wanted.template, collisions.unwrap_or(0));

    let mut template = wanted.template.clone();
    let meta = template.metadata.get_or_insert_default();
    let labels = meta.labels.get_or_insert_default();
    labels.insert(HASH.to_owned(), hash.clone());
    let labels = labels.clone();

    let mut selector: LabelSelector = wanted.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH.to_owned(), hash.clone());

    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name_of(deployment))),
            namespace: Some(namespace_of(deployment).to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![owned::controller_ref(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: wanted.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    };
    copy_annotations(deployment, &mut set);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(REVISION.to_owned(), next.to_string());
    scaling::mark(&mut set, deployment);

    let size = if is_rolling(deployment) {
        scaling::room_for_new(deployment, revisions, 0)
    } else {
        replicas(deployment)
    };
    set.spec.get_or_insert_default().replicas = Some(size);
    set
}

/// A short name for a template.
fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    short_hash(&comparable(template).to_string(), collisions)
}

/// Deletions of the old sets beyond the history limit, lowest revision first.
pub(super) fn outdated(deployment: &Deployment, revisions: &Revisions) -> Vec<Change<ReplicaSet>> {
    let limit = spec(deployment).revision_history_limit.unwrap_or(HISTORY_LIMIT_DEFAULT);
    let mut old: Vec<_> = revisions.old.iter().filter(|set| !set.is_terminating()).collect();
    old.sort_by_key(|set| number(&***set));
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    let is_empty = |set: &ReplicaSet| {
        let status = set.status.clone().unwrap_or_default();
        status.replicas == 0
            && set_replicas(set) == 0
            && set.metadata.generation <= status.observed_generation
    };
    old.into_iter()
        .take(surplus)
        .filter(|set| is_empty(set))
        .map(|set| Change::delete(&**set))
        .collect()
}
