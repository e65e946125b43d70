//! Checks of the level `restricted`: what is best practice.

use minik_meta::object;
use serde_json::Value;

use super::Violation;
use super::visit::{Pod, containers, distinct, plural, quoted, setters, violation};

/// Sources of volumes that bring nothing of the node with them.
const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

pub(super) fn privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() {
        return None;
    }
    let names =
        pod.named(|one| one["securityContext"]["allowPrivilegeEscalation"] != Value::Bool(false));
    violation("allowPrivilegeEscalation != false", &names, |who| {
        format!("{who} must set securityContext.allowPrivilegeEscalation=false")
    })
}

pub(super) fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() {
        return None;
    }
    let listed = |one: &Value, list: &str| -> Vec<String> {
        let all = object::list(one, &["securityContext", "capabilities", list]);
        all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let added = |one: &Value| -> Vec<String> {
        listed(one, "add").into_iter().filter(|name| name != "NET_BIND_SERVICE").collect()
    };
    let keeps = pod.named(|one| !listed(one, "drop").iter().any(|name| name == "ALL"));
    let adds = pod.named(|one| !added(one).is_empty());
    let mut details = Vec::new();
    if !keeps.is_empty() {
        let who = containers(&keeps);
        details.push(format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if !adds.is_empty() {
        let all: Vec<String> = pod.containers().flat_map(added).collect();
        let all = distinct(all.iter().map(String::as_str));
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&adds),
            quoted(&all)
        ));
    }
    (!details.is_empty())
        .then(|| Violation { reason: "unrestricted capabilities", detail: details.join("; ") })
}

pub(super) fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    let mut names = Vec::new();
    let mut kinds = Vec::new();
    for volume in object::list(pod.spec, &["volumes"]) {
        let sources = volume.as_object().into_iter().flatten().map(|(field, _)| field.as_str());
        let source = sources.into_iter().find(|field| *field != "name");
        if let Some(kind) = source.filter(|kind| !VOLUMES.contains(kind)) {
            names.push(object::text(volume, &["name"]));
            kinds.push(kind);
        }
    }
    let verb = if names.len() == 1 { "uses" } else { "use" };
    let kinds = distinct(kinds.into_iter());
    (!names.is_empty()).then(|| Violation {
        reason: "restricted volume types",
        detail: format!(
            "{} {} {verb} restricted {} {}",
            plural("volume", names.len()),
            quoted(&names),
            plural("volume type", kinds.len()),
            quoted(&kinds)
        ),
    })
}

pub(super) fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let of = |holder: &Value| holder["securityContext"]["runAsNonRoot"].as_bool();
    let pod_wide = of(pod.spec);
    let refusing = pod.named(|one| of(one) == Some(false));
    let silent = pod.named(|one| of(one).is_none());
    let mut details = Vec::new();
    // What the pod says counts for those that say nothing.
    let pod_refuses = pod_wide == Some(false) && !silent.is_empty();
    if let Some(who) = setters(pod_refuses, &refusing) {
        details.push(format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    if pod_wide.is_none() && !silent.is_empty() && details.is_empty() {
        let who = containers(&silent);
        details.push(format!("pod or {who} must set securityContext.runAsNonRoot=true"));
    }
    (!details.is_empty()).then(|| Violation { reason: REASON, detail: details.join(", ") })
}

pub(super) fn user(pod: &Pod<'_>) -> Option<Violation> {
    let is_root = |holder: &Value| holder["securityContext"]["runAsUser"] == 0;
    let names = pod.named(is_root);
    let who = setters(is_root(pod.spec), &names)?;
    Some(Violation { reason: "runAsUser=0", detail: format!("{who} must not set runAsUser=0") })
}

pub(super) fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() {
        return None;
    }
    let of = |holder: &Value| {
        object::text(holder, &["securityContext", "seccompProfile", "type"]).to_owned()
    };
    let good = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let wrong = |kind: &str| !kind.is_empty() && !good(kind);
    let pod_wide = of(pod.spec);
    let refusing = pod.named(|one| wrong(&of(one)));
    let silent = pod.named(|one| of(one).is_empty());
    let mut details = Vec::new();
    if let Some(who) = setters(wrong(&pod_wide), &refusing) {
        let all: Vec<String> = std::iter::once(pod.spec)
            .chain(pod.containers())
            .map(of)
            .filter(|kind| wrong(kind))
            .collect();
        let kinds = quoted(&distinct(all.iter().map(String::as_str)));
        details.push(format!("{who} must not set securityContext.seccompProfile.type to {kinds}"));
    }
    if pod_wide.is_empty() && !silent.is_empty() && details.is_empty() {
        details.push(format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
             \"Localhost\"",
            containers(&silent)
        ));
    }
    (!details.is_empty())
        .then(|| Violation { reason: "seccompProfile", detail: details.join(", ") })
}
