//! Which resources there are: the built-in table, behind the one lookup that more kinds will join.

use std::sync::Arc;

use minik_api::{KindTable, Resource};
use minik_meta::Status;

use crate::route::Target;

/// A resource, shared by the requests that are about it: it outlives its definition while they
/// last.
pub(crate) type Kind = Arc<Resource>;

/// All resources that are served.
pub(crate) struct Kinds {
    table: &'static KindTable,
}

impl Kinds {
    pub(crate) fn new() -> Kinds {
        Kinds { table: minik_api::kinds() }
    }

    /// The resource of a path, if it is served.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Kind> {
        self.table.by_resource(group, version, plural).cloned()
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

    /// All of them, in the order of discovery.
    pub(crate) fn table(&self) -> &'static KindTable {
        self.table
    }
}
