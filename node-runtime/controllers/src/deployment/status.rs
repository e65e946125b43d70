//! What a Deployment tells about itself: counts, and whether it is available and progressing.
//! `kubectl rollout status` and `kubectl wait` read what is written here.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::deployment::revision::{New, Revisions};
use crate::deployment::{is_paused, replicas, scaling, set_replicas, spec};
use crate::wiring::name_of;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const DONE: &str = "NewReplicaSetAvailable";
const OVERDUE: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The status after this look at the ReplicaSets.
pub(super) fn of(
    deployment: &Deployment,
    revisions: &Revisions,
    new: Option<&New>,
    now: Timestamp,
) -> DeploymentStatus {
    let mut status = counted(deployment, revisions);
    note_availability(deployment, &mut status, now);
    note_progress(deployment, revisions, new, &mut status, now);
    note_failures(revisions, &mut status, now);
    status
}

fn counted(deployment: &Deployment, revisions: &Revisions) -> DeploymentStatus {
    let old = deployment.status.clone().unwrap_or_default();
    let sum =
        |count: fn(&ReplicaSet) -> i32| -> i32 { revisions.all().map(|set| count(set)).sum() };
    let available = sum(|set| status_of(set, |status| status.available_replicas));
    let updated = revisions.new.as_ref();
    let updated = updated.map_or(0, |set| set.status.as_ref().map_or(0, |status| status.replicas));
    let some = |count: i32| (count != 0).then_some(count);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(sum(|set| set.status.as_ref().map_or(0, |status| status.replicas))),
        updated_replicas: some(updated),
        ready_replicas: some(sum(|set| status_of(set, |status| status.ready_replicas))),
        available_replicas: some(available),
        unavailable_replicas: some((sum(set_replicas) - available).max(0)),
        terminating_replicas: terminating(revisions),
        collision_count: old.collision_count,
        conditions: old.conditions,
    }
}

fn status_of(
    set: &ReplicaSet,
    field: fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> Option<i32>,
) -> i32 {
    set.status.as_ref().and_then(field).unwrap_or(0)
}

fn terminating(revisions: &Revisions) -> Option<i32> {
    let known = revisions.all().filter_map(|set| set.status.as_ref()?.terminating_replicas);
    Some(known.sum())
}

fn note_availability(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    let needed = replicas(deployment) - scaling::limits(deployment).unavailable;
    if status.available_replicas.unwrap_or(0) >= needed {
        let message = "Deployment has minimum availability.";
        set(status, AVAILABLE, "True", "MinimumReplicasAvailable", message, now);
    } else {
        let message = "Deployment does not have minimum availability.";
        set(status, AVAILABLE, "False", "MinimumReplicasUnavailable", message, now);
    }
}

fn has_deadline(deployment: &Deployment) -> bool {
    spec(deployment).progress_deadline_seconds.is_some_and(|seconds| seconds != i32::MAX)
}

fn note_progress(
    deployment: &Deployment,
    revisions: &Revisions,
    new: Option<&New>,
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    if !has_deadline(deployment) {
        remove(status, PROGRESSING);
        return;
    }
    let before = find(status, PROGRESSING).cloned();
    let reason = before.as_ref().and_then(|condition| condition.reason.as_deref());
    if is_paused(deployment) || reason == Some(PAUSED) {
        if reason != Some(OVERDUE) && is_paused(deployment) {
            set_progressing(status, "Unknown", PAUSED, "Deployment is paused", now);
            return;
        }
        if !is_paused(deployment) {
            let message = "Deployment is resumed";
            set_progressing(status, "Unknown", "DeploymentResumed", message, now);
        }
    }
    if let Some(New::Create(set)) = new {
        let message = format!("Created new replica set \"{}\"", name_of(&**set));
        set_progressing(status, "True", "NewReplicaSetCreated", &message, now);
        return;
    }
    let was_done = reason == Some(DONE) && status.replicas == status.updated_replicas;
    if was_done {
        return;
    }
    let what = match &revisions.new {
        Some(set) => format!("ReplicaSet \"{}\"", name_of(&**set)),
        None => format!("Deployment \"{}\"", name_of(deployment)),
    };
    if is_done(deployment, status) {
        let message = format!("{what} has successfully progressed.");
        set_progressing(status, "True", DONE, &message, now);
    } else if has_moved(deployment, status) {
        let message = format!("{what} is progressing.");
        touch_progressing(status, "ReplicaSetUpdated", &message, now);
    } else if is_overdue(deployment, status, now) {
        let message = format!("{what} has timed out progressing.");
        set_progressing(status, "False", OVERDUE, &message, now);
    } else if before.is_none() && revisions.new.is_some() {
        let message = format!("Found new replica set \"{}\"", what.split('"').nth(1).unwrap_or(""));
        set_progressing(status, "True", "FoundNewReplicaSet", &message, now);
    }
}

