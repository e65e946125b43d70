//! The Pod Security Standards: what a pod may ask for at the levels `baseline` and `restricted`.
//!
//! Source: "Pod Security Standards" of the Kubernetes documentation, and the names and words of the
//! checks of k8s.io/pod-security-admission v0.36, which users and tests match. Checks are those of the
//! newest version whatever version a namespace names: what an older one allowed and a newer one does
//! not is refused, too, except for sysctls, which only ever became more.

mod baseline;
mod restricted;
mod visit;

use minik_meta::object;
use serde_json::Value;

/// How much a pod may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Anything.
    #[default]
    Privileged,
    /// Nothing that is known to lead out of the pod.
    Baseline,
    /// What is best practice.
    Restricted,
}

impl Level {
    /// The level of that name.
    pub fn parse(name: &str) -> Option<Level> {
        match name {
            "privileged" => Some(Level::Privileged),
            "baseline" => Some(Level::Baseline),
            "restricted" => Some(Level::Restricted),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        }
    }
}

/// What follows from a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The pod is refused.
    Enforce,
    /// It is noted in the audit log.
    Audit,
    /// Who made it is warned.
    Warn,
}

impl Mode {
    /// The label of namespaces that says the level; with `-version` behind it, the version.
    pub fn label(self) -> &'static str {
        match self {
            Mode::Enforce => "pod-security.kubernetes.io/enforce",
            Mode::Audit => "pod-security.kubernetes.io/audit",
            Mode::Warn => "pod-security.kubernetes.io/warn",
        }
    }
}

/// A level and the version it is named with: `restricted:latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The level.
    pub level: Level,
    version: String,
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.level.name(), self.version)
    }
}

impl Policy {
    /// What a namespace wants. A wrong level enforces the strictest one, and warns of nothing.
    pub fn of(namespace: &Value, mode: Mode) -> Policy {
        let label = object::label(namespace, mode.label());
        let wrong = if mode == Mode::Enforce { Level::Restricted } else { Level::Privileged };
        let level = label.map(|name| Level::parse(name).unwrap_or(wrong));
        let version = object::label(namespace, &format!("{}-version", mode.label()));
        let version = version.filter(|version| is_version(version)).unwrap_or("latest");
        Policy { level: level.unwrap_or_default(), version: version.to_owned() }
    }
}

fn is_version(text: &str) -> bool {
    let number = |text: &str| {
        let plain = text == "0" || !text.starts_with('0');
        plain && !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
    };
    text == "latest" || text.strip_prefix("v1.").is_some_and(number)
}

/// Labels of a namespace that name no level or version: the label, its value, and what is wanted.
pub fn wrong_labels(namespace: &Value) -> Vec<(String, String, &'static str)> {
    let mut wrong = Vec::new();
    for mode in [Mode::Enforce, Mode::Audit, Mode::Warn] {
        let version = format!("{}-version", mode.label());
        let levels = "must be one of privileged, baseline, restricted";
        let versions = "must be \"latest\" or \"v1.x\"";
        let mut note = |label: &str, good: fn(&str) -> bool, wanted| {
            if let Some(value) = object::label(namespace, label).filter(|value| !good(value)) {
                wrong.push((label.to_owned(), value.to_owned(), wanted));
            }
        };
        note(mode.label(), |value| Level::parse(value).is_some(), levels);
        note(&version, is_version, versions);
    }
    wrong
}

/// One thing a pod must not ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule, in a few words.
    pub reason: &'static str,
    /// Where, and what would be right.
    pub detail: String,
}

/// All violations of a list, as refusals and warnings print them.
pub fn describe(violations: &[Violation]) -> String {
    let each = violations.iter().map(|one| match one.detail.as_str() {
        "" => one.reason.to_owned(),
        detail => format!("{} ({detail})", one.reason),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// What of a pod's metadata and spec goes against `level`.
pub fn violations(level: Level, metadata: &Value, spec: &Value) -> Vec<Violation> {
    let pod = visit::Pod { metadata, spec };
    let mut found = Vec::new();
    let mut check = |violation: Option<Violation>| found.extend(violation);
    if level >= Level::Baseline {
        check(baseline::app_armor(&pod));
        if level == Level::Baseline {
            check(baseline::capabilities(&pod));
        }
        check(baseline::host_namespaces(&pod));
        if level == Level::Baseline {
            check(baseline::host_path(&pod));
        }
        check(baseline::host_ports(&pod));
        check(baseline::probe_hosts(&pod));
        check(baseline::privileged(&pod));
        check(baseline::proc_mount(&pod));
        check(baseline::se_linux(&pod));
        if level == Level::Baseline {
            check(baseline::seccomp(&pod));
        }
        check(baseline::sysctls(&pod));
        check(baseline::host_process(&pod));
    }
    if level == Level::Restricted {
        check(restricted::privilege_escalation(&pod));
        check(restricted::capabilities(&pod));
        check(restricted::volumes(&pod));
        check(restricted::non_root(&pod));
        check(restricted::user(&pod));
        check(restricted::seccomp(&pod));
    }
    found
}

/// Metadata and spec of the pods an object makes; of the pod itself if it is one.
pub fn pod_of<'a>(group: &str, kind: &str, object: &'a Value) -> Option<(&'a Value, &'a Value)> {
    let template = match (group, kind) {
        ("", "Pod") => object,
        ("", "PodTemplate") => &object["template"],
        ("", "ReplicationController")
        | ("apps", "ReplicaSet" | "Deployment" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => &object["spec"]["template"],
        ("batch", "CronJob") => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    template["spec"].is_object().then(|| (&template["metadata"], &template["spec"]))
}

#[cfg(test)]
mod tests;
