//! Which resources there are: the built-in table and the custom ones, behind one lookup.

use std::sync::Arc;

use crate::vault::Store;
use minik_api::kinds::Group;
use minik_api::{KindTable, Resource};
use minik_meta::{GroupVersionKind, Status};
use minik_store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::definitions::Definitions;
use crate::live::Live;
use crate::route::Target;

/// A resource, shared by the requests that are about it: it outlives its definition while they
/// last.
pub(crate) type Kind = Arc<Resource>;

/// All resources that are served. Custom ones are those of the definitions in the store, as of
/// the moment of the question.
pub(crate) struct Kinds {
    table: &'static KindTable,
    custom: Live<Definitions>,
}

impl Kinds {
    pub(crate) fn new(store: &Store) -> Result<Kinds, StoreError> {
        Ok(Kinds { table: minik_api::kinds(), custom: Live::new(store)? })
    }

    /// The resource of a path, if it is served.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Kind> {
        let built_in = self.table.by_resource(group, version, plural).cloned();
        built_in.or_else(|| self.custom.now().find(group, version, plural))
    }

    /// The resource of a request, or 404. A path that leaves out the namespace of a namespaced
    /// resource means all of them, which only lists and watches can.
    pub(crate) fn of(&self, target: &Target) -> Result<Kind, Status> {
        let kind = self
            .find(&target.group, &target.version, &target.resource)
            .ok_or_else(Status::not_found_path)?;
        let in_namespace = !target.namespace.is_empty();
        let misplaced = in_namespace && !kind.namespaced;
        let homeless = kind.namespaced && !in_namespace && !target.name.is_empty();
        let sub = target.subresource.as_str();
        if misplaced || homeless || !(sub.is_empty() || kind.subresource(sub).is_some()) {
            return Err(Status::not_found_path());
        }
        Ok(kind)
    }

    /// The kind of a body that is no stored object: `Eviction`, `Scale`, `DeleteOptions`.
    pub(crate) fn body(&self, group: &str, version: &str, kind: &str) -> Option<Kind> {
        let body = self.table.body(group, version, kind);
        body.or_else(|| self.table.by_kind(group, version, kind)).cloned()
    }

    /// The resource whose objects are of this kind.
    pub(crate) fn by_kind(&self, kind: &GroupVersionKind) -> Option<Kind> {
        let built_in = self.table.by_kind(&kind.group, &kind.version, &kind.kind).cloned();
        built_in.or_else(|| self.customs().into_iter().find(|one| one.gvk() == *kind))
    }

    /// Cancelled when `kind` is gone or has another shape: what follows its objects ends then.
    pub(crate) fn retirement(&self, kind: &Resource) -> CancellationToken {
        match kind.custom {
            None => CancellationToken::new(),
            Some(_) => self.custom.now().retirement(&kind.group, &kind.version, &kind.plural),
        }
    }

    /// Takes in changed definitions, so that what follows the old ones ends.
    pub(crate) fn refresh(&self) {
        drop(self.custom.now());
    }

    /// All custom resources, by group, version and name.
    pub(crate) fn customs(&self) -> Vec<Kind> {
        self.custom.now().all()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Kind> {
        self.table.all().iter().cloned().chain(self.customs()).collect()
    }

    /// Those of one version.
    pub(crate) fn in_version(&self, group: &str, version: &str) -> Vec<Kind> {
        let built_in = self.table.in_version(group, version).cloned();
        let mut found: Vec<Kind> = built_in.collect();
        let customs = self.custom.now().all();
        found
            .extend(customs.into_iter().filter(|one| one.group == group && one.version == version));
        found
    }

    /// API groups in the order of discovery: the core group, built-in groups, custom ones.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let mut groups = self.table.groups().to_vec();
        for custom in self.custom.now().groups() {
            match groups.iter_mut().find(|one| one.name == custom.name) {
                Some(known) => {
                    for version in custom.versions {
                        if !known.versions.contains(&version) {
                            known.versions.push(version);
                        }
                    }
                }
                None => groups.push(custom),
            }
        }
        groups
    }
}
