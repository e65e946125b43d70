//! Follows changes: what is there first if asked for, then every change as it happens.
//!
//! ```text
//! Initial ──(all sent)──> [bookmark: initial events end] ──> Following ──> end
//!                                                            │   at the deadline, on drain,
//!                                                            └── on ERROR when too slow
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::vault::Watch;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::{HeaderValue, Response, StatusCode};
use minik_api::protobuf;
use minik_meta::Status;
use minik_store::{Entry, Event, EventKind, ListOptions, Revision, StoreError, WatchError};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::body::{self, Body};
use crate::call::Call;
use crate::core::Core;
use crate::fairness::Seat;
use crate::kinds::Kind;
use crate::negotiate::{Format, Output, Shape};
use crate::objects::{self, Head};
use crate::verbs::select::{self, Filter, revision};
use crate::{convert, output, respond, vault};

/// How often an idle watch says how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts when the client does not say: at least this, at most twice this.
const WATCH_MIN_S: u64 = 1800;
/// Events that are written into one chunk, and objects of the initial state.
const BATCH_MAX: usize = 128;

/// From where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// What is there now, then changes; with a bookmark between the two if told.
    Now { say_end: bool },
    /// Changes after a revision.
    After(Revision),
}

pub(crate) async fn watch(call: &Call) -> Result<Response<Body>, Status> {
    let start = start(call)?;
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let timeout: Option<u64> = call
        .query
        .number("timeoutSeconds")
        .map_err(|text| Status::bad_request(format!("timeoutSeconds: {text:?} is no number")))?;
    let timeout = timeout
        .filter(|seconds| *seconds > 0)
        .unwrap_or_else(|| rand::random_range(WATCH_MIN_S..2 * WATCH_MIN_S));
    let encoder = Encoder::new(call);
    let content_type = encoder.content_type();
    let filter = Filter::of(call)?;
    let prefix = watched_prefix(call, &filter);

    let opened = open(call, &prefix, start);
    let (initial, watch) = match opened {
        Ok(opened) => opened,
        // Upstream says so inside the stream, and clients expect it there.
        Err(StoreError::Compacted { asked, oldest }) => {
            let line = encoder.error(&select::too_old(asked, oldest));
            return Ok(streaming(encoder.content_type(), stream::iter([line])));
        }
        Err(StoreError::Future { asked, current }) => {
            return Err(select::too_large(asked, current));
        }
        Err(error) => return Err(Status::internal(error)),
    };
    let initial = convert::served(call, initial).await?;
    let is_empty = initial.is_empty();
    let now = Instant::now();
    let watching = Watching {
        core: Arc::clone(&call.core),
        filter,
        encoder,
        initial: initial.into(),
        seat: call.take_seat().filter(|_| !is_empty),
        say_end: matches!(start, Start::Now { say_end: true }),
        said: watch.progress(),
        watch,
        bookmark_at: bookmarks.then(|| now + BOOKMARK_EVERY),
        deadline: now + Duration::from_secs(timeout),
        retired: call.core.kinds.retirement(&call.kind),
        ended: false,
    };
    let chunks = stream::unfold(watching, |mut watching| async move {
        watching.next().await.map(|chunk| (chunk, watching))
    });
    Ok(streaming(content_type, chunks))
}

fn streaming(
    content_type: HeaderValue,
    chunks: impl futures::Stream<Item = Bytes> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(body::stream(chunks));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    let cache = HeaderValue::from_static("no-cache, private");
    response.headers_mut().insert(http::header::CACHE_CONTROL, cache);
    response
}

fn start(call: &Call) -> Result<Start, Status> {
    let query = &call.query;
    let version = revision(query.non_empty("resourceVersion"))?;
    let matching = query.non_empty("resourceVersionMatch");
    let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
    let forbidden = |why: &str| Status::bad_request(format!("ListOptions is invalid: {why}"));
    match (initial, matching) {
        (Some(_), Some("NotOlderThan")) => {}
        (Some(_), _) => {
            return Err(forbidden(
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
                 resourceVersionMatch to NotOlderThan",
            ));
        }
        (None, Some(_)) => {
            return Err(forbidden(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch \
                 unless sendInitialEvents is provided",
            ));
        }
        (None, None) => {}
    }
    if initial == Some(true) {
        if !query.flag("allowWatchBookmarks") {
            return Err(forbidden(
                "sendInitialEvents: Forbidden: sendInitialEvents requires allowWatchBookmarks",
            ));
        }
        select::check_not_future(call, query.non_empty("resourceVersion"))?;
        return Ok(Start::Now { say_end: true });
    }
    match (version, initial) {
        (Some(version), _) => Ok(Start::After(version)),
        // Only what comes from now on.
        (None, Some(false)) => Ok(Start::After(call.core.store.revision())),
        (None, _) => Ok(Start::Now { say_end: false }),
    }
}

