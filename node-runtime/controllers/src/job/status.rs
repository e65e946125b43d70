//! Conditions of a Job.

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// The Job has ended well.
pub(super) const COMPLETE: &str = "Complete";
/// The Job has ended badly.
pub(super) const FAILED: &str = "Failed";
/// It will fail as soon as its pods have ended.
pub(super) const FAILURE_TARGET: &str = "FailureTarget";
/// It will be complete as soon as its pods have ended.
pub(super) const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
/// It is held back by the user.
pub(super) const SUSPENDED: &str = "Suspended";

/// The condition of that type, if it holds.
pub(super) fn holding<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Whether nothing will happen to the Job any more.
pub(crate) fn is_finished(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| {
        holding(status, COMPLETE).is_some() || holding(status, FAILED).is_some()
    })
}

/// Whether the Job has ended well.
pub(crate) fn is_complete(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| holding(status, COMPLETE).is_some())
}

/// When the Job ended.
pub(crate) fn finished_at(job: &Job) -> Option<Timestamp> {
    let status = job.status.as_ref()?;
    let condition = holding(status, COMPLETE).or_else(|| holding(status, FAILED))?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// Sets a condition; one that holds already stays as it is.
pub(super) fn set(
    status: &mut JobStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let there = conditions.iter().find(|one| one.type_ == kind);
    if there.is_some_and(|there| there.status == value) {
        return;
    }
    if there.is_none() && value == "False" {
        return;
    }
    conditions.retain(|one| one.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}
