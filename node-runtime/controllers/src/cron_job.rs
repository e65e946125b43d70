//! CronJob: makes a Job at each time of a schedule.
//!
//! The one controller that wakes by the clock: after each look it sleeps until the next time of
//! the schedule.

mod schedule;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::SignedDuration;
use kube::Client;
use kube::api::DeleteParams;
use kube::{Api, Resource};
use minik_client::{ApiErrorExt, EventRecorder, Level, said};
use minik_reconcile::{Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue};

use crate::cron_job::schedule::Schedule;
use crate::job;
use crate::owned::{controller_ref, is_controlled_by};
use crate::wiring::{
    Running, Wiring, enqueue_controller, enqueue_each, name_of, namespace_of, now,
};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "cronjob-controller";

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Missed times after which something is wrong with the clock.
const MISSED_MAX: usize = 100;
/// Finished Jobs that are kept when the CronJob does not say.
const SUCCESSFUL_KEPT: i32 = 3;
const FAILED_KEPT: i32 = 1;

#[derive(Clone)]
struct Context {
    client: Client,
    events: EventRecorder,
    cron_jobs: Cache<CronJob>,
    jobs: Cache<Job>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let client = wiring.client(NAME);
    let context = Context {
        events: wiring.events(&client, NAME),
        client,
        cron_jobs: wiring.caches.watch(),
        jobs: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.cron_jobs, &queue);
    enqueue_controller(&context.jobs, "CronJob", &queue);
    wiring.work(NAME, queue, context, reconcile)
}

fn spec(cron_job: &CronJob) -> &CronJobSpec {
    &cron_job.spec
}

