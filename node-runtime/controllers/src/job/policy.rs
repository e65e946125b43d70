//! The user's rules: what a failed pod means, and when enough has succeeded.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use minik_reconcile::KeyOf;

use crate::job::{indexes, spec};

/// What a failed pod means for its Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It counts.
    Count,
    /// It does not count.
    Ignore,
    /// Its index has failed.
    FailIndex,
    /// The Job has failed.
    FailJob,
}

/// What the policy of the Job says about this failed pod, and why.
pub(super) fn action_for(job: &Job, pod: &Pod) -> (Action, String) {
    let rules = spec(job).pod_failure_policy.as_ref().map(|policy| policy.rules.as_slice());
    for (number, rule) in rules.unwrap_or_default().iter().enumerate() {
        let Some(why) = matches(rule, pod) else { continue };
        let action = match rule.action.as_str() {
            "Ignore" => Action::Ignore,
            "FailIndex" => Action::FailIndex,
            "FailJob" => Action::FailJob,
            _ => Action::Count,
        };
        return (action, format!("{why} matching {} rule at index {number}", rule.action));
    }
    (Action::Count, String::new())
}

fn matches(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    if let Some(codes) = &rule.on_exit_codes {
        let status = pod.status.as_ref()?;
        let main = status.container_statuses.iter().flatten();
        let all = main.chain(status.init_container_statuses.iter().flatten());
        return all.into_iter().find_map(|container| {
            let code = exit_code(container)?;
            let named = codes.container_name.as_deref().is_none_or(|name| name == container.name);
            let listed = codes.values.contains(&code);
            let fits = match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => code != 0 && !listed,
                _ => false,
            };
            (named && fits).then(|| {
                let name = &container.name;
                format!("Container {name} for pod {} failed with exit code {code}", pod.key())
            })
        });
    }
    let status = pod.status.as_ref()?;
    let patterns = rule.on_pod_conditions.iter().flatten();
    patterns.into_iter().find_map(|pattern| {
        let wanted = pattern.status.as_deref().unwrap_or("True");
        let conditions = status.conditions.iter().flatten();
        let found = conditions
            .into_iter()
            .find(|one| one.type_ == pattern.type_ && one.status == wanted)?;
        Some(format!("Pod {} has condition {}", pod.key(), found.type_))
    })
}

fn exit_code(container: &ContainerStatus) -> Option<i32> {
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}

/// Whether the completed indexes are enough by the success policy, and by which rule.
pub(super) fn is_success(job: &Job, completed: &BTreeSet<i32>) -> Option<String> {
    let rules = &spec(job).success_policy.as_ref()?.rules;
    let met = rules.iter().position(|rule| {
        let wanted = rule.succeeded_indexes.as_deref().map(indexes::parse);
        let counted = match &wanted {
            Some(wanted) => completed.intersection(wanted).count(),
            None => completed.len(),
        };
        let needed = match (rule.succeeded_count, &wanted) {
            (Some(count), _) => usize::try_from(count).unwrap_or(usize::MAX),
            (None, Some(wanted)) => wanted.len(),
            (None, None) => usize::MAX,
        };
        counted >= needed
    })?;
    Some(format!("Matched rules at index {met}"))
}
