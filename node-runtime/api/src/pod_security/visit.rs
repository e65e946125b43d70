//! A pod as the checks see it, and lists in the words of their messages.

use minik_meta::object;
use serde_json::Value;

use super::Violation;

/// A pod's metadata and spec.
pub(super) struct Pod<'a> {
    pub(super) metadata: &'a Value,
    pub(super) spec: &'a Value,
}

impl<'a> Pod<'a> {
    /// All containers: of the start, the usual ones, those for looking into it.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| object::list(spec, &[list]))
    }

    /// The security context of the whole pod.
    pub(super) fn context(&self) -> &'a Value {
        &self.spec["securityContext"]
    }

    /// Names of the containers for which `bad` holds.
    pub(super) fn named(&self, bad: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers()
            .filter(|container| bad(container))
            .map(|container| object::text(container, &["name"]))
            .collect()
    }

    /// Windows knows neither capabilities nor seccomp.
    pub(super) fn is_windows(&self) -> bool {
        object::text(self.spec, &["os", "name"]) == "windows"
    }
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", names.len()), quoted(names))
}

pub(super) fn plural(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

pub(super) fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| format!("{:?}", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Sorted, each once.
pub(super) fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> Vec<String> {
    let set: std::collections::BTreeSet<&str> = values.collect();
    set.into_iter().map(str::to_owned).collect()
}

/// `pod`, `container "a"`, or `pod and container "a"`; nothing if it is neither.
pub(super) fn setters(pod: bool, names: &[&str]) -> Option<String> {
    match (pod, names) {
        (false, []) => None,
        (true, []) => Some("pod".to_owned()),
        (false, names) => Some(containers(names)),
        (true, names) => Some(format!("pod and {}", containers(names))),
    }
}

/// A violation if there are `names`, described by `detail`.
pub(super) fn violation(
    reason: &'static str,
    names: &[&str],
    detail: impl FnOnce(String) -> String,
) -> Option<Violation> {
    (!names.is_empty()).then(|| Violation { reason, detail: detail(containers(names)) })
}
