//! The kubelet itself: one loop that hears of everything and passes it to the pod it concerns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use minik_cri::{EventReceiver, RuntimeError, v1};
use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::gc;
use crate::object;
use crate::pod::inventory::Inventory;
use crate::pod::mailbox::{Mailbox, Signal};
use crate::pod::worker::Worker;
use crate::shared::Shared;

/// Waits before the runtime's events are asked for again.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// The pods of this node as the API names them, for the server.
pub(crate) type PodList = Arc<HashMap<String, Arc<Pod>>>;

/// Everything that can make the kubelet do something.
enum Event {
    /// The watch of the node's pods said something.
    Pods(Box<watcher::Event<Pod>>),
    /// Something happened to a container or sandbox.
    Runtime(Box<v1::ContainerEventResponse>),
    /// The runtime's events broke off.
    RuntimeLost(Option<RuntimeError>),
    /// It is time to ask for the runtime's events again.
    RuntimeDue,
    /// A worker has ended: nothing is left of its pod.
    PodEnded(Result<(task::Id, ()), JoinError>),
    ShutdownRequested,
}

/// The loop's state.
pub(crate) struct Kubelet {
    shared: Arc<Shared>,
    workers: HashMap<String, Mailbox>,
    tasks: JoinSet<()>,
    /// Whose task is whose.
    uids: HashMap<task::Id, String>,
    pods: watch::Sender<PodList>,
    /// Pods of a list that is being received.
    listing: HashMap<String, Arc<Pod>>,
    /// What the runtime had when its events were opened.
    inventory: Arc<Inventory>,
    /// What ran before this kubelet and belongs to no pod is removed once, after the first list.
    orphans_removed: bool,
}