/// One object's watch follows only that object's key.
fn watched_prefix(call: &Call, filter: &Filter) -> String {
    let prefix = select::collection_prefix(&call.kind, &call.target.namespace);
    let rooted = !call.kind.namespaced || !call.target.namespace.is_empty();
    match filter.name() {
        // Longer names with the same beginning are sorted out by the filter.
        Some(name) if rooted => format!("{prefix}{name}"),
        _ => prefix,
    }
}

fn open(call: &Call, prefix: &str, start: Start) -> Result<(Vec<Entry>, Watch), StoreError> {
    let store = &call.core.store;
    match start {
        Start::After(revision) => Ok((Vec::new(), store.watch(prefix, revision)?)),
        Start::Now { .. } => {
            let page = store.list(prefix, &ListOptions::default())?;
            let watch = store.watch(prefix, page.revision)?;
            Ok((page.entries, watch))
        }
    }
}

/// An open watch. Holds a cursor into the store's history, not a queue.
struct Watching {
    core: Arc<Core>,
    filter: Filter,
    encoder: Encoder,
    initial: VecDeque<Entry>,
    /// Kept until the initial state is sent: following costs little.
    seat: Option<Seat>,
    say_end: bool,
    watch: Watch,
    /// The newest revision the client knows of.
    said: Revision,
    bookmark_at: Option<Instant>,
    deadline: Instant,
    /// Cancelled when the kind is gone or has changed.
    retired: CancellationToken,
    ended: bool,
}

impl Watching {
    /// The next chunk for the client; `None` ends the watch.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        while !self.initial.is_empty() {
            if let Some(chunk) = self.initial_chunk() {
                return Some(chunk);
            }
        }
        if std::mem::take(&mut self.say_end) {
            return Some(self.bookmark(self.said, true));
        }
        loop {
            // Far away when there are no bookmarks: the deadline comes first.
            let bookmark_at = self.bookmark_at.unwrap_or(self.deadline + BOOKMARK_EVERY);
            tokio::select! {
                biased;
                batch = self.watch.next_batch(BATCH_MAX) => match batch {
                    Ok(events) => match self.converted(events).await {
                        Ok(events) => {
                            if let Some(chunk) = self.chunk(&events) {
                                return Some(chunk);
                            }
                        }
                        Err(status) => {
                            self.ended = true;
                            return Some(self.encoder.error(&status));
                        }
                    },
                    Err(WatchError::Compacted { seen, lost }) => {
                        self.ended = true;
                        return Some(self.encoder.error(&select::too_old(seen, lost)));
                    }
                    Err(WatchError::Closed) => return None,
                },
                () = self.core.draining().cancelled() => return None,
                () = self.retired.cancelled() => return None,
                () = sleep_until(self.deadline) => {
                    self.ended = true;
                    return self.bookmark_at.map(|_| self.bookmark(self.watch.progress(), false));
                }
                () = sleep_until(bookmark_at) => {
                    self.bookmark_at = Some(Instant::now() + BOOKMARK_EVERY);
                    let progress = self.watch.progress();
                    if progress > self.said {
                        return Some(self.bookmark(progress, false));
                    }
                }
            }
        }
    }

    fn initial_chunk(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        let mut sizes = Vec::new();
        for entry in self.initial.drain(..self.initial.len().min(BATCH_MAX)) {
            if self.filter.selects_stored(&entry.value, entry.modified) {
                let before = out.len();
                self.encoder.event(&mut out, "ADDED", &entry.value, entry.modified);
                sizes.push(out.len() - before);
            }
        }
        if self.initial.is_empty() {
            self.seat = None;
        }
        self.count(&sizes);
        (!out.is_empty()).then(|| out.freeze())
    }

    fn count(&self, sizes: &[usize]) {
        if !sizes.is_empty() {
            let kind = &self.encoder.kind;
            self.core.metrics.watched([&kind.group, &kind.version, &kind.plural], sizes);
        }
    }

    /// The events with their objects in the version that is watched; see [`convert::served`].
    async fn converted(&self, events: Vec<Arc<Event>>) -> Result<Vec<Arc<Event>>, Status> {
        events.iter().try_for_each(|event| vault::readable_event(event))?;
        let kind = &self.encoder.kind;
        let whole = self.encoder.output.shape != Shape::Metadata;
        if !whole || kind.custom.as_ref().is_none_or(|custom| !custom.webhook) {
            return Ok(events);
        }
        let mut own: Vec<Event> = events.iter().map(|event| vault::copy(event)).collect();
        let mut values: Vec<&mut Bytes> = Vec::new();
        for event in &mut own {
            // What is deleted has no value.
            if event.kind == EventKind::Put {
                values.push(&mut event.value);
            }
            values.extend(event.previous.as_mut().map(|previous| &mut previous.value));
        }
        convert::convert_bytes(&self.core, kind, &mut values).await?;
        Ok(own.into_iter().map(Arc::new).collect())
    }

    fn chunk(&mut self, events: &[Arc<Event>]) -> Option<Bytes> {
        let mut out = BytesMut::new();
        let mut sizes = Vec::new();
        for event in events {
            if let Some((kind, object)) = seen_through(&self.filter, event) {
                let before = out.len();
                self.encoder.event(&mut out, kind, object, event.revision);
                sizes.push(out.len() - before);
                self.said = event.revision;
            }
        }
        self.count(&sizes);
        (!out.is_empty()).then(|| out.freeze())
    }

    fn bookmark(&mut self, at: Revision, initial_end: bool) -> Bytes {
        self.said = at;
        self.encoder.bookmark(at, initial_end)
    }
}

