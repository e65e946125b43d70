//! Records events about objects, as `kubectl describe` shows them.
//!
//! Recording never waits and never fails for the caller: an occurrence goes into a bounded queue
//! and one task writes it. A full queue loses events, not work.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug;

use crate::correlate::{Correlator, Occurrence, Verdict};
use crate::errors::{ApiErrorExt, said};

/// Occurrences that may wait to be written.
const QUEUE_MAX: usize = 1000;

/// How an event reads: as news or as trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something expected was done.
    Normal,
    /// Something did not work.
    Warning,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Normal => "Normal",
            Level::Warning => "Warning",
        }
    }
}

/// Records events on behalf of one component. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    queue: mpsc::Sender<Occurrence>,
}

impl EventRecorder {
    /// Starts the task that writes; it ends when the last clone of the recorder is dropped.
    ///
    /// `component` is what `From` shows (`kubelet`, `default-scheduler`), `host` the node it runs
    /// on if that matters. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(client: Client, component: &str, host: Option<&str>) -> EventRecorder {
        let (queue, inbox) = mpsc::channel(QUEUE_MAX);
        let source =
            EventSource { component: Some(component.to_owned()), host: host.map(str::to_owned) };
        tokio::spawn(write_all(client, source, inbox));
        EventRecorder { queue }
    }

    /// Records that something happened to `object`.
    pub fn record<K>(&self, object: &K, level: Level, reason: &str, message: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        let mut reference = object.object_ref(&());
        reference.resource_version.clone_from(&object.meta().resource_version);
        self.record_ref(reference, level, reason, message);
    }

    /// Records that something happened to what `object` names, a container of a pod for example.
    pub fn record_ref(
        &self,
        object: ObjectReference,
        level: Level,
        reason: &str,
        message: impl Into<String>,
    ) {
        let what = Occurrence {
            object,
            kind: level.as_str(),
            reason: reason.to_owned(),
            message: message.into(),
        };
        if self.queue.try_send(what).is_err() {
            debug!(reason, "event dropped: too many are waiting");
        }
    }
}

async fn write_all(client: Client, source: EventSource, mut inbox: mpsc::Receiver<Occurrence>) {
    let mut correlator = Correlator::default();
    while let Some(what) = inbox.recv().await {
        if let Err(error) = write(&client, &source, &mut correlator, &what).await {
            debug!(reason = what.reason, error = said(&error), "event not written");
        }
    }
}

async fn write(
    client: &Client,
    source: &EventSource,
    correlator: &mut Correlator,
    what: &Occurrence,
) -> Result<(), kube::Error> {
    let now = Timestamp::now();
    let namespace = what.object.namespace.as_deref().unwrap_or("default");
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let message = match correlator.decide(now, what) {
        Verdict::Drop => return Ok(()),
        Verdict::Create { message } => message,
        Verdict::Raise { name, count, message } => {
            let raise = json!({ "count": count, "message": message, "lastTimestamp": Time(now) });
            match events.patch(&name, &PatchParams::default(), &Patch::Merge(&raise)).await {
                Ok(_) => {
                    correlator.wrote(now, what, name, count);
                    return Ok(());
                }
                // It outlived its hour: start a new one.
                Err(error) if error.is_not_found() => correlator.lost(now, what),
                Err(error) => return Err(error),
            }
            message
        }
    };
    let event = new_event(now, source, what, namespace, message);
    let name = event.metadata.name.clone().unwrap_or_default();
    events.create(&PostParams::default(), &event).await?;
    correlator.wrote(now, what, name, 1);
    Ok(())
}

fn new_event(
    now: Timestamp,
    source: &EventSource,
    what: &Occurrence,
    namespace: &str,
    message: String,
) -> Event {
    let about = what.object.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{about}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: what.object.clone(),
        type_: Some(what.kind.to_owned()),
        reason: Some(what.reason.clone()),
        message: Some(message),
        source: Some(source.clone()),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone(),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}