impl Kubelet {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            workers: HashMap::new(),
            tasks: JoinSet::new(),
            uids: HashMap::new(),
            pods: watch::Sender::default(),
            listing: HashMap::new(),
            inventory: Arc::default(),
            orphans_removed: false,
        }
    }

    /// The pods of this node, always the newest.
    pub(crate) fn pods(&self) -> watch::Receiver<PodList> {
        self.pods.subscribe()
    }

    /// Works until told to stop. Pods go on running: a kubelet that starts later takes them over.
    pub(crate) async fn run(mut self, drain: CancellationToken) {
        let pods = Api::<Pod>::all(self.shared.client.clone());
        let selector = format!("spec.nodeName={}", self.shared.config.node_name);
        let config = watcher::Config::default().fields(&selector);
        let pods = watcher::watcher(pods, config).default_backoff();
        let mut pods = std::pin::pin!(pods);
        let mut events = self.open_events().await;
        let mut retry = FIRST_RETRY;
        let mut due = None;
        loop {
            let event = tokio::select! {
                event = next_pods(&mut pods) => event,
                event = next_runtime(&mut events) => event,
                () = sleep_until(due) => Event::RuntimeDue,
                Some(ended) = self.tasks.join_next_with_id() => Event::PodEnded(ended),
                () = drain.cancelled() => Event::ShutdownRequested,
            };
            match event {
                Event::Pods(event) => self.take_pods(*event),
                Event::Runtime(event) => {
                    retry = FIRST_RETRY;
                    self.pass_on(&event);
                }
                Event::RuntimeLost(error) => {
                    debug!(?error, "the runtime's events broke off");
                    events = None;
                    due = Some(Instant::now() + retry);
                    retry = (retry * 2).min(LONGEST_RETRY);
                }
                Event::RuntimeDue => {
                    due = None;
                    events = self.open_events().await;
                    if events.is_none() {
                        due = Some(Instant::now() + retry);
                        retry = (retry * 2).min(LONGEST_RETRY);
                    }
                }
                Event::PodEnded(ended) => self.forget(&ended),
                Event::ShutdownRequested => {
                    info!("kubelet stops; pods go on");
                    return;
                }
            }
        }
    }

    /// Opens the runtime's events, then lists it: nothing can be missed in between.
    async fn open_events(&mut self) -> Option<EventReceiver> {
        let opened = async {
            let events = self.shared.runtime.events().await?;
            Ok::<_, RuntimeError>((events, Inventory::take(&self.shared.runtime).await?))
        };
        match opened.await {
            Ok((events, inventory)) => {
                self.inventory = Arc::new(inventory);
                for worker in self.workers.values() {
                    worker.put(Signal::Resync);
                }
                Some(events)
            }
            Err(error) => {
                warn!(%error, "the container runtime does not answer");
                None
            }
        }
    }

    fn forget(&mut self, ended: &Result<(task::Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => *id,
            Err(error) => {
                // The next thing heard of the pod starts another worker.
                error!(%error, "a pod's worker broke down");
                error.id()
            }
        };
        if let Some(uid) = self.uids.remove(&id) {
            self.workers.remove(&uid);
        }
    }

    fn take_pods(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.listing.clear(),
            watcher::Event::InitApply(pod) => {
                self.listing.insert(object::uid(&pod).to_owned(), Arc::new(pod));
            }
            watcher::Event::InitDone => self.take_list(),
            watcher::Event::Apply(pod) => self.take_pod(Arc::new(pod)),
            watcher::Event::Delete(pod) => {
                let uid = object::uid(&pod).to_owned();
                self.pods.send_modify(|pods| {
                    Arc::make_mut(pods).remove(&uid);
                });
                self.tell(&uid, Signal::Removed);
            }
        }
    }

    fn take_list(&mut self) {
        let listing = std::mem::take(&mut self.listing);
        let gone: Vec<String> =
            self.workers.keys().filter(|uid| !listing.contains_key(*uid)).cloned().collect();
        for uid in gone {
            self.tell(&uid, Signal::Removed);
        }
        let uids: HashSet<String> = listing.keys().cloned().collect();
        self.pods.send_replace(Arc::new(listing.clone()));
        for pod in listing.into_values() {
            self.take_pod(pod);
        }
        if !std::mem::replace(&mut self.orphans_removed, true) {
            let (shared, inventory) = (self.shared.clone(), self.inventory.clone());
            tokio::spawn(async move { gc::remove_orphans(&shared, &inventory, &uids).await });
        }
    }

    fn take_pod(&mut self, pod: Arc<Pod>) {
        let uid = object::uid(&pod).to_owned();
        self.pods.send_modify(|pods| {
            Arc::make_mut(pods).insert(uid.clone(), pod.clone());
        });
        if self.workers.contains_key(&uid) {
            return self.tell(&uid, Signal::Changed(pod));
        }
        let mailbox = Mailbox::default();
        let worker = Worker::new(self.shared.clone(), pod, mailbox.clone());
        let inventory = self.inventory.clone();
        self.workers.insert(uid.clone(), mailbox);
        let task = self.tasks.spawn(worker.run(inventory));
        self.uids.insert(task.id(), uid);
    }

    /// Passes a runtime's event to the worker of its pod.
    fn pass_on(&mut self, event: &v1::ContainerEventResponse) {
        let sandbox = event.pod_sandbox_status.as_ref();
        let metadata = sandbox.and_then(|sandbox| sandbox.metadata.as_ref());
        // Deleted ones have no sandbox any more, and nobody asks for them.
        let Some(uid) = metadata.map(|metadata| metadata.uid.clone()) else { return };
        self.tell(&uid, Signal::Runtime(event.container_id.clone()));
    }

    fn tell(&self, uid: &str, signal: Signal) {
        if let Some(worker) = self.workers.get(uid) {
            worker.put(signal);
        }
    }
}

async fn next_pods(
    stream: &mut (impl Stream<Item = watcher::Result<watcher::Event<Pod>>> + Unpin),
) -> Event {
    loop {
        match stream.next().await {
            Some(Ok(event)) => return Event::Pods(Box::new(event)),
            Some(Err(error)) => {
                warn!(error = &error as &dyn std::error::Error, "the watch of pods broke");
            }
            None => std::future::pending().await,
        }
    }
}

async fn next_runtime(events: &mut Option<EventReceiver>) -> Event {
    match events {
        Some(receiver) => match receiver.recv().await {
            Some(Ok(event)) => Event::Runtime(Box::new(event)),
            Some(Err(error)) => Event::RuntimeLost(Some(error)),
            None => Event::RuntimeLost(None),
        },
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
