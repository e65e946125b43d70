//! What a look at the pods of a Job says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use minik_reconcile::KeyOf;

use crate::job::policy::{Action, action_for};
use crate::job::{indexes, is_tracked, spec};
use crate::pods;

/// The completion index of a pod.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// How often pods of this index have failed before, on a pod.
pub(super) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Failures of this index that did not count, on a pod.
pub(super) const INDEX_IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Whether the Job numbers its pods.
pub(super) fn is_indexed(job: &Job) -> bool {
    spec(job).completion_mode.as_deref() == Some("Indexed")
}

/// The index of a pod, if it has a valid one.
pub(super) fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotation(INDEX).or_else(|| pod.label(INDEX))?.parse().ok().filter(|index| *index >= 0)
}

fn replaces_only_failed(job: &Job) -> bool {
    spec(job).pod_replacement_policy.as_deref() == Some("Failed")
        || spec(job).pod_failure_policy.is_some()
}

/// Everything a plan is made from.
pub(super) struct Facts {
    /// Pods that run or wait to run.
    pub(super) active: Vec<Arc<Pod>>,
    /// Of those, how many are ready.
    pub(super) ready: i32,
    /// Pods that are being deleted and have not ended.
    pub(super) terminating: i32,
    /// Ended pods that are not in the status yet.
    pub(super) new_succeeded: Vec<Arc<Pod>>,
    pub(super) new_failed: Vec<Arc<Pod>>,
    /// Ended pods that can be let go: in the status, or of no account.
    pub(super) noted: Vec<Arc<Pod>>,
    /// Unique ids in the status whose pods have been let go: they are counted now.
    pub(super) released: BTreeSet<String>,
    /// For an indexed Job.
    pub(super) completed: BTreeSet<i32>,
    pub(super) failures_by_index: BTreeMap<i32, i32>,
    /// What the failure policy says, for the first failed pod it says something drastic about.
    pub(super) verdict: Option<(Action, String)>,
    /// When the last failed pod ended, and how many in a row failed.
    pub(super) last_failure: Option<Timestamp>,
}

impl Facts {
    pub(super) fn of(job: &Job, mine: &[Arc<Pod>]) -> Facts {
        let noted = Noted::of(job);
        let mut facts = Facts {
            active: Vec::new(),
            ready: 0,
            terminating: 0,
            new_succeeded: Vec::new(),
            new_failed: Vec::new(),
            noted: Vec::new(),
            released: noted.all.clone(),
            completed: completed_before(job),
            failures_by_index: BTreeMap::new(),
            verdict: None,
            last_failure: None,
        };
        let limit = spec(job).completions.unwrap_or(i32::MAX);
        for pod in mine {
            if is_tracked(pod) {
                facts.released.remove(pod.uid_str());
            }
            facts.see(job, pod, &noted);
        }
        facts.completed.retain(|index| *index < limit);
        facts
    }

    fn see(&mut self, job: &Job, pod: &Arc<Pod>, noted: &Noted) {
        let deleted = pod.is_terminating();
        let phase = pods::phase(pod);
        let failed =
            phase == "Failed" || (deleted && phase != "Succeeded" && !replaces_only_failed(job));
        if deleted && !pods::is_finished(pod) {
            self.terminating += 1;
        }
        if phase == "Succeeded" {
            self.completed.extend(index_of(pod));
        } else if failed {
            self.see_failure(job, pod);
        } else if !deleted {
            self.ready += i32::from(pods::is_ready(pod));
            self.active.push(pod.clone());
        }
        if !(phase == "Succeeded" || failed) || !is_tracked(pod) {
            return;
        }
        let does_not_count = failed && action_for(job, pod).0 == Action::Ignore;
        if noted.all.contains(pod.uid_str()) || does_not_count {
            self.noted.push(pod.clone());
        } else if phase == "Succeeded" {
            self.new_succeeded.push(pod.clone());
        } else {
            self.new_failed.push(pod.clone());
        }
    }

    fn see_failure(&mut self, job: &Job, pod: &Pod) {
        let (action, why) = action_for(job, pod);
        if matches!(action, Action::FailJob | Action::FailIndex) && self.verdict.is_none() {
            self.verdict = Some((action, why));
        }
        if let Some(index) = index_of(pod) {
            let count = |name: &str| -> i32 {
                pod.annotation(name).and_then(|text| text.parse().ok()).unwrap_or(0)
            };
            let counts = action != Action::Ignore;
            let now = count(INDEX_FAILURES) + i32::from(counts);
            let most = self.failures_by_index.entry(index).or_insert(0);
            *most = (*most).max(now);
            if action == Action::FailIndex {
                *most = i32::MAX;
            }
        }
        let ended = ended_at(pod);
        self.last_failure = self.last_failure.max(ended);
    }

    /// Restarts within pods that run on: with `OnFailure` a failure is a restart.
    pub(super) fn restarts(&self) -> i32 {
        let statuses = self.active.iter().filter_map(|pod| pod.status.as_ref());
        let containers = statuses.flat_map(|status| {
            let main = status.container_statuses.iter().flatten();
            main.chain(status.init_container_statuses.iter().flatten())
        });
        containers.map(|container| container.restart_count).sum()
    }
}

/// What the status notes but has not counted.
struct Noted {
    all: BTreeSet<String>,
}

impl Noted {
    fn of(job: &Job) -> Noted {
        let noted = job.status.as_ref().and_then(|status| status.uncounted_terminated_pods.clone());
        let noted = noted.unwrap_or_default();
        let all = noted.succeeded.into_iter().flatten().chain(noted.failed.into_iter().flatten());
        Noted { all: all.collect() }
    }
}

fn completed_before(job: &Job) -> BTreeSet<i32> {
    let text = job.status.as_ref().and_then(|status| status.completed_indexes.as_deref());
    text.map(indexes::parse).unwrap_or_default()
}

/// When the last container of an ended pod ended.
pub(super) fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let ends = containers.filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        ended.finished_at.as_ref().map(|time| time.0)
    });
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let last_change = || {
        let conditions = status.conditions.iter().flatten();
        let changes = conditions.filter_map(|one| one.last_transition_time.as_ref());
        changes.map(|time| time.0).max()
    };
    ends.max().or(deleted).or_else(last_change)
}
