//! What kubectl shows of a pod: how many containers are ready, one word of status, restarts.

use ::time::OffsetDateTime;
use minik_meta::{object, time};
use serde_json::{Value, json};

use crate::resource::Resource;

/// What one pod comes down to.
struct Summary {
    ready: i64,
    total: i64,
    reason: String,
    restarts: i64,
    last_restart: Option<OffsetDateTime>,
}

pub(super) fn ready(pod: &Value, _: OffsetDateTime) -> Value {
    let summary = summarize(pod);
    format!("{}/{}", summary.ready, summary.total).into()
}

pub(super) fn status(pod: &Value, _: OffsetDateTime) -> Value {
    summarize(pod).reason.into()
}

pub(super) fn restarts(pod: &Value, now: OffsetDateTime) -> Value {
    let summary = summarize(pod);
    match summary.last_restart {
        Some(at) if summary.restarts != 0 => {
            let ago = std::time::Duration::try_from(now - at).unwrap_or_default();
            format!("{} ({} ago)", summary.restarts, time::human_duration(ago)).into()
        }
        _ => summary.restarts.to_string().into(),
    }
}

pub(super) fn ip(pod: &Value, _: OffsetDateTime) -> Value {
    let first = object::list(pod, &["status", "podIPs"]).first();
    match first.map_or("", |ip| object::text(ip, &["ip"])) {
        "" => match object::text(pod, &["status", "podIP"]) {
            "" => "<none>".into(),
            ip => ip.into(),
        },
        ip => ip.into(),
    }
}

pub(super) fn gates(pod: &Value, _: OffsetDateTime) -> Value {
    let gates = object::list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let ready = gates.iter().filter(|gate| condition(pod, object::text(gate, &["conditionType"])));
    format!("{}/{}", ready.count(), gates.len()).into()
}

/// Finished pods are marked, so that clients can hide them.
pub(super) fn row_conditions(resource: &Resource, pod: &Value) -> Option<Value> {
    if !resource.is("", "Pod") {
        return None;
    }
    let (reason, message) = match object::text(pod, &["status", "phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

fn summarize(pod: &Value) -> Summary {
    let phase = object::text(pod, &["status", "phase"]);
    let reason = match object::text(pod, &["status", "reason"]) {
        "" => phase,
        reason => reason,
    };
    let inits = object::list(pod, &["spec", "initContainers"]);
    let sidecars = inits.iter().filter(|one| is_sidecar(one)).count();
    let containers = object::list(pod, &["spec", "containers"]).len();
    let mut summary = Summary {
        ready: 0,
        total: (containers + sidecars) as i64,
        reason: reason.to_owned(),
        restarts: 0,
        last_restart: None,
    };
    if scheduling_gated(pod) {
        summary.reason = "SchedulingGated".to_owned();
    }
    let sidecar_restarts = init_containers(pod, inits, &mut summary);
    let initializing = sidecar_restarts.initializing;
    if !initializing || condition(pod, "Initialized") {
        summary.restarts = sidecar_restarts.count;
        summary.last_restart = sidecar_restarts.last;
        main_containers(pod, &mut summary);
    }
    if object::deletion_timestamp(pod).is_some() {
        if object::text(pod, &["status", "reason"]) == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

struct Sidecars {
    initializing: bool,
    count: i64,
    last: Option<OffsetDateTime>,
}

/// Looks at init containers up to the first that is not done; that one gives the status.
fn init_containers(pod: &Value, inits: &[Value], summary: &mut Summary) -> Sidecars {
    let mut sidecars = Sidecars { initializing: false, count: 0, last: None };
    let statuses = object::list(pod, &["status", "initContainerStatuses"]);
    for (index, status) in statuses.iter().enumerate() {
        let name = object::text(status, &["name"]);
        let sidecar =
            inits.iter().any(|one| object::text(one, &["name"]) == name && is_sidecar(one));
        let (count, last) = restarts_of(status);
        summary.restarts += count;
        summary.last_restart = summary.last_restart.max(last);
        if sidecar {
            sidecars.count += count;
            sidecars.last = sidecars.last.max(last);
        }
        let terminated = object::at(status, &["state", "terminated"]);
        let exit_code = terminated.and_then(|state| object::integer(state, &["exitCode"]));
        if terminated.is_some() && exit_code.unwrap_or_default() == 0 {
            continue;
        }
        if sidecar && object::boolean(status, &["started"]) {
            summary.ready += i64::from(object::boolean(status, &["ready"]));
            continue;
        }
        let waiting = object::text(status, &["state", "waiting", "reason"]);
        summary.reason = match terminated {
            Some(state) => format!("Init:{}", termination(state)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => {
                format!("Init:{waiting}")
            }
            None => format!("Init:{index}/{}", inits.len()),
        };
        sidecars.initializing = true;
        break;
    }
    sidecars
}

fn main_containers(pod: &Value, summary: &mut Summary) {
    let mut has_running = false;
    for status in object::list(pod, &["status", "containerStatuses"]).iter().rev() {
        let (count, last) = restarts_of(status);
        summary.restarts += count;
        summary.last_restart = summary.last_restart.max(last);
        let waiting = object::text(status, &["state", "waiting", "reason"]);
        let running = object::at(status, &["state", "running"]).is_some();
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if let Some(state) = object::at(status, &["state", "terminated"]) {
            summary.reason = termination(state);
        } else if running && object::boolean(status, &["ready"]) {
            has_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && has_running {
        let ready = condition(pod, "Ready");
        summary.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

fn termination(state: &Value) -> String {
    let number = |key: &str| object::integer(state, &[key]).unwrap_or_default();
    match (object::text(state, &["reason"]), number("signal")) {
        ("", 0) => format!("ExitCode:{}", number("exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn restarts_of(status: &Value) -> (i64, Option<OffsetDateTime>) {
    let count = object::integer(status, &["restartCount"]).unwrap_or_default();
    let last = object::text(status, &["lastState", "terminated", "finishedAt"]);
    (count, time::parse(last))
}

fn is_sidecar(container: &Value) -> bool {
    object::text(container, &["restartPolicy"]) == "Always"
}

fn condition(pod: &Value, kind: &str) -> bool {
    object::list(pod, &["status", "conditions"])
        .iter()
        .any(|one| object::text(one, &["type"]) == kind && object::text(one, &["status"]) == "True")
}

fn scheduling_gated(pod: &Value) -> bool {
    object::list(pod, &["status", "conditions"]).iter().any(|one| {
        object::text(one, &["type"]) == "PodScheduled"
            && object::text(one, &["reason"]) == "SchedulingGated"
    })
}
