//! The resources that a definition makes: one for each served version.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use minik_meta::object;
use serde_json::Value;

use super::{Custom, columns, lower};
use crate::resource::{NameRule, Resource, ScalePaths, Storage, Subresource, definition_name};
use crate::schema::{SchemaRef, Text};

const VERBS: &[&str] =
    &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const SUBRESOURCE_VERBS: &[&str] = &["get", "patch", "update"];

/// Whether objects of a definition are served.
pub fn established(definition: &Value) -> bool {
    condition(definition, "Established") == Some("True")
}

/// The status of a condition of a definition.
pub(super) fn condition<'a>(definition: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = object::list(definition, &["status", "conditions"]);
    let found = conditions.iter().find(|one| object::text(one, &["type"]) == kind)?;
    Some(object::text(found, &["status"]))
}

/// The resources of the served versions, under the names that were accepted. `source` are the
/// bytes of `definition`, which are kept; see [`Custom::since`].
pub fn resources(definition: &Value, source: &Bytes, since: u64) -> Vec<Resource> {
    let versions = object::list(definition, &["spec", "versions"]);
    let served = versions.iter().enumerate().filter(|(_, one)| object::boolean(one, &["served"]));
    served.map(|(index, one)| resource(definition, source, since, index, one)).collect()
}

fn resource(
    definition: &Value,
    source: &Bytes,
    since: u64,
    index: usize,
    version: &Value,
) -> Resource {
    let name = |key: &str| own(object::text(definition, &["status", "acceptedNames", key]));
    let names = |key: &str| -> Vec<Text> {
        let list = object::list(definition, &["status", "acceptedNames", key]);
        list.iter().filter_map(Value::as_str).map(own).collect()
    };
    let group = own(object::text(definition, &["spec", "group"]));
    let plural = own(object::text(definition, &["spec", "names", "plural"]));
    let version_name = own(object::text(version, &["name"]));
    let kind = name("kind");
    let custom = Arc::new(Custom {
        source: source.clone(),
        version: index,
        shape: OnceLock::new(),
        rules: OnceLock::new(),
        deprecation: deprecation(version, &group, &kind),
        terminating: condition(definition, "Terminating") == Some("True"),
        webhook: object::text(definition, &["spec", "conversion", "strategy"]) == "Webhook",
        since,
    });
    let lowered = Arc::clone(&custom);
    let name_in_documents = definition_name(&group, &version_name, &kind);
    Resource {
        schema: SchemaRef::later(move || lower::lower(&name_in_documents, lowered.shape())),
        columns: columns::columns(version),
        selectable_fields: selectable_fields(version),
        storage: Storage {
            group: group.clone(),
            version: own(storage_version(definition)),
            plural: plural.clone(),
        },
        name_rule: NameRule::Subdomain,
        has_generation: true,
        scale: scale(version),
        namespaced: object::text(definition, &["spec", "scope"]) == "Namespaced",
        verbs: VERBS.iter().map(|verb| Text::from(*verb)).collect(),
        subresources: subresources(version, &group, &version_name, &kind),
        list_kind: name("listKind"),
        singular: name("singular"),
        short_names: names("shortNames"),
        categories: names("categories"),
        custom: Some(custom),
        group,
        version: version_name,
        kind,
        plural,
    }
}

fn own(text: &str) -> Text {
    Text::Owned(text.to_owned())
}

/// The version that objects are stored as.
pub(super) fn storage_version(definition: &Value) -> &str {
    let versions = object::list(definition, &["spec", "versions"]);
    let stored = versions.iter().find(|one| object::boolean(one, &["storage"]));
    stored.map_or("", |one| object::text(one, &["name"]))
}

fn deprecation(version: &Value, group: &str, kind: &str) -> Option<Box<str>> {
    if !object::boolean(version, &["deprecated"]) {
        return None;
    }
    let own = object::text(version, &["deprecationWarning"]);
    Some(match own {
        "" => {
            let version = object::text(version, &["name"]);
            format!("{group}/{version} {kind} is deprecated").into()
        }
        own => own.into(),
    })
}

fn selectable_fields(version: &Value) -> Vec<Text> {
    let fields = object::list(version, &["selectableFields"]);
    let path = |field: &Value| own(object::text(field, &["jsonPath"]).trim_start_matches('.'));
    fields.iter().map(path).collect()
}

fn scale(version: &Value) -> Option<ScalePaths> {
    let scale = object::at(version, &["subresources", "scale"])?;
    let path = |key: &str| own(object::text(scale, &[key]));
    Some(ScalePaths {
        spec_replicas: path("specReplicasPath"),
        status_replicas: path("statusReplicasPath"),
        selector: path("labelSelectorPath"),
    })
}

fn subresources(version: &Value, group: &Text, name: &Text, kind: &Text) -> Vec<Subresource> {
    let verbs = || SUBRESOURCE_VERBS.iter().map(|verb| Text::from(*verb)).collect();
    let has = |sub: &str| object::at(version, &["subresources", sub]).is_some();
    let mut all = Vec::new();
    if has("scale") {
        all.push(Subresource {
            name: "scale".into(),
            group: "autoscaling".into(),
            version: "v1".into(),
            kind: "Scale".into(),
            verbs: verbs(),
        });
    }
    if has("status") {
        all.push(Subresource {
            name: "status".into(),
            group: group.clone(),
            version: name.clone(),
            kind: kind.clone(),
            verbs: verbs(),
        });
    }
    all
}
