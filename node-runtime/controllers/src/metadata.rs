//! Watches the metadata of every kind that can be deleted, for those who must know all objects:
//! the garbage collector and the namespace controller.
//!
//! Which kinds there are comes from discovery and is asked again when custom kinds or API services
//! change. Of each object only what ownership and deletion need is kept.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::discovery::{ApiCapabilities, ApiResource, Discovery, Scope, verbs};
use kube::{Api, Client};
use minik_client::said;
use minik_reconcile::{Cache, ObjectKey, Seen, Selection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Delay before discovery is asked again after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// How long a kind that is no longer served is followed: what happened to its last objects may
/// still be on its way.
const LINGER: Duration = Duration::from_secs(10);

/// The metadata of an object of any kind.
pub(crate) type Meta = PartialObjectMeta<DynamicObject>;

/// One kind of the API that can be listed, watched and deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
}

impl Kind {
    /// The API to the metadata of the objects in `namespace`, or cluster-wide if it is empty.
    pub(crate) fn metadata(&self, client: &Client, namespace: &str) -> Api<Meta> {
        if namespace.is_empty() {
            Api::all_with(client.clone(), &self.resource)
        } else {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        }
    }

    /// The API to whole objects, for deletion.
    pub(crate) fn objects(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        if namespace.is_empty() {
            Api::all_with(client.clone(), &self.resource)
        } else {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        }
    }
}

/// A kind that is watched.
#[derive(Clone)]
pub(crate) struct Monitor {
    pub(crate) kind: Arc<Kind>,
    pub(crate) cache: Cache<Meta>,
    stop: CancellationToken,
}

