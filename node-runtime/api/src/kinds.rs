//! The table of built-in kinds, read from two compiled-in texts when first asked for.

mod parse;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::resource::Resource;
use crate::schema::{Schema, Text};

/// Kubernetes version of the table.
pub const VERSION: &str = "v1.36.0";

/// Every kind the server has from the start.
#[derive(Debug)]
pub struct KindTable {
    schema: Arc<Schema>,
    groups: Vec<Group>,
    resources: Vec<Arc<Resource>>,
    bodies: Vec<Arc<Resource>>,
    by_plural: HashMap<(Text, Text, Text), usize>,
    by_kind: HashMap<(Text, Text, Text), usize>,
}

/// An API group with its versions, preferred first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name, empty for the core group.
    pub name: Text,
    /// Versions, preferred first.
    pub versions: Vec<Text>,
}

/// The built-in kinds.
pub fn kinds() -> &'static KindTable {
    static TABLE: OnceLock<KindTable> = OnceLock::new();
    TABLE.get_or_init(|| {
        parse::table(
            include_str!("../table/types-v1.36.txt"),
            include_str!("../table/kinds-v1.36.txt"),
        )
    })
}

impl KindTable {
    fn new(
        schema: Arc<Schema>,
        groups: Vec<Group>,
        resources: Vec<Resource>,
        bodies: Vec<Resource>,
    ) -> Self {
        let shared = |all: Vec<Resource>| all.into_iter().map(Arc::new).collect::<Vec<_>>();
        let (resources, bodies) = (shared(resources), shared(bodies));
        let index = |name: fn(&Resource) -> &Text| {
            let key = |one: &Resource| (one.group.clone(), one.version.clone(), name(one).clone());
            resources.iter().enumerate().map(|(at, one)| (key(one), at)).collect()
        };
        let by_plural = index(|one| &one.plural);
        let by_kind = index(|one| &one.kind);
        Self { schema, groups, resources, bodies, by_plural, by_kind }
    }

    /// All resources, grouped by group and version in the order of discovery.
    pub fn all(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// API groups in the order of discovery, the core group first.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The types of all of them.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Resources of one group and version.
    pub fn in_version<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.resources.iter().filter(move |one| one.group == group && one.version == version)
    }

    /// The resource of a path: group, version, plural.
    pub fn by_resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        find(&self.by_plural, &self.resources, group, version, plural)
    }

    /// The resource of a kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        find(&self.by_kind, &self.resources, group, version, kind)
    }

    /// A kind that only is the body of a subresource or option: `Eviction`, `Scale`,
    /// `TokenRequest`, `DeleteOptions` (core `v1`).
    pub fn body(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.bodies
            .iter()
            .find(|one| one.kind == kind && one.group == group && one.version == version)
    }
}

fn find<'a>(
    index: &HashMap<(Text, Text, Text), usize>,
    resources: &'a [Arc<Resource>],
    group: &str,
    version: &str,
    name: &str,
) -> Option<&'a Arc<Resource>> {
    // Borrowed for the look-up only; the map's keys are the owned ones.
    let key = (Text::Owned(group.into()), Text::Owned(version.into()), Text::Owned(name.into()));
    index.get(&key).map(|at| &resources[*at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{FieldType, ListKind, Presence};

    #[test]
    fn a_field_carries_all_its_facts() {
        let schema = kinds().schema();
        let container = schema.get(schema.find("io.k8s.api.core.v1.Container").unwrap());
        let ports = container.field("ports").unwrap();
        assert_eq!(ports.proto, [6, 0, 0]);
        assert_eq!(ports.merge_key(), Some("containerPort"));
        assert!(ports.merges());
        assert_eq!(
            ports.list_kind(),
            Some(&ListKind::Map(vec!["containerPort".into(), "protocol".into()]))
        );
        let FieldType::List(item) = &ports.kind else { panic!("ports is a list") };
        let FieldType::Object(port) = **item else { panic!("of objects") };
        let protocol = schema.get(port).field("protocol").unwrap();
        assert_eq!(protocol.default_value().unwrap(), "TCP");
        assert_eq!(protocol.allowed(), ["SCTP", "TCP", "UDP"]);
        assert_eq!(container.field("resources").unwrap().presence, Presence::Struct);
        assert!(container.field("name").unwrap().required);
        let volume = schema.get(schema.find("io.k8s.api.core.v1.Volume").unwrap());
        assert_eq!(volume.field("configMap").unwrap().proto, [2, 19, 0], "in volumeSource");
        let rule = schema.find("io.k8s.api.admissionregistration.v1.NamedRuleWithOperations");
        let rule = schema.get(rule.unwrap());
        assert_eq!(rule.field("scope").unwrap().proto, [2, 2, 4], "embedded twice");
    }

    #[test]
    fn resources_are_found_by_path_and_kind() {
        let deployments = kinds().by_resource("apps", "v1", "deployments").unwrap();
        assert_eq!(deployments.kind, "Deployment");
        assert_eq!(deployments.short_names, ["deploy"]);
        assert!(deployments.has_status() && deployments.scale.is_some());
        assert!(kinds().by_resource("apps", "v1", "pods").is_none());
        let events = kinds().by_kind("events.k8s.io", "v1", "Event").unwrap();
        assert_eq!(events.storage.group, "");
        assert_eq!(events.storage.plural, "events");
        assert!(kinds().body("policy", "v1", "Eviction").is_some());
        assert!(kinds().body("", "v1", "DeleteOptions").is_some());
    }

    #[test]
    fn every_subresource_body_has_a_kind() {
        let connect = ["Options"];
        for resource in kinds().all() {
            for sub in &resource.subresources {
                let known = kinds().by_kind(&sub.group, &sub.version, &sub.kind).is_some()
                    || kinds().body(&sub.group, &sub.version, &sub.kind).is_some()
                    || connect.iter().any(|suffix| sub.kind.ends_with(suffix));
                assert!(known, "{}/{}: no kind {}", resource.plural, sub.name, sub.kind);
            }
        }
    }

    #[test]
    fn the_core_group_comes_first_and_preferred_versions_first() {
        let groups = kinds().groups();
        assert_eq!(groups[0].name, "");
        let autoscaling = groups.iter().find(|one| one.name == "autoscaling").unwrap();
        assert_eq!(autoscaling.versions, ["v2", "v1"]);
    }
}
