//! Ownership of replicas, between an object and its `scale`.

use serde_json::Value;

use super::element::PathElement;
use super::managers::{Managed, ManagerId, Operation, Owned};
use super::set::FieldSet;
use super::written;
use crate::resource::Resource;

const SCALE_VERSION: &str = "autoscaling/v1";
const SCALE_REPLICAS: &[&[&str]] = &[&["spec", "replicas"]];

/// Gives a `Scale` made of `parent` the managers that own the parent's replicas.
pub fn lend(resource: &Resource, parent: &Value, scale: &mut Value) {
    let path = replicas_path(resource);
    let mut managed = Managed::default();
    for (id, owned) in written(parent).0 {
        if owned.set.has(&path) {
            let owned = Owned {
                set: FieldSet::of(SCALE_REPLICAS),
                version: SCALE_VERSION.to_owned(),
                time: owned.time,
            };
            managed.0.insert(in_version(id, SCALE_VERSION), owned);
        }
    }
    managed.write(scale);
}

/// Gives `parent`, whose replicas were written through `scale`, the managers that own them now.
pub fn take_back(resource: &Resource, parent: &mut Value, scale: &Value) {
    let path = replicas_path(resource);
    let mut own = FieldSet::default();
    own.insert(&path);
    let mut owners: Managed = written(scale);
    let mut managed = written(parent);
    for (id, owned) in &mut managed.0 {
        if !owned.set.has(&path) {
            continue;
        }
        match owners.0.remove(&in_version(id.clone(), SCALE_VERSION)) {
            Some(scaled) => owned.time = scaled.time,
            None => owned.set = owned.set.difference(&own),
        }
    }
    managed.0.retain(|_, owned| !owned.set.is_empty());
    let replicas = [PathElement::field("spec"), PathElement::field("replicas")];
    let version = resource.api_version();
    for (id, scaled) in owners.0.into_iter().filter(|(_, scaled)| scaled.set.has(&replicas)) {
        let entry = managed.0.entry(in_version(id, &version)).or_insert_with(|| Owned {
            set: FieldSet::default(),
            version: version.clone(),
            time: None,
        });
        entry.set = entry.set.union(&own);
        entry.time = scaled.time;
    }
    managed.write(parent);
}

/// The same manager in another version: those who apply are the same in all.
fn in_version(id: ManagerId, version: &str) -> ManagerId {
    match id.operation {
        Operation::Apply => id,
        Operation::Update => ManagerId { api_version: version.to_owned(), ..id },
    }
}

fn replicas_path(resource: &Resource) -> Vec<PathElement> {
    let path = resource.scale.as_ref().map_or("", |paths| paths.spec_replicas.as_ref());
    path.split('.').filter(|step| !step.is_empty()).map(PathElement::field).collect()
}