/// Whether all wanted pods are of the new template, up, and nothing else runs.
fn is_done(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = replicas(deployment);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
}

/// Whether the rollout is complete by the status just made, or by the one that stands.
pub(super) fn is_complete(deployment: &Deployment, made: Option<&DeploymentStatus>) -> bool {
    let status = made.or(deployment.status.as_ref());
    status.is_some_and(|status| is_done(deployment, status))
}

fn has_moved(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let old = deployment.status.clone().unwrap_or_default();
    let count = |number: Option<i32>| number.unwrap_or(0);
    let outdated =
        |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(status.updated_replicas) > count(old.updated_replicas)
        || outdated(status) < outdated(&old)
        || count(status.ready_replicas) > count(old.ready_replicas)
        || count(status.available_replicas) > count(old.available_replicas)
}

fn is_overdue(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(condition) = find(status, PROGRESSING) else { return false };
    match condition.reason.as_deref() {
        Some(DONE) => false,
        Some(OVERDUE) => true,
        _ => time_left(deployment, condition, now).is_some_and(|left| left.is_negative()),
    }
}

fn time_left(
    deployment: &Deployment,
    condition: &DeploymentCondition,
    now: Timestamp,
) -> Option<SignedDuration> {
    let seconds =
        spec(deployment).progress_deadline_seconds.filter(|_| has_deadline(deployment))?;
    let updated = condition.last_update_time.as_ref()?.0;
    Some(SignedDuration::from_secs(i64::from(seconds)) - now.duration_since(updated))
}

/// When to look again only because time has passed: at the progress deadline.
pub(super) fn overdue_after(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let condition = find(status, PROGRESSING)?;
    if matches!(condition.reason.as_deref(), Some(DONE | OVERDUE | PAUSED)) {
        return None;
    }
    let left = time_left(deployment, condition, now)?;
    let left = Duration::try_from(left).unwrap_or_default();
    Some(left + Duration::from_secs(1))
}

fn note_failures(revisions: &Revisions, status: &mut DeploymentStatus, now: Timestamp) {
    let conditions = revisions.all().filter_map(|set| set.status.as_ref()?.conditions.as_ref());
    let failure = conditions
        .flatten()
        .find(|condition| condition.type_ == REPLICA_FAILURE && condition.status == "True");
    match failure {
        Some(failure) => {
            let reason = failure.reason.as_deref().unwrap_or_default();
            let message = failure.message.as_deref().unwrap_or_default();
            set(status, REPLICA_FAILURE, "True", reason, message, now);
        }
        None => remove(status, REPLICA_FAILURE),
    }
}

fn find<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != kind);
    }
}

/// Notes progress. Nothing is written while status and reason stay as they are.
pub(super) fn set_progressing(
    status: &mut DeploymentStatus,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    set(status, PROGRESSING, value, reason, message, now);
}

/// Notes that something moved: the time is renewed even if the reason is the same.
fn touch_progressing(status: &mut DeploymentStatus, reason: &str, message: &str, now: Timestamp) {
    let since = find(status, PROGRESSING)
        .filter(|condition| condition.status == "True")
        .and_then(|condition| condition.last_transition_time.clone());
    remove(status, PROGRESSING);
    status.conditions.get_or_insert_default().push(DeploymentCondition {
        type_: PROGRESSING.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
    });
}

fn set(
    status: &mut DeploymentStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let before = find(status, kind).cloned();
    let same = before
        .as_ref()
        .filter(|before| before.status == value && before.reason.as_deref() == Some(reason));
    if same.is_some() {
        return;
    }
    let since = before.filter(|before| before.status == value);
    let since = since.and_then(|before| before.last_transition_time);
    remove(status, kind);
    status.conditions.get_or_insert_default().push(DeploymentCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
    });
}