type Event = (Level, &'static str, String);

/// What one round writes.
#[derive(Debug, Default)]
struct Plan {
    /// Finished Jobs beyond the limits, and running ones that are replaced.
    delete: Vec<Change<Job>>,
    /// The Job that is due, and its time.
    create: Option<(Box<Job>, Timestamp)>,
    status: CronJobStatus,
    events: Vec<Event>,
    /// When the next time comes.
    next: Option<Duration>,
}

/// Decides one round.
fn plan(cron_job: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let mut plan = Plan { status: tidy_status(cron_job, jobs), ..Plan::default() };
    plan.delete = outdated(cron_job, jobs);
    if cron_job.is_terminating() || spec(cron_job).suspend == Some(true) {
        return plan;
    }
    let zone = match zone(cron_job) {
        Ok(zone) => zone,
        Err(message) => {
            plan.events.push((Level::Warning, "UnknownTimeZone", message));
            return plan;
        }
    };
    let schedule: Schedule = match spec(cron_job).schedule.parse() {
        Ok(schedule) => schedule,
        Err(bad) => {
            plan.events.push((Level::Warning, "UnparseableSchedule", format!("{bad}")));
            return plan;
        }
    };
    if let Some(at) = schedule.next(now, &zone) {
        let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        plan.next = Some(wait + Duration::from_millis(100));
    }
    if let Some((due, missed)) = due(cron_job, &schedule, &zone, now) {
        if missed >= MISSED_MAX {
            let message = format!(
                "too many missed start times: at least {missed}. Set or \
                decrease .spec.startingDeadlineSeconds or check clock skew"
            );
            plan.events.push((Level::Warning, "TooManyMissedTimes", message));
        }
        plan.make(cron_job, jobs, due, now);
    }
    plan
}

fn zone(cron_job: &CronJob) -> Result<TimeZone, String> {
    match spec(cron_job).time_zone.as_deref() {
        None | Some("") => Ok(TimeZone::UTC),
        Some(name) => {
            TimeZone::get(name).map_err(|_| format!("invalid timeZone: {name:?} is not known"))
        }
    }
}

/// The time that is due and has no Job yet, and how many were missed.
fn due(
    cron_job: &CronJob,
    schedule: &Schedule,
    zone: &TimeZone,
    now: Timestamp,
) -> Option<(Timestamp, usize)> {
    let last = cron_job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let since = last.or(cron_job.metadata.creation_timestamp.as_ref())?.0;
    let since = match spec(cron_job).starting_deadline_seconds {
        Some(seconds) => since.max(now - SignedDuration::from_secs(seconds)),
        None => since,
    };
    schedule.last_missed(since, now, zone, MISSED_MAX)
}

impl Plan {
    /// The Job of the time `due`, unless one that still runs is in the way.
    fn make(&mut self, cron_job: &CronJob, jobs: &[Arc<Job>], due: Timestamp, now: Timestamp) {
        let running: Vec<&Arc<Job>> = jobs.iter().filter(|job| !job::is_finished(job)).collect();
        let name = job_name(cron_job, due);
        if jobs.iter().any(|job| name_of(&**job) == name) {
            return; // Made already; the status has not followed yet.
        }
        match spec(cron_job).concurrency_policy.as_deref() {
            Some("Forbid") if !running.is_empty() => {
                let message = "Not starting job because prior execution is running and \
                    concurrency policy is Forbid";
                self.events.push((Level::Normal, "JobAlreadyActive", message.to_owned()));
                return;
            }
            Some("Replace") => {
                self.delete.extend(running.iter().map(|job| Change::delete(&***job)));
                self.status.active = None;
            }
            _ => {}
        }
        if let Some(seconds) = spec(cron_job).starting_deadline_seconds
            && now.duration_since(due) > SignedDuration::from_secs(seconds)
        {
            let message = format!("Missed scheduled time to start a job: {due}");
            self.events.push((Level::Warning, "MissSchedule", message));
            return;
        }
        self.create = Some((Box::new(job_of(cron_job, &name, due)), due));
    }
}

fn job_name(cron_job: &CronJob, due: Timestamp) -> String {
    format!("{}-{}", name_of(cron_job), due.as_second() / 60)
}

fn job_of(cron_job: &CronJob, name: &str, due: Timestamp) -> Job {
    let template = &spec(cron_job).job_template;
    let meta = template.metadata.clone().unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    let zone = zone(cron_job).unwrap_or(TimeZone::UTC);
    let text = due.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    annotations.insert(SCHEDULED_AT.to_owned(), text.replace("+00:00", "Z"));
    Job {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace_of(cron_job).to_owned()),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_ref(cron_job)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The status without Jobs that have ended or are gone, and with the time of the last success.
fn tidy_status(cron_job: &CronJob, jobs: &[Arc<Job>]) -> CronJobStatus {
    let mut status = cron_job.status.clone().unwrap_or_default();
    let running = jobs.iter().filter(|job| !job::is_finished(job) && !job.is_terminating());
    let mut active: Vec<ObjectReference> = running.map(|job| reference(job)).collect();
    active.sort_by(|a, b| a.name.cmp(&b.name));
    status.active = (!active.is_empty()).then_some(active);
    let successes = jobs
        .iter()
        .filter_map(|job| job.status.as_ref()?.completion_time.as_ref().map(|time| time.0));
    let before = status.last_successful_time.as_ref().map(|time| time.0);
    status.last_successful_time = successes.max().max(before).map(Time);
    status
}

fn reference(job: &Job) -> ObjectReference {
    // Without resourceVersion: it would change the status with every change of the Job.
    job.object_ref(&())
}

/// Finished Jobs beyond what is kept, oldest first.
fn outdated(cron_job: &CronJob, jobs: &[Arc<Job>]) -> Vec<Change<Job>> {
    let spec = spec(cron_job);
    let successful = spec.successful_jobs_history_limit.unwrap_or(SUCCESSFUL_KEPT);
    let failed = spec.failed_jobs_history_limit.unwrap_or(FAILED_KEPT);
    let beyond = |well: bool, kept: i32| {
        let mut ended: Vec<&Arc<Job>> = jobs
            .iter()
            .filter(|job| job::is_finished(job) && !job.is_terminating())
            .filter(|job| job::is_complete(job) == well)
            .collect();
        ended.sort_by_key(|job| {
            job.status.as_ref().and_then(|status| status.start_time.as_ref().map(|time| time.0))
        });
        let surplus = ended.len().saturating_sub(usize::try_from(kept).unwrap_or(0));
        ended.into_iter().take(surplus).map(|job| Change::delete(&**job)).collect::<Vec<_>>()
    };
    let mut changes = beyond(true, successful);
    changes.extend(beyond(false, failed));
    changes
}

/// Reconciles one CronJob.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(cron_job) = ctx.cron_jobs.get(&key) else { return Ok(Requeue::WhenChanged) };
    let mut jobs = ctx.jobs.owned_by(cron_job.uid_str());
    jobs.retain(|job| is_controlled_by(&**job, cron_job.uid_str()));
    let plan = plan(&cron_job, &jobs, now());
    for (level, reason, message) in plan.events {
        ctx.events.record(&*cron_job, level, reason, message);
    }
    for change in &plan.delete {
        delete(&ctx.client, change).await?;
    }
    let mut status = plan.status;
    if let Some((job, due)) = plan.create {
        match Change::Create(job).apply(&ctx.client).await {
            Ok(Some(job)) => {
                ctx.jobs.caught_up(&job).await?;
                let message = format!("Created job {}", name_of(&job));
                ctx.events.record(&*cron_job, Level::Normal, "SuccessfulCreate", message);
                status.active.get_or_insert_default().push(reference(&job));
            }
            Ok(None) => {}
            Err(refused) if refused.error.is_already_exists() => {}
            Err(refused) if refused.error.is_namespace_terminating() => {
                return Ok(Requeue::WhenChanged);
            }
            Err(refused) => {
                let message = format!("Error creating job: {}", said(&refused.error));
                ctx.events.record(&*cron_job, Level::Warning, "FailedCreate", message);
                return Err(refused.into());
            }
        }
        status.last_schedule_time = Some(Time(due));
    }
    if cron_job.status.as_ref().unwrap_or(&CronJobStatus::default()) != &status {
        let mut written = (*cron_job).clone();
        written.status = Some(status);
        match Change::ReplaceStatus(Box::new(written)).apply(&ctx.client).await {
            Err(gone) if gone.error.is_not_found() => return Ok(Requeue::WhenChanged),
            answer => ctx.cron_jobs.caught_up(&answer?.unwrap_or_default()).await?,
        }
    }
    Ok(plan.next.map_or(Requeue::WhenChanged, Requeue::After))
}

/// Deletes a Job together with its pods.
async fn delete(client: &Client, change: &Change<Job>) -> Result<(), ReconcileError> {
    let Change::Delete { key, .. } = change else { return Ok(()) };
    let jobs: Api<Job> = Api::namespaced(client.clone(), &key.namespace);
    match jobs.delete(&key.name, &DeleteParams::background()).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => Ok(answer.map(|_| ())?),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn cron_job(extra: Value) -> CronJob {
        let mut spec = json!({ "schedule": "0 * * * *", "jobTemplate": { "spec": { "template": {
            "spec": { "containers": [{ "name": "c", "image": "i" }] } } } } });
        for (name, value) in extra.as_object().expect("an object") {
            spec[name] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": { "name": "report", "namespace": "default", "uid": "cj",
                          "creationTimestamp": "2026-01-01T00:10:00Z" },
            "spec": spec,
        }))
        .expect("a cron job")
    }

    /// `a` runs, `b+` is complete, `c-` has failed.
    fn some_jobs(names: &str) -> Vec<Arc<Job>> {
        let parse = |(index, name): (usize, &str)| {
            let condition = |kind: &str| json!([{ "type": kind, "status": "True" }]);
            let conditions = match name.chars().last() {
                Some('+') => condition("Complete"),
                Some('-') => condition("Failed"),
                _ => json!([]),
            };
            serde_json::from_value(json!({
                "metadata": { "name": name.trim_end_matches(['+', '-']), "namespace": "default",
                              "uid": name },
                "status": { "conditions": conditions,
                            "startTime": format!("2026-01-01T00:{index:02}:00Z") },
            }))
            .map(Arc::new)
            .expect("a job")
        };
        names.split_whitespace().enumerate().map(parse).collect()
    }

    fn check(extra: Value, jobs: &str, at: &str, expected: &Expect) {
        let now = format!("2026-01-01T{at}Z").parse().expect("a time");
        let plan = plan(&cron_job(extra), &some_jobs(jobs), now);
        let mut lines: Vec<String> = plan
            .delete
            .iter()
            .map(|change| match change {
                Change::Delete { key, .. } => format!("delete {}", key.name),
                other => format!("{other:?}"),
            })
            .collect();
        lines.extend(plan.create.map(|(job, due)| format!("create {} due {due}", name_of(&*job))));
        lines.extend(plan.events.iter().map(|(_, reason, _)| (*reason).to_owned()));
        lines.push(format!("next in {}s", plan.next.map_or(0, |next| next.as_secs())));
        expected.assert_eq(&lines.join(", "));
    }

    #[test]
    fn jobs_at_their_times() {
        check(json!({}), "", "00:30:00", &expect!["next in 1800s"]);
        check(
            json!({}),
            "",
            "01:00:00",
            &expect!["create report-29453820 due 2026-01-01T01:00:00Z, next in 3600s"],
        );
        check(
            json!({}),
            "",
            "03:20:00",
            &expect!["create report-29453940 due 2026-01-01T03:00:00Z, next in 2400s"],
        );
        check(json!({ "suspend": true }), "", "03:20:00", &expect!["next in 0s"]);
        check(
            json!({ "schedule": "nonsense" }),
            "",
            "03:20:00",
            &expect!["UnparseableSchedule, next in 0s"],
        );
        check(
            json!({ "timeZone": "Mars/Base" }),
            "",
            "03:20:00",
            &expect!["UnknownTimeZone, next in 0s"],
        );
    }

    #[test]
    fn one_in_the_way() {
        check(
            json!({ "concurrencyPolicy": "Allow" }),
            "a",
            "01:00:05",
            &expect!["create report-29453820 due 2026-01-01T01:00:00Z, next in 3595s"],
        );
        check(
            json!({ "concurrencyPolicy": "Forbid" }),
            "a",
            "01:00:05",
            &expect!["JobAlreadyActive, next in 3595s"],
        );
        check(
            json!({ "concurrencyPolicy": "Replace" }),
            "a",
            "01:00:05",
            &expect!["delete a, create report-29453820 due 2026-01-01T01:00:00Z, next in 3595s"],
        );
        check(json!({ "startingDeadlineSeconds": 60 }), "", "01:02:00", &expect!["next in 3480s"]);
    }

    #[test]
    fn history() {
        check(
            json!({}),
            "a+ b+ c+ d+ e- f- g",
            "00:30:00",
            &expect!["delete a, delete e, next in 1800s"],
        );
    }
}
