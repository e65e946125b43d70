//! What a Job does next. Pure.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use minik_client::Level;
use minik_reconcile::{Change, KeyOf, Requeue};

use crate::job::facts::{Facts, INDEX, INDEX_FAILURES, INDEX_IGNORED, index_of, is_indexed};
use crate::job::policy::{Action, is_success};
use crate::job::status::{
    COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, SUSPENDED, holding, set,
};
use crate::job::{FINALIZER, indexes, is_tracked, let_go, spec};
use crate::owned::controller_ref;
use crate::pods;
use crate::wiring::{name_of, namespace_of};

/// Most pods made or deleted in one go.
const BURST_MAX: usize = 500;
/// Failures a Job survives when it does not say.
const BACK_OFF_LIMIT_DEFAULT: i32 = 6;
/// Delay of a new pod after the first failure, doubled with each in a row.
const BACK_OFF_FIRST: Duration = Duration::from_secs(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(600);

/// What one round writes.
pub(super) struct Plan {
    pub(super) pods: Vec<Change<Pod>>,
    pub(super) status: JobStatus,
    /// After the status has been written.
    pub(super) let_go: Vec<Change<Pod>>,
    pub(super) events: Vec<(Level, &'static str, String)>,
    pub(super) requeue: Requeue,
}

/// How a Job is going to end.
struct End {
    target: &'static str,
    reason: String,
    message: String,
}

impl End {
    fn failure(reason: &str, message: impl Into<String>) -> Option<End> {
        Some(End { target: FAILURE_TARGET, reason: reason.to_owned(), message: message.into() })
    }

    fn success(reason: &str, message: impl Into<String>) -> Option<End> {
        let (reason, message) = (reason.to_owned(), message.into());
        Some(End { target: SUCCESS_CRITERIA_MET, reason, message })
    }
}

/// Decides one round.
pub(super) fn plan(job: &Job, facts: &Facts, now: Timestamp) -> Plan {
    let old = job.status.clone().unwrap_or_default();
    let mut plan = Plan {
        pods: Vec::new(),
        status: counted(job, &old, facts),
        let_go: Vec::new(),
        events: Vec::new(),
        requeue: Requeue::WhenChanged,
    };
    let tracked = facts.noted.iter().chain(&facts.new_succeeded).chain(&facts.new_failed);
    plan.let_go = tracked.filter(|pod| is_tracked(pod)).map(|pod| let_go(pod)).collect();
    if holding(&old, COMPLETE).is_some() || holding(&old, FAILED).is_some() {
        plan.delete(&facts.active);
        return plan;
    }
    let suspended = spec(job).suspend.unwrap_or(false);
    note_suspension(&mut plan, suspended, now);
    if plan.status.start_time.is_none() && !suspended {
        plan.status.start_time = Some(Time(now));
    }
    let end = before(&old).or_else(|| ends(job, facts, &plan.status, now));
    match end {
        Some(end) => plan.end(end, facts, now),
        None if suspended => plan.delete(&facts.active),
        None => plan.keep_going(job, facts, now),
    }
    plan
}

/// The end that an earlier round decided on.
fn before(old: &JobStatus) -> Option<End> {
    let target = [FAILURE_TARGET, SUCCESS_CRITERIA_MET]
        .into_iter()
        .find_map(|kind| Some((kind, holding(old, kind)?)));
    target.map(|(target, condition)| End {
        target,
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    })
}

/// The counts after this look. Pods that were noted and let go are counted now.
fn counted(job: &Job, old: &JobStatus, facts: &Facts) -> JobStatus {
    let mut status = old.clone();
    let some = |count: i32| (count != 0).then_some(count);
    let mut noted = old.uncounted_terminated_pods.clone().unwrap_or_default();
    let take = |list: &mut Option<Vec<String>>| -> i32 {
        let list = list.get_or_insert_default();
        let before = list.len();
        list.retain(|uid| !facts.released.contains(uid));
        i32::try_from(before - list.len()).unwrap_or(i32::MAX)
    };
    let (succeeded, failed) = (take(&mut noted.succeeded), take(&mut noted.failed));
    let uids = |pods: &[Arc<Pod>]| -> Vec<String> {
        pods.iter().map(|pod| pod.uid_str().to_owned()).collect()
    };
    noted.failed.get_or_insert_default().extend(uids(&facts.new_failed));
    status.failed = some(old.failed.unwrap_or(0) + failed);
    if is_indexed(job) {
        status.completed_indexes = text(&facts.completed);
        status.succeeded = some(i32::try_from(facts.completed.len()).unwrap_or(i32::MAX));
        status.failed_indexes = failed_indexes(job, facts, old);
    } else {
        noted.succeeded.get_or_insert_default().extend(uids(&facts.new_succeeded));
        status.succeeded = some(old.succeeded.unwrap_or(0) + succeeded);
    }
    let full = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
    status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
        succeeded: full(noted.succeeded),
        failed: full(noted.failed),
    });
    status.active = some(i32::try_from(facts.active.len()).unwrap_or(i32::MAX));
    status.ready = Some(facts.ready);
    status.terminating = Some(facts.terminating);
    status
}

