//! Finds out which other API servers answer, and what they serve.
//!
//! A check is made when an API service, its Service or the endpoints behind that change. What no
//! object tells (a process that hangs, a network that is gone) is found by asking again after a
//! while, as long as there are other servers at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::vault::Watch;
use http::StatusCode;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use minik_api::aggregation::{Available, obstacle, resources_of_aggregated, resources_of_list};
use minik_meta::{object, time};
use minik_store::{Event, Expect, ListOptions, StoreError, WatchError, Write};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::documents::Learned;
use super::proxy;
use super::registry::{PREFIX, Remote};
use crate::body;
use crate::core::Core;
use crate::objects;
use crate::tls::Trust;
use crate::webhook::Place;

const SERVICES: &str = "/registry/core/services/";
const SLICES: &str = "/registry/discovery.k8s.io/endpointslices/";

/// How long a server that answered is believed to go on.
const AGAIN: Duration = Duration::from_secs(30);
/// How soon one that did not is asked again, at first; then ever later.
const SOON: Duration = Duration::from_secs(1);
/// How long each question may take.
const QUESTION_MAX: Duration = Duration::from_secs(5);
/// Changes that are looked at together.
const BATCH_MAX: usize = 64;
/// How often a status is tried again on the newest object.
const TRIES_MAX: usize = 8;

/// Follows the API services until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut plan = Plan::default();
    let mut checks: JoinSet<(String, bool)> = JoinSet::new();
    while !stop.is_cancelled() {
        let after = core.store.revision();
        let watch = |prefix| core.store.watch(prefix, after);
        let (Ok(mut own), Ok(mut services), Ok(mut slices)) =
            (watch(PREFIX), watch(SERVICES), watch(SLICES))
        else {
            continue;
        };
        plan.all_due();
        loop {
            let remotes = core.aggregation.remotes();
            plan.take(&remotes);
            core.aggregation.forget_others(&remotes);
            for remote in plan.start(&remotes) {
                let core = Arc::clone(&core);
                checks.spawn(async move {
                    let passed = check(&core, &remote).await;
                    (remote.name.clone(), passed)
                });
            }
            let next = plan.next();
            let woken = tokio::select! {
                () = stop.cancelled() => return,
                Some(done) = checks.join_next() => {
                    if let Ok((name, passed)) = done {
                        plan.checked(&name, passed);
                    }
                    Ok(())
                }
                () = sleep_until(next) => Ok(()),
                changed = own.next_batch(BATCH_MAX) => changed.map(|_| ()),
                // Without other servers nobody cares for services.
                changed = batch(&mut services, !remotes.is_empty()) => changed.map(|events| {
                    plan.service_changed(&remotes, &service_names(&events, SERVICES));
                }),
                changed = batch(&mut slices, !remotes.is_empty()) => changed.map(|events| {
                    plan.service_changed(&remotes, &slice_services(&events));
                }),
            };
            match woken {
                Ok(()) => {}
                // More changed than the store remembers: look at all of it again.
                Err(WatchError::Compacted { .. }) => break,
                Err(WatchError::Closed) => return,
            }
        }
    }
}

