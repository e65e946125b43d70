//! What a namespace that is being deleted says about what keeps it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::discovery::ApiResource;
use minik_client::said;

/// What is left of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) objects: usize,
    /// How many of them wait for which finalizer.
    pub(super) finalizers: BTreeMap<String, usize>,
}

/// What one look at a namespace found.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// Discovery failed with this.
    discovery: Option<String>,
    failures: Vec<String>,
    left: BTreeMap<String, usize>,
    finalizers: BTreeMap<String, usize>,
}

impl Findings {
    /// It is not even known what to look for.
    pub(super) fn undiscovered(error: &kube::Error) -> Findings {
        Findings { discovery: Some(said(error)), ..Findings::default() }
    }

    pub(super) fn add(&mut self, resource: &ApiResource, left: Left) {
        if left.objects > 0 {
            let name = match resource.group.as_str() {
                "" => format!("{}.", resource.plural),
                group => format!("{}.{group}", resource.plural),
            };
            *self.left.entry(name).or_insert(0) += left.objects;
        }
        for (name, count) in left.finalizers {
            *self.finalizers.entry(name).or_insert(0) += count;
        }
    }

    pub(super) fn failed(&mut self, resource: &ApiResource, error: &kube::Error) {
        self.failures.push(format!("{}: {}", resource.plural, said(error)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.discovery.is_none() && self.failures.is_empty() && self.left.is_empty()
    }

    /// What went wrong, if something did: then it is tried again.
    pub(super) fn failure(&self) -> Option<String> {
        let failures = self.discovery.iter().chain(&self.failures);
        let text = failures.cloned().collect::<Vec<_>>().join("; ");
        (!text.is_empty()).then_some(text)
    }
}

/// The status of a namespace after this look.
pub(super) fn of(namespace: &Namespace, findings: &Findings, now: Timestamp) -> NamespaceStatus {
    let old = namespace.status.clone().unwrap_or_default().conditions.unwrap_or_default();
    let rows = [
        row(
            "NamespaceDeletionDiscoveryFailure",
            findings.discovery.as_ref().map(|error| {
                ("DiscoveryFailed", format!("Discovery failed for some groups, 1 failing: {error}"))
            }),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        row(
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        row(
            "NamespaceDeletionContentFailure",
            (!findings.failures.is_empty()).then(|| {
                let text = findings.failures.join(", ");
                ("ContentDeletionFailed", format!("Failed to delete all resource types: {text}"))
            }),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        row(
            "NamespaceContentRemaining",
            (!findings.left.is_empty()).then(|| {
                let each = findings
                    .left
                    .iter()
                    .map(|(name, count)| format!("{name} has {count} resource instances"));
                let text = each.collect::<Vec<_>>().join(", ");
                ("SomeResourcesRemain", format!("Some resources are remaining: {text}"))
            }),
            ("ContentRemoved", "All content successfully removed"),
        ),
        row(
            "NamespaceFinalizersRemaining",
            (!findings.finalizers.is_empty()).then(|| {
                let each = findings
                    .finalizers
                    .iter()
                    .map(|(name, count)| format!("{name} in {count} resource instances"));
                let text = each.collect::<Vec<_>>().join(", ");
                (
                    "SomeFinalizersRemain",
                    format!("Some content in the namespace has finalizers remaining: {text}"),
                )
            }),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ];
    let conditions = rows.into_iter().map(|row| row.condition(&old, now)).collect();
    NamespaceStatus { phase: Some("Terminating".to_owned()), conditions: Some(conditions) }
}

struct Row {
    kind: &'static str,
    trouble: bool,
    reason: &'static str,
    message: String,
}

fn row(
    kind: &'static str,
    trouble: Option<(&'static str, String)>,
    fine: (&'static str, &'static str),
) -> Row {
    match trouble {
        Some((reason, message)) => Row { kind, trouble: true, reason, message },
        None => Row { kind, trouble: false, reason: fine.0, message: fine.1.to_owned() },
    }
}

impl Row {
    fn condition(self, old: &[NamespaceCondition], now: Timestamp) -> NamespaceCondition {
        let status = if self.trouble { "True" } else { "False" };
        let before = old.iter().find(|one| one.type_ == self.kind && one.status == status);
        let since = before.and_then(|before| before.last_transition_time.clone());
        NamespaceCondition {
            type_: self.kind.to_owned(),
            status: status.to_owned(),
            reason: Some(self.reason.to_owned()),
            message: Some(self.message),
            last_transition_time: since.or(Some(Time(now))),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_is_left_is_told() {
        let resource = |group: &str, plural: &str| ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            api_version: String::new(),
            kind: String::new(),
            plural: plural.to_owned(),
        };
        let mut findings = Findings::default();
        findings.add(&resource("", "pods"), Left { objects: 2, ..Left::default() });
        let finalizers = [("example.com/hold".to_owned(), 1)].into();
        findings.add(&resource("apps", "deployments"), Left { objects: 1, finalizers });
        let status = of(&Namespace::default(), &findings, Timestamp::UNIX_EPOCH);
        let lines: Vec<String> = status
            .conditions
            .iter()
            .flatten()
            .map(|one| {
                format!("{}={} {}", one.type_, one.status, one.message.as_deref().unwrap_or(""))
            })
            .collect();
        expect![[r#"
            NamespaceDeletionDiscoveryFailure=False All resources successfully discovered
            NamespaceDeletionGroupVersionParsingFailure=False All legacy kube types successfully parsed
            NamespaceDeletionContentFailure=False All content successfully deleted, may be waiting on finalization
            NamespaceContentRemaining=True Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances
            NamespaceFinalizersRemaining=True Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances
        "#]].assert_eq(&(lines.join("\n") + "\n"));
    }
}
