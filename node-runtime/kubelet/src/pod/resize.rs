//! Limits that change while a container runs (`kubectl patch --subresource resize`).

use k8s_openapi::api::core::v1::{Container, ResourceRequirements};

use super::container::Record;
use crate::spec::quantity::{Resources, cpu_millis, memory_bytes};

/// What a change of limits needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The runtime can change them in place.
    InPlace,
    /// The container wants to be restarted for this.
    Restart,
}

/// What a running container needs so that it has the resources its specification says.
pub(super) fn needed(record: &Record) -> Option<Change> {
    let running = record.running().filter(|running| !running.stopping)?;
    let container = &record.spec.container;
    let wanted = container.resources.clone().unwrap_or_default();
    let changed = changed(&running.resources, &wanted);
    if changed.is_empty() {
        return None;
    }
    let restarts = changed.iter().any(|resource| policy(container, resource) == "RestartContainer");
    Some(if restarts { Change::Restart } else { Change::InPlace })
}

/// Reads one resource out of a list.
type Amount = fn(Option<&Resources>) -> Option<i64>;

/// Which of CPU and memory differ in request or limit.
fn changed(have: &ResourceRequirements, want: &ResourceRequirements) -> Vec<&'static str> {
    let differ = |read: Amount| {
        read(have.limits.as_ref()) != read(want.limits.as_ref())
            || read(have.requests.as_ref()) != read(want.requests.as_ref())
    };
    let resources: [(&str, Amount); 2] = [("cpu", cpu_millis), ("memory", memory_bytes)];
    resources.into_iter().filter(|(_, read)| differ(*read)).map(|(name, _)| name).collect()
}

fn policy<'a>(container: &'a Container, resource: &str) -> &'a str {
    let mut policies = container.resize_policy.iter().flatten();
    let found = policies.find(|policy| policy.resource_name == resource);
    found.map_or("NotRequired", |policy| policy.restart_policy.as_str())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::serde_json::{Value, from_value, json};
    use test_case::test_case;

    use super::*;
    use crate::object::{ContainerSpec, Kind};
    use crate::pod::container::{Now, Running};

    #[test_case(&json!({"limits": {"cpu": "1"}}) => None; "the same in another notation")]
    #[test_case(&json!({"limits": {"cpu": "2"}}) => Some(Change::InPlace))]
    #[test_case(&json!({"limits": {"cpu": "1", "memory": "1Gi"}}) => Some(Change::Restart))]
    #[test_case(&json!({}) => Some(Change::InPlace))]
    fn changes(wanted: &Value) -> Option<Change> {
        let container = from_value(json!({
            "name": "a", "resources": wanted,
            "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
        }))
        .expect("a container");
        let mut record = Record::new(ContainerSpec { kind: Kind::App, container, target: None });
        record.now = Now::Running(Running {
            id: "r".into(),
            started_at: None,
            hash: String::new(),
            stopping: false,
            resources: from_value(json!({"limits": {"cpu": "1000m"}})).expect("resources"),
        });
        needed(&record)
    }
}