async fn sleep_until(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

async fn batch(watch: &mut Watch, wanted: bool) -> Result<Vec<Arc<Event>>, WatchError> {
    if !wanted {
        return std::future::pending().await;
    }
    watch.next_batch(BATCH_MAX).await
}

/// `namespace/name` of the services that changed.
fn service_names(events: &[Arc<Event>], prefix: &str) -> BTreeSet<String> {
    events.iter().filter_map(|one| one.key.strip_prefix(prefix).map(str::to_owned)).collect()
}

/// `namespace/name` of the services whose endpoints changed.
fn slice_services(events: &[Arc<Event>]) -> BTreeSet<String> {
    let slices = events.iter().flat_map(|event| {
        [Some(&event.value), event.previous.as_ref().map(|previous| &previous.value)]
    });
    let slices = slices.flatten().filter_map(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    slices.filter_map(|slice| service_of(&slice)).collect()
}

fn service_of(slice: &Value) -> Option<String> {
    let service = object::label(slice, "kubernetes.io/service-name")?;
    Some(format!("{}/{service}", object::namespace(slice)))
}

/// When who is asked next. Pure.
#[derive(Default)]
struct Plan(BTreeMap<String, Entry>);

struct Entry {
    spec: Value,
    due: Instant,
    /// Being asked; and whether something changed meanwhile.
    running: bool,
    stale: bool,
    failures: u32,
}

impl Plan {
    fn all_due(&mut self) {
        self.0.values_mut().for_each(|entry| entry.hurry());
    }

    /// Takes in what is registered now.
    fn take(&mut self, remotes: &[Arc<Remote>]) {
        self.0.retain(|name, _| remotes.iter().any(|one| one.name == *name));
        for remote in remotes {
            let new = || Entry {
                spec: remote.spec.clone(),
                due: Instant::now(),
                running: false,
                stale: false,
                failures: 0,
            };
            let entry = self.0.entry(remote.name.clone()).or_insert_with(new);
            if entry.spec != remote.spec {
                entry.spec = remote.spec.clone();
                entry.hurry();
            }
        }
    }

    fn service_changed(&mut self, remotes: &[Arc<Remote>], services: &BTreeSet<String>) {
        for remote in remotes {
            if services.contains(&format!("{}/{}", remote.namespace, remote.service))
                && let Some(entry) = self.0.get_mut(&remote.name)
            {
                entry.hurry();
            }
        }
    }

    /// Those who are to be asked now.
    fn start(&mut self, remotes: &[Arc<Remote>]) -> Vec<Arc<Remote>> {
        let now = Instant::now();
        let mut started = Vec::new();
        for remote in remotes {
            let Some(entry) = self.0.get_mut(&remote.name) else { continue };
            if !entry.running && entry.due <= now {
                (entry.running, entry.stale) = (true, false);
                started.push(Arc::clone(remote));
            }
        }
        started
    }

    fn checked(&mut self, name: &str, passed: bool) {
        let Some(entry) = self.0.get_mut(name) else { return };
        entry.running = false;
        entry.failures = if passed { 0 } else { entry.failures.saturating_add(1) };
        let wait = match (entry.stale, passed) {
            (true, _) => Duration::ZERO,
            (false, true) => AGAIN,
            (false, false) => (SOON * 2u32.pow(entry.failures.min(6) - 1)).min(AGAIN),
        };
        entry.due = Instant::now() + wait;
    }

    fn next(&self) -> Option<Instant> {
        self.0.values().filter(|entry| !entry.running).map(|entry| entry.due).min()
    }
}

impl Entry {
    fn hurry(&mut self) {
        self.due = Instant::now();
        self.stale = self.running;
    }
}

/// Asks one server and writes what that says into its status. Returns whether it is available.
async fn check(core: &Core, remote: &Remote) -> bool {
    let condition = condition(core, remote).await;
    let passed = condition.status == "True";
    if passed {
        learn(core, remote).await;
    }
    if let Err(error) = write(core, remote, &condition).await {
        warn!(service = remote.name, %error, "cannot write the status of an API service");
    }
    passed
}

async fn condition(core: &Core, remote: &Remote) -> Available {
    let (namespace, name) = (&remote.namespace, &remote.service);
    let service = core.read_core_object("services", namespace, name);
    let slices = match slices(core, namespace, name) {
        Ok(slices) => slices,
        Err(error) => {
            let message =
                format!("service/{name} in {namespace:?} cannot be checked due to: {error}");
            return Available::new("Unknown", "EndpointsAccessError", message);
        }
    };
    if let Some(obstacle) = obstacle(&remote.spec, service.as_ref(), &slices) {
        return obstacle;
    }
    match answers(core, remote).await {
        Ok(()) => Available::new("True", "Passed", "all checks passed"),
        Err(why) => Available::new("False", "FailedDiscoveryCheck", why),
    }
}

fn slices(core: &Core, namespace: &str, service: &str) -> Result<Vec<Value>, StoreError> {
    let page = core.store.list(&format!("{SLICES}{namespace}/"), &ListOptions::default())?;
    let slices = page.entries.iter().filter_map(|one| serde_json::from_slice(&one.value).ok());
    let wanted = format!("{namespace}/{service}");
    Ok(slices.filter(|slice| service_of(slice).as_ref() == Some(&wanted)).collect())
}

/// Whether the server answers about its version. Who it is does not matter for that.
async fn answers(core: &Core, remote: &Remote) -> Result<(), String> {
    let path = format!("/apis/{}/{}", remote.group, remote.version);
    let place = Place::of_service(core, &remote.namespace, &remote.service, remote.port)
        .map_err(|error| error.to_string())?;
    let url = Place { path: path.clone(), ..place.clone() }.url();
    let failing = |why: String| format!("failing or missing response from {url}: {why}");
    let request = proxy::own_request(&path, "application/json");
    let asking = proxy::pass(&core.aggregation, &place, &Trust::Anybody, request);
    match tokio::time::timeout(QUESTION_MAX, asking).await {
        Err(_) => Err(failing(format!(
            "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        ))),
        Ok(Err(why)) => Err(failing(format!("Get {url:?}: {why}"))),
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => {
            Err(failing(format!("bad status from {url}: {}", answer.status().as_u16())))
        }
    }
}

/// Asks a server what it serves, and keeps that.
async fn learn(core: &Core, remote: &Remote) {
    match learned(core, remote).await {
        Ok(learned) => core.aggregation.learn(&remote.name, learned),
        Err(why) => debug!(service = remote.name, why, "what an API server serves is not known"),
    }
}

async fn learned(core: &Core, remote: &Remote) -> Result<Learned, String> {
    const AGGREGATED: &str =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let (group, version) = (remote.group.as_str(), remote.version.as_str());
    let list = get(core, remote, "/apis", AGGREGATED, "").await?;
    let resources = match resources_of_aggregated(&list.json()?, group, version) {
        Some(resources) => resources,
        None => {
            let path = format!("/apis/{group}/{version}");
            let list = get(core, remote, &path, "application/json", "").await?;
            resources_of_list(&list.json()?, group, version)
        }
    };
    let index = get(core, remote, "/openapi/v3", "application/json", "").await;
    let openapi_v3 = match index.and_then(|index| index.json()) {
        Ok(index) => {
            let url = object::text(
                &index["paths"][format!("apis/{group}/{version}")],
                &["serverRelativeURL"],
            );
            let hash = url.split_once("hash=").map(|(_, hash)| hash);
            hash.and_then(|hash| hash.split('&').next()).unwrap_or_default().to_owned()
        }
        Err(_) => String::new(),
    };
    let known = core.aggregation.learned(&remote.name);
    let known = known.and_then(|known| known.openapi_v2.clone());
    let tag = known.as_ref().map_or("", |(tag, _)| tag.as_str());
    let openapi_v2 = match get(core, remote, "/openapi/v2", "application/json", tag).await {
        Ok(answer) if answer.code == StatusCode::NOT_MODIFIED => known,
        Ok(answer) => answer.json().ok().map(|document| (answer.tag, Arc::new(document))),
        Err(_) => known,
    };
    Ok(Learned { resources, openapi_v3, openapi_v2 })
}

/// What came back.
struct Got {
    code: StatusCode,
    tag: String,
    bytes: bytes::Bytes,
}

impl Got {
    fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.bytes).map_err(|error| error.to_string())
    }
}

async fn get(
    core: &Core,
    remote: &Remote,
    path: &str,
    accept: &str,
    tag: &str,
) -> Result<Got, String> {
    let place = Place::of_service(core, &remote.namespace, &remote.service, remote.port)
        .map_err(|error| error.to_string())?;
    let mut request = proxy::own_request(path, accept);
    if !tag.is_empty() {
        request.headers_mut().insert(IF_NONE_MATCH, super::header(tag));
    }
    let asking = async {
        let answer = proxy::pass(&core.aggregation, &place, &remote.trust, request).await?;
        let (head, body) = answer.into_parts();
        let bytes = body::read(body).await.map_err(|error| error.to_string())?;
        let text = |name| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        if !(head.status.is_success() || head.status == StatusCode::NOT_MODIFIED) {
            return Err(format!("{} {}", head.status, text(CONTENT_TYPE)));
        }
        Ok(Got { code: head.status, tag: text(ETAG), bytes })
    };
    tokio::time::timeout(QUESTION_MAX, asking).await.unwrap_or_else(|_| Err("timeout".to_owned()))
}

/// Writes the condition, if it is news.
async fn write(core: &Core, remote: &Remote, condition: &Available) -> Result<(), StoreError> {
    let Some(kind) = core.kinds.find("apiregistration.k8s.io", "v1", "apiservices") else {
        return Ok(());
    };
    let key = format!("{PREFIX}{}", remote.name);
    for _ in 0..TRIES_MAX {
        let Some(entry) = core.store.get(&key) else { return Ok(()) };
        let mut service = objects::read(&kind, &entry.value, entry.modified);
        // What was found out is about another one.
        if service["spec"] != remote.spec {
            return Ok(());
        }
        if !condition.put(&mut service, &time::now_rfc3339()) {
            return Ok(());
        }
        let bytes = objects::write(&kind, service);
        match core.store.commit(Write::put(key.clone(), Expect::At(entry.modified), bytes)).await {
            Err(StoreError::Conflict { .. }) => {}
            done => return done.map(|_| ()),
        }
    }
    Ok(())
}
