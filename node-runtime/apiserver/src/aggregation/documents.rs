//! What other API servers say they serve: merged into our discovery and OpenAPI.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use minik_api::aggregation::{CUSTOM_PRIORITY, merge_openapi_v2, put_resources};
use minik_api::kinds::Group;
use minik_api::openapi;
use serde_json::Value;

use super::Aggregation;
use super::registry::Remote;
use crate::core::Core;
use crate::definitions;

/// What was learned, by the names of API services.
pub(super) type Documents = BTreeMap<String, Arc<Learned>>;

/// What a server said of one version.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// As aggregated discovery lists them.
    pub(super) resources: Vec<Value>,
    /// The tag of its OpenAPI v3 document; empty where it has none.
    pub(super) openapi_v3: String,
    /// Its OpenAPI v2 document with its tag.
    pub(super) openapi_v2: Option<(String, Arc<Value>)>,
}

impl Aggregation {
    pub(super) fn learned(&self, name: &str) -> Option<Arc<Learned>> {
        self.documents.lock().expect("no holder panics").get(name).cloned()
    }

    pub(super) fn learn(&self, name: &str, learned: Learned) {
        let mut documents = self.documents.lock().expect("no holder panics");
        documents.insert(name.to_owned(), Arc::new(learned));
    }

    /// Forgets what servers said that are not registered any more.
    pub(super) fn forget_others(&self, remotes: &[Arc<Remote>]) {
        let mut documents = self.documents.lock().expect("no holder panics");
        documents.retain(|name, _| remotes.iter().any(|remote| remote.name == *name));
    }
}

/// API groups in the order of discovery, those of other servers included.
pub(crate) fn groups(core: &Core) -> Vec<Group> {
    let mut groups = core.kinds.groups();
    let remotes = core.aggregation.remotes();
    if remotes.is_empty() {
        return groups;
    }
    let built_in = minik_api::kinds().groups().len();
    let customs = groups.split_off(built_in.min(groups.len()));
    let mut others: Vec<(i64, Group)> =
        customs.into_iter().map(|group| (CUSTOM_PRIORITY.0, group)).collect();
    for remote in &remotes {
        if let Some(known) = groups.iter_mut().find(|one| one.name == remote.group) {
            add_version(known, remote);
            continue;
        }
        match others.iter_mut().find(|(_, one)| one.name == remote.group) {
            Some((priority, known)) => {
                add_version(known, remote);
                *priority = remote.group_priority.max(*priority);
            }
            None => {
                let (name, versions) = (remote.group.clone(), vec![remote.version.clone().into()]);
                others.push((remote.group_priority, Group { name: name.into(), versions }));
            }
        }
    }
    let priority_of = |group: &str, version: &str| {
        let found = remotes.iter().find(|one| one.group == group && one.version == version);
        found.map_or(CUSTOM_PRIORITY.1, |one| one.version_priority)
    };
    for (_, group) in &mut others {
        let name = group.name.clone();
        group.versions.sort_by_key(|version| {
            Reverse((priority_of(&name, version), definitions::priority(version)))
        });
    }
    others.sort_by(|a, b| (Reverse(a.0), &a.1.name).cmp(&(Reverse(b.0), &b.1.name)));
    groups.extend(others.into_iter().map(|(_, group)| group));
    groups
}

fn add_version(group: &mut Group, remote: &Remote) {
    if !group.versions.iter().any(|one| *one == remote.version) {
        group.versions.push(remote.version.clone().into());
    }
}

/// Puts what other servers serve into an aggregated discovery document. What a server said last
/// stays there while it does not answer, marked as stale.
pub(crate) fn complete(core: &Core, list: &mut Value) {
    for remote in core.aggregation.remotes() {
        let learned = core.aggregation.learned(&remote.name);
        let resources = learned.as_ref().map_or(&[][..], |learned| &learned.resources);
        let stale = learned.is_none() || !remote.is_available;
        put_resources(list, (&remote.group, &remote.version), resources, stale);
    }
}

/// Paths and tags of other servers' OpenAPI v3 documents.
pub(crate) fn openapi_v3(core: &Core) -> BTreeMap<String, String> {
    let remotes = core.aggregation.remotes();
    let each = remotes.iter().filter_map(|remote| {
        let learned = core.aggregation.learned(&remote.name)?;
        let path = openapi::v3_path(&remote.group, &remote.version);
        Some((path, learned.openapi_v3.clone()))
    });
    each.collect()
}

/// Other servers' OpenAPI v2 documents.
pub(crate) struct OpenApiV2(Vec<(String, String, String, Arc<Value>)>);

impl OpenApiV2 {
    pub(crate) fn of(core: &Core) -> OpenApiV2 {
        let remotes = core.aggregation.remotes();
        let each = remotes.iter().filter_map(|remote| {
            let learned = core.aggregation.learned(&remote.name)?;
            let (tag, document) = learned.openapi_v2.clone()?;
            Some((remote.group.clone(), remote.version.clone(), tag, document))
        });
        OpenApiV2(each.collect())
    }

    /// Changes when one of them does; empty if there are none.
    pub(crate) fn tag(&self) -> String {
        self.0.iter().map(|(group, version, tag, _)| format!("{group}/{version} {tag}\n")).collect()
    }

    pub(crate) fn merge_into(&self, document: &mut Value) {
        for (group, version, _, other) in &self.0 {
            merge_openapi_v2(document, other, (group, version));
        }
    }
}