fn text(indexes: &BTreeSet<i32>) -> Option<String> {
    (!indexes.is_empty()).then(|| indexes::format(indexes))
}

fn failed_indexes(job: &Job, facts: &Facts, old: &JobStatus) -> Option<String> {
    let limit = spec(job).backoff_limit_per_index?;
    let mut failed = old.failed_indexes.as_deref().map(indexes::parse).unwrap_or_default();
    let over = facts.failures_by_index.iter().filter(|(_, count)| **count > limit);
    failed.extend(over.map(|(index, _)| *index));
    failed.retain(|index| !facts.completed.contains(index));
    Some(indexes::format(&failed))
}

/// All that succeeded so far, counted or only noted.
fn succeeded(job: &Job, status: &JobStatus) -> i32 {
    let noted = status.uncounted_terminated_pods.as_ref();
    let noted = noted.and_then(|noted| noted.succeeded.as_ref()).map_or(0, Vec::len);
    let noted = if is_indexed(job) { 0 } else { i32::try_from(noted).unwrap_or(i32::MAX) };
    status.succeeded.unwrap_or(0) + noted
}

fn failed_count(status: &JobStatus) -> i32 {
    let noted = status.uncounted_terminated_pods.as_ref();
    let noted = noted.and_then(|noted| noted.failed.as_ref()).map_or(0, Vec::len);
    status.failed.unwrap_or(0) + i32::try_from(noted).unwrap_or(i32::MAX)
}

