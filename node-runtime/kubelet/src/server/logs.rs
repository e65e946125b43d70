//! `kubectl logs`: a container's log, from a place in it, to its end or as it grows.

mod filter;
mod reader;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::header;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use minik_cri::v1;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::Served;
use super::target::Refusal;
use crate::kubelet::PodList;
use crate::object;
use crate::spec::names;
use filter::Filter;

/// Pieces that wait to be sent.
const PIECES_MAX: usize = 16;

/// What to show.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Options {
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail_lines: Option<i64>,
    limit_bytes: Option<u64>,
    since_seconds: Option<i64>,
    since_time: Option<String>,
    stream: Option<String>,
}

/// A run of a container with its log.
struct Run {
    id: String,
    log: PathBuf,
    is_running: bool,
}

pub(super) async fn serve(
    State(served): State<Served>,
    Path((namespace, name, container)): Path<(String, String, String)>,
    Query(options): Query<Options>,
) -> Response {
    match open(&served, &namespace, &name, &container, &options).await {
        Ok(body) => ([(header::CONTENT_TYPE, "text/plain")], body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn open(
    served: &Served,
    namespace: &str,
    name: &str,
    container: &str,
    options: &Options,
) -> Result<Body, Refusal> {
    let pod = served
        .pod(namespace, name)
        .ok_or_else(|| Refusal::NotFound(format!("pod \"{namespace}/{name}\" does not exist")))?;
    if !object::containers(&pod).iter().any(|spec| spec.container.name == container) {
        let text = format!("container \"{container}\" in pod \"{name}\" is not available");
        return Err(Refusal::BadRequest(text));
    }
    let run = find_run(served, &pod, container, options.previous).await?;
    let filter = filter(options)?;
    let file = match reader::Reader::open(&run.log, options.tail_lines, options.follow).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Body::empty()),
        Err(error) => return Err(Refusal::Internal(format!("{}: {error}", run.log.display()))),
    };
    let (sender, receiver) = mpsc::channel::<Bytes>(PIECES_MAX);
    let ended = options.follow.then(|| End {
        pods: served.pods.clone(),
        uid: object::uid(&pod).to_owned(),
        id: run.id,
        is_running: run.is_running,
    });
    tokio::spawn(async move {
        if let Err(error) = file.send(filter, ended, sender).await {
            tracing::debug!(%error, "log not read to its end");
        }
    });
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), receiver))
    });
    Ok(Body::from_stream(pieces))
}

fn filter(options: &Options) -> Result<Filter, Refusal> {
    let bad = |text: String| Refusal::BadRequest(text);
    let since_time = options.since_time.as_deref().filter(|text| !text.is_empty());
    let since = match (options.since_seconds, since_time) {
        (Some(seconds), _) => {
            let seconds = u64::try_from(seconds)
                .map_err(|_| bad(format!("sinceSeconds must not be negative: {seconds}")))?;
            Timestamp::now().checked_sub(Duration::from_secs(seconds)).ok()
        }
        (None, Some(text)) => {
            let time = text.parse().map_err(|_| bad(format!("sinceTime is no time: {text}")))?;
            Some(time)
        }
        (None, None) => None,
    };
    Ok(Filter::new(since, options.timestamps, options.limit_bytes, options.stream.as_deref()))
}

/// The run whose log is asked for: the newest, or the one before it.
async fn find_run(
    served: &Served,
    pod: &Pod,
    container: &str,
    previous: bool,
) -> Result<Run, Refusal> {
    let listed = served.shared.runtime.containers().await;
    let listed = listed.map_err(|error| Refusal::Internal(error.to_string()))?;
    let label = |it: &v1::Container, key: &str| it.labels.get(key).cloned().unwrap_or_default();
    let mut runs: Vec<v1::Container> = listed
        .into_iter()
        .filter(|it| {
            label(it, names::POD_UID) == object::uid(pod)
                && label(it, names::CONTAINER_NAME) == container
        })
        .collect();
    runs.sort_by_key(|it| std::cmp::Reverse(it.created_at));
    let name = object::name(pod);
    let Some(run) = runs.into_iter().nth(usize::from(previous)) else {
        return Err(Refusal::BadRequest(if previous {
            format!("previous terminated container \"{container}\" in pod \"{name}\" not found")
        } else {
            let reason = waiting_reason(pod, container);
            format!("container \"{container}\" in pod \"{name}\" is waiting to start: {reason}")
        }));
    };
    let status = served.shared.runtime.container_status(&run.id).await;
    let status = status.map_err(|error| Refusal::Internal(error.to_string()))?;
    Ok(Run {
        is_running: status.state() == v1::ContainerState::ContainerRunning,
        id: run.id,
        log: PathBuf::from(status.log_path),
    })
}

fn waiting_reason(pod: &Pod, container: &str) -> String {
    let waiting = statuses(pod)
        .find(|status| status.name == container)
        .and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match waiting.as_deref() {
        Some("ErrImagePull" | "ImagePullBackOff") => "trying and failing to pull image".into(),
        Some(reason) => reason.to_owned(),
        None => "ContainerCreating".into(),
    }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let lists = [
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ];
        lists.into_iter().flatten().flatten()
    })
}

/// Knows when a run that is followed has ended.
pub(super) struct End {
    pods: watch::Receiver<PodList>,
    uid: String,
    id: String,
    is_running: bool,
}

impl End {
    /// Returns once the run has ended, by what the pod's status says.
    async fn reached(&mut self) {
        if !self.is_running {
            return;
        }
        let (uid, id) = (self.uid.clone(), self.id.clone());
        let ended = |pods: &PodList| has_ended(pods.get(&uid), &id);
        // The kubelet itself ends: so does the log.
        drop(self.pods.wait_for(ended).await);
        self.is_running = false;
    }
}

/// Whether the pod says that the run is over: ended, or followed by another.
fn has_ended(pod: Option<&Arc<Pod>>, id: &str) -> bool {
    let Some(pod) = pod else { return true };
    let is_last = |status: &&ContainerStatus| {
        let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        last.and_then(|last| last.container_id.as_deref()).is_some_and(|last| last.ends_with(id))
    };
    let is_over = |status: &&ContainerStatus| {
        status.container_id.as_deref().is_some_and(|present| present.ends_with(id))
            && status.state.as_ref().is_some_and(|state| state.running.is_none())
    };
    statuses(pod).any(|status| is_last(&status) || is_over(&status))
}
