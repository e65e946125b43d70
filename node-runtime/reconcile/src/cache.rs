//! One watched copy of a kind, shared by everybody in the process who reads it.
//!
//! The watch task is the only writer. Readers take an `Arc` of an object and keep it as long as
//! they like; they never block the writer for longer than a map look-up.

mod index;
mod watch;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;

use crate::cache::index::Index;
use crate::key::ObjectKey;
use crate::run::ReconcileError;

/// How long a write may take to come back through the watch before the reader gives up waiting.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// What an object must be to be cached: any typed or dynamic Kubernetes object is.
pub trait Cached: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static> Cached for K {}

/// Which objects of a kind a cache holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    fields: Option<String>,
    labels: Option<String>,
}

impl Selection {
    /// All objects of the kind.
    #[must_use]
    pub fn all() -> Selection {
        Selection::default()
    }

    /// Only objects that match this field selector, `spec.nodeName=minik` for example.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Selection {
        self.fields = Some(selector.into());
        self
    }

    /// Only objects that match this label selector.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Selection {
        self.labels = Some(selector.into());
        self
    }
}

/// What a cache saw happen to one object.
#[derive(Debug)]
pub enum Seen<'a, K> {
    /// It is there, new or changed.
    Applied {
        /// The object as it was before, if the cache held it.
        old: Option<&'a Arc<K>>,
        /// The object as it is now.
        new: &'a Arc<K>,
    },
    /// It is gone.
    Deleted {
        /// The last that was seen of it.
        last: &'a Arc<K>,
    },
}

impl<'a, K> Seen<'a, K> {
    /// The object, as it is or was last.
    #[must_use]
    pub fn object(&self) -> &'a Arc<K> {
        match self {
            Seen::Applied { new, .. } => new,
            Seen::Deleted { last } => last,
        }
    }
}

/// How far a cache has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    synced: bool,
    changes: u64,
    revision: u64,
}

type Listener<K> = Box<dyn Fn(&Seen<'_, K>) + Send + Sync>;

struct Shared<K> {
    kind: String,
    trim: fn(&mut K),
    index: RwLock<Index<K>>,
    /// Locked by the writer for a whole update, so that a new listener sees each object once.
    listeners: Mutex<Vec<Listener<K>>>,
    progress: signal::Sender<Progress>,
}

/// The watched copy of one kind. Clones share it.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Cache { shared: Arc::clone(&self.shared) }
    }
}

impl<K> Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("kind", &self.shared.kind).finish_non_exhaustive()
    }
}

impl<K: Cached> Cache<K> {
    /// Starts watching what `api` reaches until `stop`. `kind` names the cache in the log.
    ///
    /// Most callers want [`Caches::watch`] instead, which shares. Must be called inside a tokio
    /// runtime.
    #[must_use]
    pub fn start(api: Api<K>, kind: &str, selection: &Selection, stop: CancellationToken) -> Self {
        Cache::start_trimmed(api, kind, selection, stop, |_| {})
    }

    /// Like [`Cache::start`], with `trim` taking out of each object what no reader needs.
    #[must_use]
    pub fn start_trimmed(
        api: Api<K>,
        kind: &str,
        selection: &Selection,
        stop: CancellationToken,
        trim: fn(&mut K),
    ) -> Self {
        let cache = Cache::empty(kind, trim);
        tokio::spawn(watch::keep_up(cache.clone(), api, selection.clone(), stop));
        cache
    }

    /// A cache that nobody fills, for tests of what reads it.
    #[must_use]
    pub fn of(objects: impl IntoIterator<Item = K>) -> Self {
        let cache = Cache::empty("test", |_| {});
        cache.replace_all(objects.into_iter().collect());
        cache
    }

    fn empty(kind: &str, trim: fn(&mut K)) -> Self {
        Cache {
            shared: Arc::new(Shared {
                kind: kind.to_owned(),
                trim,
                index: RwLock::new(Index::default()),
                listeners: Mutex::new(Vec::new()),
                progress: signal::Sender::new(Progress::default()),
            }),
        }
    }

