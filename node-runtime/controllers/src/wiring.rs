//! What every controller is started with: the shared caches, a client of its own, events.

use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::{Client, Resource};
use minik_client::{EventRecorder, identity};
use minik_reconcile::{
    Cache, Cached, Caches, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue, run,
};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::metadata::Monitors;
use crate::owned::controller_of;
use crate::pod_control::PodControl;

/// Objects one controller works on at the same time.
const WORKERS: usize = 5;

/// The client that acts as the user of that name.
pub(crate) type ClientFactory = dyn Fn(&str) -> Client + Send + Sync;

/// A controller's loop, ready to be spawned.
pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What controllers share.
#[derive(Clone)]
pub(crate) struct Wiring {
    pub(crate) config: Arc<Config>,
    pub(crate) caches: Caches,
    pub(crate) monitors: Monitors,
    pub(crate) clients: Arc<ClientFactory>,
    pub(crate) stop: CancellationToken,
}

impl Wiring {
    /// The client of the controller of that name.
    pub(crate) fn client(&self, controller: &str) -> Client {
        (self.clients)(&identity::controller(controller))
    }

    /// A recorder whose events come from the controller of that name.
    pub(crate) fn events(&self, client: &Client, controller: &str) -> EventRecorder {
        EventRecorder::start(client.clone(), controller, None)
    }

    /// What the controller of that name acts on pods with.
    pub(crate) fn pod_control(&self, controller: &str) -> PodControl {
        let client = self.client(controller);
        let events = self.events(&client, controller);
        PodControl { client, events, pods: self.caches.watch() }
    }

    /// The loop that works off `queue` with `reconcile` once all caches are filled.
    pub(crate) fn work<C, T, F, Fut>(
        &self,
        name: &'static str,
        queue: WorkQueue<T>,
        context: C,
        reconcile: F,
    ) -> Running
    where
        C: Clone + Send + Sync + 'static,
        T: Clone + Eq + Hash + std::fmt::Display + Send + Sync + 'static,
        F: Fn(C, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Requeue, ReconcileError>> + Send + 'static,
    {
        let stop = self.stop.clone();
        Box::pin(run(name, queue, WORKERS, stop, move |key| reconcile(context.clone(), key)))
    }
}

/// The time that plans are made with.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Puts the key of every changed object into `queue`.
pub(crate) fn enqueue_each<K: Cached>(cache: &Cache<K>, queue: &WorkQueue<ObjectKey>) {
    let queue = queue.clone();
    cache.on_change(move |seen| queue.add(seen.object().key()));
}

/// Puts the key of the controlling `kind` of every changed object into `queue`, of both controllers
/// when it changes hands.
pub(crate) fn enqueue_controller<K: Cached>(
    cache: &Cache<K>,
    kind: &'static str,
    queue: &WorkQueue<ObjectKey>,
) {
    let queue = queue.clone();
    let add = move |object: &K| {
        let Some(owner) = controller_of(object).filter(|owner| owner.kind == kind) else { return };
        queue.add(ObjectKey::new(object.key().namespace, owner.name.clone()));
    };
    cache.on_change(move |seen| {
        if let Seen::Applied { old: Some(old), new } = seen
            && controller_of(&***old) != controller_of(&***new)
        {
            add(old);
        }
        add(seen.object());
    });
}

/// Puts every owner whose selector matches a changed object without controller into `queue`.
pub(crate) fn enqueue_adopters<K: Cached, O: Cached + Debug>(
    cache: &Cache<K>,
    owners: &Cache<O>,
    queue: &WorkQueue<ObjectKey>,
    matches: fn(&O, &K) -> bool,
) {
    let (owners, queue) = (owners.clone(), queue.clone());
    cache.on_change(move |seen| {
        let object = seen.object();
        if controller_of(&**object).is_some() || object.is_terminating() {
            return;
        }
        for owner in owners.in_namespace(&object.key().namespace) {
            if matches(&owner, object) {
                queue.add(owner.key());
            }
        }
    });
}

/// The namespace of an object as text, empty for cluster-wide ones.
pub(crate) fn namespace_of<K: Resource>(object: &K) -> &str {
    object.meta().namespace.as_deref().unwrap_or_default()
}

/// The name of an object as text.
pub(crate) fn name_of<K: Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}
