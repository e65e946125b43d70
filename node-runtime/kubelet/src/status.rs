//! From what the kubelet knows about a pod to what its status says. Pure.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::object::{self, Kind};
use crate::pod::container::{Exit, Now, Record};
use crate::spec::resources;

/// What is known of a pod.
pub(crate) struct View<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) records: &'a [Record],
    /// Runtime's name, the scheme of container ids.
    pub(crate) runtime: &'a str,
    pub(crate) host_ips: &'a [String],
    pub(crate) pod_ips: &'a [String],
    /// The sandbox with its network is up.
    pub(crate) sandbox_ready: bool,
    pub(crate) start_time: &'a Time,
    /// The pod ended, or was ended, by something else than its containers' exits.
    pub(crate) failure: Option<Failure>,
    /// No container will be started any more.
    pub(crate) ending: bool,
}

/// Why a pod failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// The status. Conditions hold only the kubelet's own ones, without transition times: whoever
/// writes the status merges them with what is there.
pub(crate) fn status(view: &View<'_>) -> PodStatus {
    let of = |kinds: &[Kind]| -> Option<Vec<ContainerStatus>> {
        let own = view.records.iter().filter(|record| kinds.contains(&record.spec.kind));
        let list: Vec<_> = own.map(|record| container_status(view, record)).collect();
        (!list.is_empty()).then_some(list)
    };
    let phase = phase(view);
    PodStatus {
        phase: Some(phase.into()),
        reason: view.failure.as_ref().map(|failure| failure.reason.clone()),
        message: view.failure.as_ref().map(|failure| failure.message.clone()),
        conditions: Some(conditions(view, phase)),
        host_ip: view.host_ips.first().cloned(),
        host_ips: Some(view.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: view.pod_ips.first().cloned(),
        pod_ips: (!view.pod_ips.is_empty())
            .then(|| view.pod_ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()),
        start_time: Some(view.start_time.clone()),
        qos_class: Some(resources::qos(object::spec(view.pod)).as_str().into()),
        init_container_statuses: of(&[Kind::Init, Kind::Sidecar]),
        container_statuses: of(&[Kind::App]),
        ephemeral_container_statuses: of(&[Kind::Ephemeral]),
        observed_generation: view.pod.metadata.generation,
        ..Default::default()
    }
}

/// Whether the init containers are behind the pod.
fn is_initialized(records: &[Record]) -> bool {
    let app_ran = records.iter().any(|record| record.spec.kind == Kind::App && record.here);
    app_ran || records.iter().all(is_init_done)
}

fn is_init_done(record: &Record) -> bool {
    match record.spec.kind {
        Kind::Init => record.exit().is_some_and(Exit::is_success),
        Kind::Sidecar => record.running().is_some() && record.started,
        Kind::App | Kind::Ephemeral => true,
    }
}

fn phase(view: &View<'_>) -> &'static str {
    if view.failure.is_some() {
        return "Failed";
    }
    // What has ended stays so.
    match object::phase(view.pod) {
        "Succeeded" => return "Succeeded",
        "Failed" => return "Failed",
        _ => {}
    }
    let policy = object::restart_policy(view.pod);
    let init_failed = view.records.iter().any(|record| {
        record.spec.kind == Kind::Init
            && record.exit().is_some_and(|exit| {
                !exit.is_success()
                    && (view.ending || !crate::pod::plan::restarts(record, exit, policy))
            })
    });
    let apps: Vec<&Record> =
        view.records.iter().filter(|record| record.spec.kind == Kind::App).collect();
    let is_final = |record: &&&Record| {
        record
            .exit()
            .is_some_and(|exit| view.ending || !crate::pod::plan::restarts(record, exit, policy))
    };
    if !is_initialized(view.records) {
        return if init_failed { "Failed" } else { "Pending" };
    }
    if !apps.is_empty() && apps.iter().all(|record| is_final(&record)) {
        let good = apps.iter().all(|record| record.exit().is_some_and(Exit::is_success));
        return if good { "Succeeded" } else { "Failed" };
    }
    let ran = |record: &&Record| {
        matches!(record.now, Now::Running(_) | Now::Exited(_)) || record.last.is_some()
    };
    if apps.iter().all(ran) { "Running" } else { "Pending" }
}

/// The text of a waiting container without further trouble.
fn idle_reason(view: &View<'_>, record: &Record) -> &'static str {
    match record.spec.kind {
        Kind::Init | Kind::Sidecar if record.now == Now::Starting => "ContainerCreating",
        Kind::Init | Kind::Sidecar => "PodInitializing",
        Kind::App | Kind::Ephemeral if is_initialized(view.records) => "ContainerCreating",
        Kind::App | Kind::Ephemeral => "PodInitializing",
    }
}

fn container_status(view: &View<'_>, record: &Record) -> ContainerStatus {
    let waiting = |reason: &str, message: Option<String>| ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message }),
        ..Default::default()
    };
    let terminated = |exit: &Exit| ContainerState {
        terminated: Some(terminated_state(view.runtime, exit)),
        ..Default::default()
    };
    let trouble = record.trouble.as_ref().filter(|_| !view.ending);
    let (state, last) = match (&record.now, trouble) {
        (Now::Running(running), _) => {
            let started_at = running.started_at.clone();
            let running = Some(ContainerStateRunning { started_at });
            let state = ContainerState { running, ..Default::default() };
            (state, record.last.as_ref())
        }
        (Now::Exited(exit), None) => (terminated(exit), record.last.as_ref()),
        (Now::Exited(exit), Some(trouble)) => {
            (waiting(&trouble.reason, Some(trouble.message.clone())), Some(exit))
        }
        (Now::New | Now::Starting, Some(trouble)) => {
            (waiting(&trouble.reason, Some(trouble.message.clone())), record.last.as_ref())
        }
        (Now::New | Now::Starting, None) => {
            (waiting(idle_reason(view, record), None), record.last.as_ref())
        }
    };
    let id = match &record.now {
        Now::Running(running) => Some(running.id.clone()),
        Now::Exited(exit) => Some(exit.id.clone()),
        Now::New | Now::Starting => record.last.as_ref().map(|exit| exit.id.clone()),
    };
    let spec = &record.spec.container;
    ContainerStatus {
        name: spec.name.clone(),
        state: Some(state),
        last_state: Some(last.map(terminated).unwrap_or_default()),
        ready: is_ready(record),
        started: Some(record.running().is_some() && record.started),
        restart_count: record
            .attempt
            .map_or(0, |attempt| i32::try_from(attempt).unwrap_or(i32::MAX)),
        image: match record.image.as_str() {
            "" => spec.image.clone().unwrap_or_default(),
            image => image.to_owned(),
        },
        image_id: record.image_id.clone(),
        container_id: id.map(|id| format!("{}://{id}", view.runtime)),
        resources: match record.running() {
            Some(running) => Some(running.resources.clone()),
            None => spec.resources.clone(),
        },
        allocated_resources: spec.resources.as_ref().and_then(|it| it.requests.clone()),
        ..Default::default()
    }
}