/// How the Job ends, if it does.
fn ends(job: &Job, facts: &Facts, status: &JobStatus, now: Timestamp) -> Option<End> {
    if let Some((Action::FailJob, why)) = &facts.verdict {
        return End::failure("PodFailurePolicy", why);
    }
    if let Some(why) = is_success(job, &facts.completed) {
        return End::success("SuccessPolicy", why);
    }
    if over_limit(job, facts, status) {
        return End::failure("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if deadline(job, status, now).is_some_and(|left| left <= SignedDuration::ZERO) {
        return End::failure("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    let failed = status.failed_indexes.as_deref().map(indexes::parse).unwrap_or_default();
    let failed = i32::try_from(failed.len()).unwrap_or(i32::MAX);
    if spec(job).max_failed_indexes.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return End::failure("MaxFailedIndexesExceeded", message);
    }
    let done = succeeded(job, status);
    match spec(job).completions {
        Some(wanted) if done >= wanted => End::success("CompletionsReached", REACHED),
        Some(wanted) if failed > 0 && done + failed >= wanted && facts.active.is_empty() => {
            End::failure("FailedIndexes", "Job has failed indexes")
        }
        None if done > 0 && facts.active.is_empty() => End::success("CompletionsReached", REACHED),
        _ => None,
    }
}

const REACHED: &str = "Reached expected number of succeeded pods";

fn over_limit(job: &Job, facts: &Facts, status: &JobStatus) -> bool {
    let limit = spec(job).backoff_limit.unwrap_or(if spec(job).backoff_limit_per_index.is_some() {
        i32::MAX
    } else {
        BACK_OFF_LIMIT_DEFAULT
    });
    if failed_count(status) > limit {
        return true;
    }
    let template = spec(job).template.spec.as_ref();
    let restarts_inside =
        template.and_then(|pod| pod.restart_policy.as_deref()) == Some("OnFailure");
    restarts_inside && facts.restarts() > 0 && facts.restarts() >= limit.max(1)
}

/// How much time is left, if the Job has a deadline.
fn deadline(job: &Job, status: &JobStatus, now: Timestamp) -> Option<SignedDuration> {
    let most = SignedDuration::from_secs(spec(job).active_deadline_seconds?);
    let started = status.start_time.as_ref()?.0;
    Some(most - now.duration_since(started))
}

fn note_suspension(plan: &mut Plan, suspended: bool, now: Timestamp) {
    let was = holding(&plan.status, SUSPENDED).is_some();
    if suspended && !was {
        set(&mut plan.status, SUSPENDED, "True", "JobSuspended", "Job suspended", now);
        plan.status.start_time = None;
        plan.events.push((Level::Normal, "Suspended", "Job suspended".to_owned()));
    } else if !suspended && was {
        set(&mut plan.status, SUSPENDED, "False", "JobResumed", "Job resumed", now);
        plan.status.start_time = Some(Time(now));
        plan.events.push((Level::Normal, "Resumed", "Job resumed".to_owned()));
    }
}

impl Plan {
    fn delete(&mut self, pods: &[Arc<Pod>]) {
        self.pods.extend(pods.iter().take(BURST_MAX).map(|pod| Change::delete(&**pod)));
    }

    /// The Job ends: first no pod runs any more and all are counted, then it says so.
    fn end(&mut self, end: End, facts: &Facts, now: Timestamp) {
        set(&mut self.status, end.target, "True", &end.reason, &end.message, now);
        self.delete(&facts.active);
        let noted = self.status.uncounted_terminated_pods.clone().unwrap_or_default();
        let quiet = facts.active.is_empty() && facts.terminating == 0;
        let all_counted = noted.succeeded.is_none() && noted.failed.is_none();
        if !(quiet && all_counted) {
            return;
        }
        let (kind, level, event) = if end.target == FAILURE_TARGET {
            (FAILED, Level::Warning, end.message.clone())
        } else {
            self.status.completion_time = Some(Time(now));
            (COMPLETE, Level::Normal, "Job completed".to_owned())
        };
        set(&mut self.status, kind, "True", &end.reason, &end.message, now);
        self.status.uncounted_terminated_pods = Some(UncountedTerminatedPods::default());
        let reason = if kind == FAILED { leaked(&end.reason) } else { "Completed" };
        self.events.push((level, reason, event));
    }

    /// Makes what is missing, deletes what is too much.
    fn keep_going(&mut self, job: &Job, facts: &Facts, now: Timestamp) {
        if let Some(left) = deadline(job, &self.status, now) {
            let left = Duration::try_from(left).unwrap_or_default();
            self.requeue = self.requeue.or_sooner(Requeue::After(left));
        }
        let active = i32::try_from(facts.active.len()).unwrap_or(i32::MAX);
        let wanted = wanted_active(job, facts, &self.status, active);
        if active > wanted {
            let surplus = usize::try_from(active - wanted).unwrap_or(0);
            let mut ranked = facts.active.clone();
            ranked.sort_by(|a, b| loss(a, b));
            self.delete(&ranked[..surplus.min(ranked.len())]);
            return;
        }
        let missing = usize::try_from(wanted - active).unwrap_or(0).min(BURST_MAX);
        if missing == 0 {
            return;
        }
        if let Some(wait) = back_off(facts, &self.status, now) {
            self.requeue = self.requeue.or_sooner(Requeue::After(wait));
            return;
        }
        if is_indexed(job) {
            let indexes = free_indexes(job, facts, &self.status, missing);
            self.pods.extend(
                indexes.into_iter().map(|index| Change::create(make(job, Some(index), facts))),
            );
        } else {
            self.pods.extend((0..missing).map(|_| Change::create(make(job, None, facts))));
        }
    }
}

/// Reasons in events are fixed words.
fn leaked(reason: &str) -> &'static str {
    match reason {
        "BackoffLimitExceeded" => "BackoffLimitExceeded",
        "DeadlineExceeded" => "DeadlineExceeded",
        "PodFailurePolicy" => "PodFailurePolicy",
        "MaxFailedIndexesExceeded" => "MaxFailedIndexesExceeded",
        _ => "FailedIndexes",
    }
}

fn loss(a: &Pod, b: &Pod) -> Ordering {
    pods::deletion_order((a, 0), (b, 0))
}

fn wanted_active(job: &Job, facts: &Facts, status: &JobStatus, active: i32) -> i32 {
    let parallel = spec(job).parallelism.unwrap_or(1);
    // With the policy `Failed` a pod that is being deleted still holds its place.
    let leaving = if spec(job).pod_replacement_policy.as_deref() == Some("Failed") {
        facts.terminating
    } else {
        0
    };
    let done = succeeded(job, status);
    let wanted = match spec(job).completions {
        None if done > 0 => active,
        None => parallel,
        Some(completions) => (completions - done).min(parallel),
    };
    (wanted - leaving).max(0)
}

/// How long to wait before another pod is made, after failures.
fn back_off(facts: &Facts, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    let failures = u32::try_from(failed_count(status)).ok().filter(|count| *count > 0)?;
    let last = facts.last_failure?;
    let doubled = 2u32.saturating_pow(failures.saturating_sub(1).min(16));
    let delay = BACK_OFF_FIRST.saturating_mul(doubled).min(BACK_OFF_MAX);
    let waited = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    delay.checked_sub(waited).filter(|left| !left.is_zero())
}

fn free_indexes(job: &Job, facts: &Facts, status: &JobStatus, count: usize) -> Vec<i32> {
    let mut taken: BTreeSet<i32> = facts.completed.clone();
    taken.extend(facts.active.iter().filter_map(|pod| index_of(pod)));
    taken.extend(status.failed_indexes.as_deref().map(indexes::parse).unwrap_or_default());
    let completions = spec(job).completions.unwrap_or(0);
    (0..completions).filter(|index| !taken.contains(index)).take(count).collect()
}

fn make(job: &Job, index: Option<i32>, facts: &Facts) -> Pod {
    let mut pod = pods::from_template(namespace_of(job), &spec(job).template, controller_ref(job));
    pod.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
    let Some(index) = index else {
        pod.metadata.generate_name = Some(format!("{}-", name_of(job)));
        return pod;
    };
    pod.metadata.generate_name = Some(format!("{}-{index}-", name_of(job)));
    pod.metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index.to_string());
    if spec(job).backoff_limit_per_index.is_some() {
        let failures = facts.failures_by_index.get(&index).copied().unwrap_or(0);
        annotations.insert(INDEX_FAILURES.to_owned(), failures.to_string());
        annotations.entry(INDEX_IGNORED.to_owned()).or_insert_with(|| "0".to_owned());
    }
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname.get_or_insert_with(|| format!("{}-{index}", name_of(job)));
    let all = pod_spec.containers.iter_mut().chain(pod_spec.init_containers.iter_mut().flatten());
    for container in all {
        let env = container.env.get_or_insert_default();
        if env.iter().any(|one| one.name == "JOB_COMPLETION_INDEX") {
            continue;
        }
        env.push(EnvVar {
            name: "JOB_COMPLETION_INDEX".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    field_path: format!("metadata.labels['{INDEX}']"),
                    ..ObjectFieldSelector::default()
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        });
    }
    pod
}
