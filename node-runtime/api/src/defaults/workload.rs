//! Defaults of `apps/v1` and `batch/v1`.

use serde_json::{Map, Value};

use super::{DefaultsHook, child, fill, fill_absent, text};

pub(super) fn hook(name: &str) -> Option<DefaultsHook> {
    Some(match name {
        "DeploymentSpec" => deployment,
        "ReplicaSetSpec" => |map| fill_absent(map, "replicas", 1),
        "DaemonSetSpec" => daemon_set,
        "StatefulSetSpec" => stateful_set,
        "Job" => job_labels,
        "JobSpec" => job,
        "PodFailurePolicyOnPodConditionsPattern" => |map| fill(map, "status", "True"),
        "CronJobSpec" => cron_job,
        _ => return None,
    })
}

fn deployment(map: &mut Map<String, Value>) {
    fill_absent(map, "replicas", 1);
    let strategy = child(map, "strategy");
    fill(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        fill_absent(rolling, "maxUnavailable", "25%");
        fill_absent(rolling, "maxSurge", "25%");
    }
    fill_absent(map, "revisionHistoryLimit", 10);
    fill_absent(map, "progressDeadlineSeconds", 600);
}

fn daemon_set(map: &mut Map<String, Value>) {
    let strategy = child(map, "updateStrategy");
    fill(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        fill_absent(rolling, "maxUnavailable", 1);
        fill_absent(rolling, "maxSurge", 0);
    }
    fill_absent(map, "revisionHistoryLimit", 10);
}

fn stateful_set(map: &mut Map<String, Value>) {
    fill(map, "podManagementPolicy", "OrderedReady");
    let strategy = child(map, "updateStrategy");
    fill(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        fill_absent(child(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = child(map, "persistentVolumeClaimRetentionPolicy");
    fill(retention, "whenDeleted", "Retain");
    fill(retention, "whenScaled", "Retain");
    fill_absent(map, "replicas", 1);
    fill_absent(map, "revisionHistoryLimit", 10);
}

/// A job without labels has those of its pods.
fn job_labels(map: &mut Map<String, Value>) {
    let labels = map
        .get("spec")
        .and_then(|spec| spec.pointer("/template/metadata/labels"))
        .filter(|labels| labels.as_object().is_some_and(|labels| !labels.is_empty()))
        .cloned();
    if let Some(labels) = labels {
        fill(child(map, "metadata"), "labels", labels);
    }
}

fn job(map: &mut Map<String, Value>) {
    let absent = |key: &str| map.get(key).is_none_or(Value::is_null);
    match (absent("completions"), absent("parallelism")) {
        (true, true) => {
            map.insert("completions".into(), 1.into());
            map.insert("parallelism".into(), 1.into());
        }
        (_, true) => {
            map.insert("parallelism".into(), 1.into());
        }
        _ => {}
    }
    let per_index = map.get("backoffLimitPerIndex").is_some_and(|limit| !limit.is_null());
    fill_absent(map, "backoffLimit", if per_index { i32::MAX } else { 6 });
    fill_absent(map, "completionMode", "NonIndexed");
    fill_absent(map, "suspend", false);
    let by_policy = map.get("podFailurePolicy").is_some_and(|policy| !policy.is_null());
    let replacement = if by_policy { "Failed" } else { "TerminatingOrFailed" };
    fill_absent(map, "podReplacementPolicy", replacement);
}

fn cron_job(map: &mut Map<String, Value>) {
    fill(map, "concurrencyPolicy", "Allow");
    fill_absent(map, "suspend", false);
    fill_absent(map, "successfulJobsHistoryLimit", 3);
    fill_absent(map, "failedJobsHistoryLimit", 1);
}