/// Called for each change of any object of any kind.
pub(crate) type Listener = Arc<dyn Fn(&Arc<Kind>, &Seen<'_, Meta>) + Send + Sync>;

/// All watched kinds. Clones share them.
#[derive(Clone)]
pub(crate) struct Monitors {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    stop: CancellationToken,
    known: Mutex<Known>,
    /// Kinds may have come or gone.
    stale: Notify,
}

#[derive(Default)]
struct Known {
    /// By group and kind: what an owner reference names.
    monitors: BTreeMap<(String, String), Monitor>,
    listeners: Vec<Listener>,
    discovered: bool,
}

impl Monitors {
    /// Nothing is watched yet; [`Monitors::follow_discovery`] starts that.
    pub(crate) fn new(client: Client, stop: CancellationToken) -> Monitors {
        let known = Mutex::new(Known::default());
        Monitors { shared: Arc::new(Shared { client, stop, known, stale: Notify::new() }) }
    }

    /// Calls `listener` for every object there is and every change, of all kinds.
    pub(crate) fn listen(&self, listener: Listener) {
        let mut known = self.known();
        known.listeners.push(listener.clone());
        let monitors: Vec<Monitor> = known.monitors.values().cloned().collect();
        drop(known);
        monitors.iter().for_each(|monitor| attach(monitor, listener.clone()));
    }

    /// The kind that an owner reference with this `apiVersion` and `kind` means.
    pub(crate) fn find(&self, api_version: &str, kind: &str) -> Option<Monitor> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.known().monitors.get(&(group.to_owned(), kind.to_owned())).cloned()
    }

    /// All watched kinds.
    pub(crate) fn all(&self) -> Vec<Monitor> {
        self.known().monitors.values().cloned().collect()
    }

    /// Whether every kind has been listed: before that, what is not seen may still exist.
    pub(crate) fn is_synced(&self) -> bool {
        let known = self.known();
        known.discovered && known.monitors.values().all(|monitor| monitor.cache.is_synced())
    }

    /// Every object that names `uid` as owner.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<(Arc<Kind>, Arc<Meta>)> {
        let of_kind = |monitor: Monitor| {
            let owned = monitor.cache.owned_by(uid);
            owned.into_iter().map(move |meta| (monitor.kind.clone(), meta))
        };
        self.all().into_iter().flat_map(of_kind).collect()
    }

    /// Asks for discovery to be read again.
    pub(crate) fn refresh(&self) {
        self.shared.stale.notify_one();
    }

    /// Keeps the watched kinds equal to what the API serves, until stopped.
    pub(crate) async fn follow_discovery(self) {
        loop {
            let found = discover(&self.shared.client).await;
            let failed = found.is_err();
            match found {
                Ok(kinds) => self.adjust(kinds),
                Err(error) => warn!(error = said(&error), "discovery failed, trying again"),
            }
            let again = async {
                if failed {
                    tokio::time::sleep(RETRY).await;
                } else {
                    self.shared.stale.notified().await;
                }
            };
            tokio::select! {
                () = self.shared.stop.cancelled() => return,
                () = again => {}
            }
        }
    }

    fn adjust(&self, kinds: Vec<Kind>) {
        let wanted: BTreeMap<(String, String), Kind> = kinds
            .into_iter()
            .map(|kind| ((kind.resource.group.clone(), kind.resource.kind.clone()), kind))
            .collect();
        let mut known = self.known();
        known.monitors.retain(|name, monitor| {
            let stays = wanted.get(name).is_some_and(|kind| *kind == *monitor.kind);
            if !stays {
                debug!(kind = name.1, "no longer served");
                let stop = monitor.stop.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(LINGER) => stop.cancel(),
                    }
                });
            }
            stays
        });
        let mut started = Vec::new();
        for (name, kind) in wanted {
            if let Entry::Vacant(place) = known.monitors.entry(name) {
                started.push(place.insert(self.start(kind)).clone());
            }
        }
        known.discovered = true;
        let listeners = known.listeners.clone();
        drop(known);
        // Without the lock: a listener that is being told of a change asks for `known`, and
        // attaching waits for it to be done.
        for monitor in &started {
            if adds_kinds(&monitor.kind.resource) {
                let monitors = self.clone();
                monitor.cache.on_change(move |_| monitors.refresh());
            }
            listeners.iter().for_each(|listener| attach(monitor, listener.clone()));
        }
    }

    fn start(&self, kind: Kind) -> Monitor {
        let stop = self.shared.stop.child_token();
        let name = format!("metadata of {}", kind.resource.plural);
        let api = kind.metadata(&self.shared.client, "");
        let all = Selection::all();
        let cache = Cache::start_trimmed(api, &name, &all, stop.clone(), trim);
        Monitor { kind: Arc::new(kind), cache, stop }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attach(monitor: &Monitor, listener: Listener) {
    let kind = monitor.kind.clone();
    monitor.cache.on_change(move |seen| listener(&kind, seen));
}

fn adds_kinds(resource: &ApiResource) -> bool {
    matches!(
        (resource.group.as_str(), resource.kind.as_str()),
        ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("apiregistration.k8s.io", "APIService")
    )
}

/// Keeps what ownership and deletion need.
fn trim(meta: &mut Meta) {
    let old = std::mem::take(&mut meta.metadata);
    meta.types = None;
    meta.metadata = ObjectMeta {
        name: old.name,
        namespace: old.namespace,
        uid: old.uid,
        resource_version: old.resource_version,
        owner_references: old.owner_references,
        finalizers: old.finalizers,
        deletion_timestamp: old.deletion_timestamp,
        ..ObjectMeta::default()
    };
}

/// Every kind that can be listed, watched and deleted, once, in its preferred version.
pub(crate) async fn discover(client: &Client) -> Result<Vec<Kind>, kube::Error> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let groups = discovery.groups();
    let all = groups.flat_map(kube::discovery::ApiGroup::resources_by_stability);
    Ok(all.filter_map(|(resource, abilities)| kind(resource, &abilities)).collect())
}

fn kind(resource: ApiResource, abilities: &ApiCapabilities) -> Option<Kind> {
    let needed = [verbs::LIST, verbs::WATCH, verbs::DELETE];
    if !needed.iter().all(|verb| abilities.supports_operation(verb)) {
        return None;
    }
    // Nobody owns events, and there are many.
    if resource.kind == "Event" && matches!(resource.group.as_str(), "" | "events.k8s.io") {
        return None;
    }
    Some(Kind { resource, namespaced: abilities.scope == Scope::Namespaced })
}

/// Where an object is, for the log.
pub(crate) fn describe(kind: &Kind, key: &ObjectKey) -> String {
    format!("{} {key}", kind.resource.plural)
}
