//! A resource: everything the server knows about one kind in one version.

use std::sync::Arc;

use minik_meta::{GroupKind, GroupResource, GroupVersionKind, gvk};

use crate::custom::{Custom, JsonPath};
use crate::schema::{SchemaRef, Text};

/// One kind in one served version. Built-in ones live as long as the process
/// ([`crate::kinds`]); custom ones are made from their definition and dropped with it.
#[derive(Debug)]
pub struct Resource {
    /// API group, empty for the core group.
    pub group: Text,
    /// Version.
    pub version: Text,
    /// Kind in CamelCase.
    pub kind: Text,
    /// Kind of its lists.
    pub list_kind: Text,
    /// Plural lower-case name, as in paths.
    pub plural: Text,
    /// Singular lower-case name.
    pub singular: Text,
    /// Short names for the command line.
    pub short_names: Vec<Text>,
    /// Categories: `all`.
    pub categories: Vec<Text>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs of the main resource, sorted.
    pub verbs: Vec<Text>,
    /// Its subresources, sorted by name.
    pub subresources: Vec<Subresource>,
    /// Shape of its objects.
    pub schema: SchemaRef,
    /// Columns of its tables.
    pub columns: Vec<Column>,
    /// Fields that field selectors may name, besides `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Vec<Text>,
    /// Where its objects are kept; several versions (or groups) may share one place.
    pub storage: Storage,
    /// What names must look like.
    pub name_rule: NameRule,
    /// Whether `metadata.generation` counts changes of the spec.
    pub has_generation: bool,
    /// Paths behind the `scale` subresource.
    pub scale: Option<ScalePaths>,
    /// What it has as a custom resource; none for built-in kinds.
    pub custom: Option<Arc<Custom>>,
}

/// A subresource: what is under `/NAME` of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Its name in the path.
    pub name: Text,
    /// Group of the kind in its bodies.
    pub group: Text,
    /// Version of the kind in its bodies.
    pub version: Text,
    /// The kind in its bodies.
    pub kind: Text,
    /// Verbs, sorted.
    pub verbs: Vec<Text>,
}

/// The version and resource that objects are stored as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Storage {
    /// API group, empty for the core group.
    pub group: Text,
    /// Version that the stored bytes are in.
    pub version: Text,
    /// Plural of the stored resource.
    pub plural: Text,
}

/// What the names of a kind's objects must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// DNS subdomain (RFC 1123): most kinds.
    Subdomain,
    /// DNS label (RFC 1123): namespaces.
    Label,
    /// DNS label that starts with a letter (RFC 1035): services.
    Label1035,
    /// One path segment: RBAC.
    PathSegment,
    /// An IP address in its canonical form.
    Address,
}

/// Where `scale` reads and writes; paths like `.spec.replicas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Wanted replicas.
    pub spec_replicas: Text,
    /// Replicas there are.
    pub status_replicas: Text,
    /// Selector of the pods: an object or a string; empty where there is none.
    pub selector: Text,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Header, in words: kubectl prints it in capitals.
    pub name: Text,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: Text,
    /// `name` for the column that is the object's name, else empty.
    pub format: Text,
    /// For people.
    pub description: Text,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
    /// How its cells are made.
    pub cell: Cell,
}

/// How a cell is made from an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// What is at a path like `.spec.nodeName`, else the second text.
    Path(Text, Text),
    /// By the function of this name, see `table/cells`.
    Named(Text),
    /// What a path of a custom resource's definition leads to.
    Query(JsonPath),
}

impl Resource {
    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        gvk::api_version(&self.group, &self.version)
    }

    /// Full name of the kind.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(self.group.clone(), self.version.clone(), self.kind.clone())
    }

    /// Group and kind, as validation errors name it.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group.clone(), self.kind.clone())
    }

    /// Group and plural, as most errors name it.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group.clone(), self.plural.clone())
    }

    /// What OpenAPI calls the kind: `io.k8s.api.core.v1.Pod`, `com.example.v1.Widget`.
    pub fn definition(&self) -> Text {
        if self.custom.is_none() {
            return self.schema.root().name.clone();
        }
        Text::Owned(definition_name(&self.group, &self.version, &self.kind))
    }

    /// The verbs that discovery tells of: nothing is made of a kind whose definition is going.
    pub fn listed_verbs(&self) -> Vec<&str> {
        let going = self.custom.as_ref().is_some_and(|custom| custom.terminating);
        let verbs = self.verbs.iter().map(AsRef::as_ref);
        verbs.filter(|verb| !going || !matches!(*verb, "create" | "patch" | "update")).collect()
    }

    /// Whether the main resource has the verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|one| one == verb)
    }

    /// The subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|one| one.name == name)
    }

    /// Whether spec and status are written apart.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Whether this is the version that objects are stored as.
    pub fn is_storage_version(&self) -> bool {
        self.storage.group == self.group && self.storage.version == self.version
    }

    /// Whether it is `kind` of `group`, in any version.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

/// What OpenAPI calls a custom kind: `com.example.v1.Widget`.
pub(crate) fn definition_name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').rev().collect();
    parts.extend([version, kind]);
    parts.join(".")
}
