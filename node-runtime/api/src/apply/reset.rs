//! What a write through a subresource cannot change, and so cannot own.

use std::sync::Arc;

use super::element::PathElement;
use super::set::{FieldSet, Node};
use crate::kinds::kinds;
use crate::resource::Resource;

/// Matches any one element of a path.
const ANY: &str = "*";

/// The fields of a resize of a pod.
const RESIZE: &[&[&str]] = &[
    &["spec", "containers", ANY, "resources"],
    &["spec", "containers", ANY, "resizePolicy"],
    &["spec", "initContainers", ANY, "resources"],
    &["spec", "initContainers", ANY, "resizePolicy"],
    &["spec", "resources"],
];

/// The fields that count in a write.
#[derive(Clone, Debug)]
pub(super) enum Reset {
    /// All.
    Nothing,
    /// All but these and what is in them.
    Trees(FieldSet),
    /// Only these and what is in them.
    AllBut(&'static [&'static [&'static str]]),
}

impl Reset {
    /// The rule of a kind's subresource; empty is the object itself.
    pub(super) fn of(resource: &Resource, subresource: &str) -> Self {
        match subresource {
            "" if resource.has_status() => Self::trees(&[&["status"]]),
            "status" => Self::trees(status_reset(resource)),
            "finalize" => Self::trees(&[&["status"]]),
            "approval" => Self::trees(&[&["spec"], &["status", "certificate"]]),
            "ephemeralcontainers" => Self::AllBut(&[&["spec", "ephemeralContainers"]]),
            "resize" => Self::AllBut(RESIZE),
            _ => Self::Nothing,
        }
    }

    fn trees(paths: &[&[&str]]) -> Self {
        Self::Trees(FieldSet::of(paths))
    }

    /// The members of `set` that count.
    pub(super) fn filter(&self, set: &FieldSet) -> FieldSet {
        match self {
            Self::Nothing => set.clone(),
            Self::Trees(trees) => set.without_trees(trees),
            Self::AllBut(kept) => only(set, kept),
        }
    }
}

/// What a write of the status leaves alone.
fn status_reset(resource: &Resource) -> &'static [&'static [&'static str]] {
    let is_built_in = Arc::ptr_eq(resource.schema.schema(), kinds().schema());
    match (resource.group.as_ref(), resource.kind.as_ref()) {
        _ if !is_built_in => &[&["metadata"], &["spec"]],
        ("", "Pod") => {
            &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]
        }
        ("apps", "Deployment") => &[&["spec"], &["metadata", "labels"]],
        ("apiextensions.k8s.io", _) | ("storage.k8s.io", "VolumeAttachment") => {
            &[&["metadata"], &["spec"]]
        }
        _ => &[&["spec"]],
    }
}

/// The members of `set` on the way to one of `patterns`, or below.
fn only(set: &FieldSet, patterns: &[&[&str]]) -> FieldSet {
    let nodes = set.nodes().map(|(element, node)| {
        let below: Vec<&[&str]> = patterns
            .iter()
            .filter(|pattern| matches(pattern, element))
            .map(|pattern| &pattern[1..])
            .collect();
        let kept = if below.iter().any(|rest| rest.is_empty()) {
            node.clone()
        } else if below.is_empty() {
            Node::default()
        } else {
            Node { member: node.member, children: only(&node.children, &below) }
        };
        (element.clone(), kept)
    });
    FieldSet::collect(nodes.collect())
}

fn matches(pattern: &[&str], element: &PathElement) -> bool {
    match (pattern.first(), element) {
        (Some(&ANY), _) => true,
        (Some(wanted), PathElement::Field(name)) => **wanted == **name,
        _ => false,
    }
}