    /// The object at `key`.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.read().get(key)
    }

    /// All objects, ordered by namespace and name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<K>> {
        self.read().list()
    }

    /// All objects of a namespace, ordered by name.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.read().in_namespace(namespace)
    }

    /// All objects with an owner reference to this unique id.
    #[must_use]
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.read().owned_by(uid)
    }

    /// All pods bound to the node of that name; nothing for other kinds.
    #[must_use]
    pub fn on_node(&self, node: &str) -> Vec<Arc<K>> {
        self.read().on_node(node)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `listener` once for each object there is and then for each change, in order.
    ///
    /// The listener runs in the watch task: it may read caches and fill queues, and must not wait.
    pub fn on_change(&self, listener: impl Fn(&Seen<'_, K>) + Send + Sync + 'static) {
        let mut listeners = self.listeners();
        for new in self.list() {
            listener(&Seen::Applied { old: None, new: &new });
        }
        listeners.push(Box::new(listener));
    }

    /// A signal that fires after any change, for those who recompute everything from
    /// [`Cache::list`]. Changes in quick succession fire once.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes { progress: self.shared.progress.subscribe() }
    }

    /// Whether the first list is complete.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.shared.progress.borrow().synced
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        let mut progress = self.shared.progress.subscribe();
        // Cannot fail: the sender lives in `self`.
        let _ = progress.wait_for(|progress| progress.synced).await;
    }

    /// Waits until the cache shows the write that made `object`, so that the next plan does not
    /// repeat it. Only for objects that the cache selects.
    ///
    /// # Errors
    /// [`ReconcileError::CacheBehind`] if that takes longer than ten seconds.
    pub async fn caught_up(&self, object: &K) -> Result<(), ReconcileError> {
        let revision = revision_of(object);
        let mut progress = self.shared.progress.subscribe();
        let arrived = progress.wait_for(|progress| progress.revision >= revision);
        match tokio::time::timeout(CATCH_UP_MAX, arrived).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ReconcileError::CacheBehind { kind: self.shared.kind.clone(), revision }),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index<K>> {
        self.shared.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Listener<K>>> {
        self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The revision an object was written at; 0 if the text is not one.
fn revision_of<K: Resource>(object: &K) -> u64 {
    let text = object.meta().resource_version.as_deref().unwrap_or_default();
    text.parse().unwrap_or(0)
}

/// Fires after changes of a cache; see [`Cache::changes`].
#[derive(Clone, Debug)]
pub struct Changes {
    progress: signal::Receiver<Progress>,
}

impl Changes {
    /// Waits for a change after the last call. `false` when the cache is gone for good.
    pub async fn changed(&mut self) -> bool {
        self.progress.changed().await.is_ok()
    }
}

/// Some caches did not complete their first list in time.
#[derive(Debug, thiserror::Error)]
#[error("not listed within {waited:?}: {}", kinds.join(", "))]
pub struct NotSynced {
    /// Kinds whose first list is still missing.
    pub kinds: Vec<String>,
    /// How long was waited.
    pub waited: Duration,
}

/// All caches of one identity: each kind is watched once, however many ask. Clones share.
#[derive(Clone)]
pub struct Caches {
    client: Client,
    stop: CancellationToken,
    started: Arc<Mutex<HashMap<(TypeId, Selection), Started>>>,
}

struct Started {
    cache: Box<dyn Any + Send + Sync>,
    kind: String,
    progress: signal::Receiver<Progress>,
}

impl Caches {
    /// No caches yet; they will read with `client` until `stop`.
    #[must_use]
    pub fn new(client: Client, stop: CancellationToken) -> Caches {
        Caches { client, stop, started: Arc::default() }
    }

    /// The cache of all objects of a kind, in all namespaces. The first call starts the watch.
    #[must_use]
    pub fn watch<K>(&self) -> Cache<K>
    where
        K: Cached + Resource<DynamicType = ()>,
    {
        self.watch_some(Selection::all())
    }

    /// The cache of the selected objects of a kind.
    ///
    /// # Panics
    /// Never: the type of a stored cache follows from its key.
    #[must_use]
    pub fn watch_some<K>(&self, selection: Selection) -> Cache<K>
    where
        K: Cached + Resource<DynamicType = ()>,
    {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = started.entry((TypeId::of::<K>(), selection.clone())).or_insert_with(|| {
            let kind = K::kind(&()).into_owned();
            let api = Api::<K>::all(self.client.clone());
            let cache = Cache::start(api, &kind, &selection, self.stop.clone());
            let progress = cache.shared.progress.subscribe();
            Started { cache: Box::new(cache), kind, progress }
        });
        entry.cache.downcast_ref::<Cache<K>>().expect("the key holds the type").clone()
    }

    /// Waits until every cache asked for so far has completed its first list.
    ///
    /// # Errors
    /// [`NotSynced`] with the kinds that are missing after `deadline`.
    pub async fn synced(&self, deadline: Duration) -> Result<(), NotSynced> {
        let waiting: Vec<(String, signal::Receiver<Progress>)> = {
            let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            started.values().map(|one| (one.kind.clone(), one.progress.clone())).collect()
        };
        let all = async {
            for (_, mut progress) in waiting.clone() {
                let _ = progress.wait_for(|progress| progress.synced).await;
            }
        };
        if tokio::time::timeout(deadline, all).await.is_ok() {
            return Ok(());
        }
        let missing = waiting.into_iter().filter(|(_, progress)| !progress.borrow().synced);
        Err(NotSynced { kinds: missing.map(|(kind, _)| kind).collect(), waited: deadline })
    }
}
