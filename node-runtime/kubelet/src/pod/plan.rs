//! What a pod's containers need next. Pure: looks at the records and the clock it is given.

use k8s_openapi::api::core::v1::ContainerRestartRule;
use tokio::time::Instant;

use super::container::{Exit, Now, Record, Trouble};
use crate::object::Kind;
use crate::spec::names;

/// What to do with the containers, by their place in the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) start: Vec<usize>,
    /// To be stopped because their specification changed.
    pub(crate) replace: Vec<usize>,
    /// Waits to show: the container, why, until when.
    pub(crate) wait: Vec<(usize, Trouble)>,
    /// When to look again though nothing happens.
    pub(crate) wake_at: Option<Instant>,
    pub(crate) verdict: Verdict,
}

/// Where the pod as a whole stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Containers run or will.
    #[default]
    Going,
    /// Nothing will run any more, all went well.
    Succeeded,
    /// Nothing will run any more, something failed.
    Failed,
}

/// What one container needs.
#[derive(Clone, Debug, PartialEq)]
enum Need {
    Nothing,
    Start,
    StartAt(Instant),
    Final { success: bool },
}

/// Decides about all containers; `policy` is the pod's restart policy.
pub(crate) fn plan(records: &[Record], policy: &str, now: Instant) -> Plan {
    let mut plan = Plan::default();
    match init_phase(records, policy, now, &mut plan) {
        InitPhase::Failed => plan.verdict = Verdict::Failed,
        InitPhase::Going => {}
        InitPhase::Done => app_phase(records, policy, now, &mut plan),
    }
    plan.replace = (0..records.len()).filter(|index| is_outdated(&records[*index])).collect();
    plan
}

enum InitPhase {
    Going,
    Done,
    Failed,
}

/// Init containers run one after the other; sidecars start in their turn and stay.
fn init_phase(records: &[Record], policy: &str, now: Instant, plan: &mut Plan) -> InitPhase {
    // Once a container of the pod proper ran in this sandbox, the init ones are behind us.
    let was_done = records.iter().any(|record| record.spec.kind == Kind::App && record.here);
    for (index, record) in records.iter().enumerate() {
        match record.spec.kind {
            Kind::Sidecar => {
                let need = need(record, policy, now);
                note(plan, index, record, &need);
                let is_up = record.running().is_some() && record.started;
                if !was_done && !is_up {
                    return InitPhase::Going;
                }
            }
            Kind::Init if was_done => {}
            Kind::Init => match need(record, policy, now) {
                Need::Final { success: true } => {}
                Need::Final { success: false } => return InitPhase::Failed,
                need @ (Need::Nothing | Need::Start | Need::StartAt(_)) => {
                    note(plan, index, record, &need);
                    return InitPhase::Going;
                }
            },
            Kind::App | Kind::Ephemeral => {}
        }
    }
    InitPhase::Done
}

fn app_phase(records: &[Record], policy: &str, now: Instant, plan: &mut Plan) {
    let mut all_final = true;
    let mut all_good = true;
    for (index, record) in records.iter().enumerate() {
        match record.spec.kind {
            Kind::App => {
                let need = need(record, policy, now);
                match need {
                    Need::Final { success } => all_good &= success,
                    Need::Nothing | Need::Start | Need::StartAt(_) => all_final = false,
                }
                note(plan, index, record, &need);
            }
            Kind::Ephemeral => {
                let need = need(record, policy, now);
                note(plan, index, record, &need);
            }
            Kind::Init | Kind::Sidecar => {}
        }
    }
    if all_final {
        plan.verdict = if all_good { Verdict::Succeeded } else { Verdict::Failed };
    }
}

/// Writes a container's need into the plan.
fn note(plan: &mut Plan, index: usize, record: &Record, need: &Need) {
    match need {
        Need::Nothing | Need::Final { .. } => {}
        Need::Start => plan.start.push(index),
        Need::StartAt(at) => {
            plan.wake_at = Some(plan.wake_at.map_or(*at, |wake| wake.min(*at)));
            if record.trouble.is_none() {
                plan.wait.push((index, crash_loop(record, *at)));
            }
        }
    }
}

fn crash_loop(record: &Record, retry_at: Instant) -> Trouble {
    Trouble {
        reason: "CrashLoopBackOff".into(),
        message: crash_message(record),
        retry_at,
        later: None,
    }
}

/// The text of a container that waits because it keeps crashing.
pub(crate) fn crash_message(record: &Record) -> String {
    format!(
        "back-off {} restarting failed container={}",
        show(record.crashes.delay()),
        record.name()
    )
}

/// A delay as Kubernetes writes it: `1m20s`.
fn show(delay: std::time::Duration) -> String {
    match delay.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}

fn need(record: &Record, policy: &str, now: Instant) -> Need {
    let waits = |at: Instant| if at > now { Need::StartAt(at) } else { Need::Start };
    match &record.now {
        Now::Starting | Now::Running(_) => Need::Nothing,
        Now::New => match &record.trouble {
            Some(trouble) => waits(trouble.retry_at),
            None => Need::Start,
        },
        Now::Exited(exit) if restarts(record, exit, policy) => match &record.trouble {
            Some(trouble) => waits(trouble.retry_at),
            None => waits(record.crashes.retry_at(exit.noticed)),
        },
        Now::Exited(exit) => Need::Final { success: exit.is_success() },
    }
}

/// Whether a container that exited so is started again.
pub(crate) fn restarts(record: &Record, exit: &Exit, policy: &str) -> bool {
    let own = &record.spec.container;
    match record.spec.kind {
        Kind::Sidecar => return true,
        Kind::Ephemeral => return false,
        Kind::Init | Kind::App => {}
    }
    let rules = own.restart_policy_rules.iter().flatten();
    if rules.into_iter().any(|rule| rule_fits(rule, exit.code)) {
        return true;
    }
    match (own.restart_policy.as_deref().unwrap_or(policy), record.spec.kind) {
        ("Never", _) => false,
        ("Always", Kind::App) => true,
        _ => !exit.is_success(),
    }
}

fn rule_fits(rule: &ContainerRestartRule, code: i32) -> bool {
    let Some(codes) = &rule.exit_codes else { return false };
    let contains = codes.values.iter().flatten().any(|value| *value == code);
    rule.action == "Restart"
        && match codes.operator.as_str() {
            "In" => contains,
            "NotIn" => !contains,
            _ => false,
        }
}

fn is_outdated(record: &Record) -> bool {
    let wanted = || names::container_hash(&record.spec.container);
    record.running().is_some_and(|running| {
        !running.stopping && !running.hash.is_empty() && running.hash != wanted()
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