/// What an event is to a watcher who only sees what the filter selects: an object that begins
/// to be selected is added for them, one that ceases to be is deleted.
fn seen_through<'a>(filter: &Filter, event: &'a Event) -> Option<(&'static str, &'a Bytes)> {
    let previous = event.previous.as_ref();
    let before = previous.filter(|old| filter.selects_stored(&old.value, old.modified));
    let after = event.kind == EventKind::Put && filter.selects_stored(&event.value, event.revision);
    match (before, after) {
        (None, false) => None,
        (None, true) => Some(("ADDED", &event.value)),
        (Some(_), true) => Some(("MODIFIED", &event.value)),
        (Some(old), false) => Some(("DELETED", &old.value)),
    }
}

/// Writes events the way the client asked for.
struct Encoder {
    kind: Kind,
    output: Output,
    /// Whether the next table has to name its columns.
    columns: bool,
}

impl Encoder {
    fn new(call: &Call) -> Encoder {
        let format = match call.output.format {
            // Events are one line each.
            Format::PrettyJson | Format::Yaml | Format::Json => Format::Json,
            Format::Protobuf => Format::Protobuf,
        };
        let output = Output { format, ..call.output };
        Encoder { kind: Arc::clone(&call.kind), output, columns: true }
    }

    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.output.format {
            Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            _ => "application/json",
        })
    }

    fn event(&mut self, out: &mut BytesMut, kind: &str, stored: &Bytes, revision: Revision) {
        if self.output.format == Format::Protobuf {
            let object = objects::read(&self.kind, stored, revision);
            out.put_slice(&self.one(kind, &output::shape(&self.kind, self.output, object, false)));
            return;
        }
        out.reserve(stored.len() + 96);
        out.put_slice(b"{\"type\":\"");
        out.put_slice(kind.as_bytes());
        out.put_slice(b"\",\"object\":");
        if output::is_plain(&self.kind, self.output, stored, revision) {
            objects::splice(out, stored, revision, Head::Full);
        } else {
            let object = objects::read(&self.kind, stored, revision);
            let columns = std::mem::take(&mut self.columns);
            let shaped = output::shape(&self.kind, self.output, object, columns);
            out.put_slice(shaped.to_string().as_bytes());
        }
        out.put_slice(b"}\n");
    }

    fn bookmark(&self, at: Revision, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": at.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.output.shape {
            Shape::Whole => json!({
                "kind": self.kind.kind,
                "apiVersion": self.kind.api_version(),
                "metadata": metadata,
            }),
            Shape::Metadata => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            }),
            Shape::Table { version, .. } => json!({
                "kind": "Table",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": {"resourceVersion": at.to_string()},
                "columnDefinitions": null,
                "rows": [],
            }),
        };
        self.one("BOOKMARK", &object)
    }

    fn error(&self, status: &Status) -> Bytes {
        self.one("ERROR", &status.to_value())
    }

    /// An event that carries an object as it is.
    fn one(&self, kind: &str, object: &Value) -> Bytes {
        match (self.output.format, protobuf::encode(object)) {
            (Format::Protobuf, Some(message)) => protobuf::frame(kind, &message).into(),
            _ => respond::write_json(&json!({"type": kind, "object": object})),
        }
    }
}
