//! Namespaces say how much their pods may do; here pods are held to it.

use std::collections::BTreeMap;

use minik_api::pod_security::{Level, Mode, Policy, describe, pod_of, violations, wrong_labels};
use minik_meta::{FieldError, Path, Status, object};
use minik_store::ListOptions;
use serde_json::Value;

use crate::call::Call;
use crate::objects;

/// How many existing pods are looked at when a namespace becomes stricter.
const PODS_MAX: usize = 3000;

/// What the audit log is told: the level a pod was held to.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce-policy";
/// What the audit log is told: how something goes against the level that is audited.
const VIOLATIONS: &str = "pod-security.kubernetes.io/audit-violations";

/// Refuses, notes or warns of what makes pods that the namespace does not want.
pub(super) fn check(call: &Call, object: &Value) -> Result<(), Status> {
    let kind = call.kind.as_ref();
    let Some((metadata, spec)) = pod_of(&kind.group, &kind.kind, object) else { return Ok(()) };
    let found = call.core.read_core_object("namespaces", "", &call.target.namespace);
    let Some(namespace) = found else { return Ok(()) };
    let [enforce, audit, warn] =
        [Mode::Enforce, Mode::Audit, Mode::Warn].map(|mode| Policy::of(&namespace, mode));
    let is_pod = kind.is("", "Pod");
    if is_pod {
        let free = [&enforce, &audit, &warn].iter().all(|one| one.level == Level::Privileged);
        let policy = if free { "privileged:latest".to_owned() } else { enforce.to_string() };
        call.trail.annotate(ENFORCED.to_owned(), policy);
    }
    let found = violations(audit.level, metadata, spec);
    if !found.is_empty() {
        let noted = format!("would violate PodSecurity \"{audit}\": {}", describe(&found));
        call.trail.annotate(VIOLATIONS.to_owned(), noted);
    }
    if is_pod && enforce.level > Level::Privileged {
        let found = violations(enforce.level, metadata, spec);
        if !found.is_empty() {
            let why = format!("violates PodSecurity \"{enforce}\": {}", describe(&found));
            return Err(super::forbidden(call, object::name(object), why));
        }
    }
    let found = violations(warn.level, metadata, spec);
    if !found.is_empty() {
        call.warn(format!("would violate PodSecurity \"{warn}\": {}", describe(&found)));
    }
    Ok(())
}

/// Refuses labels that name no level, and warns of pods that a stricter level would not let in.
pub(super) fn check_namespace(
    call: &Call,
    old: Option<&Value>,
    namespace: &Value,
) -> Result<(), Status> {
    if !call.kind.is("", "Namespace") {
        return Ok(());
    }
    let known = old.map(wrong_labels).unwrap_or_default();
    let errors: Vec<FieldError> = wrong_labels(namespace)
        .into_iter()
        .filter(|wrong| !known.contains(wrong))
        .map(|(label, value, wanted)| {
            FieldError::invalid(&Path::new("metadata.labels").key(&label), value, wanted)
        })
        .collect();
    if !errors.is_empty() {
        return Err(Status::invalid(&call.group_kind(), object::name(namespace), &errors));
    }
    let Some(old) = old else { return Ok(()) };
    let (was, is) = (Policy::of(old, Mode::Enforce), Policy::of(namespace, Mode::Enforce));
    if is.level > was.level {
        warn_of_pods(call, &is, object::name(namespace))?;
    }
    Ok(())
}

/// One warning for each way in which pods go against the policy, with the first such pod.
fn warn_of_pods(call: &Call, policy: &Policy, namespace: &str) -> Result<(), Status> {
    let prefix = format!("{}core/pods/{namespace}/", objects::ROOT);
    let options = ListOptions { limit: Some(PODS_MAX), ..ListOptions::default() };
    let page = call.core.store.list(&prefix, &options).map_err(Status::internal)?;
    let mut ways: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for entry in &page.entries {
        let pod: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        let found = violations(policy.level, &pod["metadata"], &pod["spec"]);
        if found.is_empty() {
            continue;
        }
        let reasons: Vec<&str> = found.iter().map(|one| one.reason).collect();
        let way = ways.entry(reasons.join(", "));
        way.or_insert_with(|| (object::name(&pod).to_owned(), 0)).1 += 1;
    }
    if ways.is_empty() {
        return Ok(());
    }
    call.warn(format!(
        "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \
         \"{policy}\""
    ));
    for (reasons, (first, count)) in ways {
        call.warn(match count - 1 {
            0 => format!("{first}: {reasons}"),
            1 => format!("{first} (and 1 other pod): {reasons}"),
            others => format!("{first} (and {others} other pods): {reasons}"),
        });
    }
    Ok(())
}