fn is_ready(record: &Record) -> bool {
    match record.spec.kind {
        Kind::Init => record.exit().is_some_and(Exit::is_success),
        Kind::Sidecar | Kind::App => record.running().is_some() && record.ready,
        Kind::Ephemeral => false,
    }
}

fn terminated_state(runtime: &str, exit: &Exit) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: Some(format!("{runtime}://{}", exit.id)),
        exit_code: exit.code,
        reason: Some(exit.reason.clone()),
        message: exit.message.clone(),
        started_at: exit.started_at.clone(),
        finished_at: exit.finished_at.clone(),
        signal: None,
    }
}

fn conditions(view: &View<'_>, phase: &str) -> Vec<PodCondition> {
    let generation = view.pod.metadata.generation;
    let condition = |kind: &str, not: Option<(&str, String)>| PodCondition {
        type_: kind.into(),
        status: if not.is_none() { "True" } else { "False" }.into(),
        reason: not.as_ref().map(|(reason, _)| (*reason).to_owned()),
        message: not.map(|(_, message)| message).filter(|message| !message.is_empty()),
        observed_generation: generation,
        ..Default::default()
    };
    let sandbox = (!view.sandbox_ready).then(|| ("", String::new()));
    let containers = containers_not_ready(view, phase);
    let ready = containers.clone().or_else(|| gates_not_ready(view.pod));
    let mut sandbox = condition("PodReadyToStartContainers", sandbox);
    sandbox.reason = None;
    let mut initialized = condition("Initialized", not_initialized(view));
    if phase == "Succeeded" && initialized.status == "True" {
        initialized.reason = Some("PodCompleted".into());
    }
    vec![sandbox, initialized, condition("Ready", ready), condition("ContainersReady", containers)]
}

fn not_initialized(view: &View<'_>) -> Option<(&'static str, String)> {
    if is_initialized(view.records) {
        return None;
    }
    let waiting = view.records.iter().filter(|record| !is_init_done(record));
    let message = format!("containers with incomplete status: [{}]", joined(waiting));
    Some(("ContainersNotInitialized", message))
}

fn containers_not_ready(view: &View<'_>, phase: &str) -> Option<(&'static str, String)> {
    match phase {
        "Succeeded" => return Some(("PodCompleted", String::new())),
        "Failed" => return Some(("PodFailed", String::new())),
        _ => {}
    }
    let counted = |record: &&Record| matches!(record.spec.kind, Kind::App | Kind::Sidecar);
    let unready: Vec<&Record> =
        view.records.iter().filter(counted).filter(|record| !is_ready(record)).collect();
    if unready.is_empty() {
        return None;
    }
    let message = format!("containers with unready status: [{}]", joined(unready.into_iter()));
    Some(("ContainersNotReady", message))
}

fn gates_not_ready(pod: &Pod) -> Option<(&'static str, String)> {
    let gates = object::spec(pod).readiness_gates.iter().flatten();
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut problems = Vec::new();
    for gate in gates {
        let kind = gate.condition_type.as_str();
        let found = conditions.into_iter().flatten().find(|condition| condition.type_ == kind);
        match found {
            Some(condition) if condition.status == "True" => {}
            Some(_) => {
                let text = format!("the status of pod readiness gate {kind:?} is not \"True\"");
                problems.push(text);
            }
            None => problems.push(format!(
                "corresponding condition of pod readiness gate {kind:?} does not exist."
            )),
        }
    }
    (!problems.is_empty()).then(|| ("ReadinessGatesNotReady", problems.join(", ")))
}

fn joined<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    records.map(Record::name).collect::<Vec<_>>().join(" ")
}
