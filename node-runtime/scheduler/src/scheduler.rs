//! The loop: takes the next pod, decides, tells the API.
//!
//! Decisions are made one after the other, each seeing the ones before. Telling the API about them
//! happens beside the loop: a placement counts from the moment it is decided, and is taken back if
//! the API refuses it.

mod watch;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use minik_client::{EventRecorder, Level, said};
use minik_reconcile::{Cache, Caches, ObjectKey};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cluster::{Cluster, PodFacts};
use crate::cycle::{Decision, Misfit, decide};
use crate::filter::Wakes;
use crate::preempt;
use crate::queue::Queue;
use crate::volumes::{Demands, Volumes};

/// The name pods ask for this scheduler by.
const NAME: &str = "default-scheduler";

/// Answers that may be on their way to the API.
const WRITES_MAX: usize = 64;

/// How long the first lists may take before the log says which are missing.
const FIRST_LISTS_MAX: Duration = Duration::from_secs(30);

/// What the loop and the writes beside it share.
struct Scheduler {
    client: Client,
    events: EventRecorder,
    cluster: Mutex<Cluster>,
    queue: Queue,
    pods: Cache<Pod>,
    budgets: Cache<PodDisruptionBudget>,
    volumes: Volumes,
    writes: Arc<Semaphore>,
}

/// Schedules pods until `stop`. `client` acts as `system:kube-scheduler`.
pub async fn run(client: Client, stop: CancellationToken) {
    let caches = Caches::new(client.clone(), stop.clone());
    let pods = watch::pods(&client, &stop);
    let scheduler = Arc::new(Scheduler {
        events: EventRecorder::start(client.clone(), NAME, None),
        cluster: Mutex::default(),
        queue: Queue::default(),
        pods: pods.clone(),
        budgets: caches.watch(),
        volumes: Volumes {
            claims: caches.watch(),
            volumes: caches.watch(),
            classes: caches.watch(),
        },
        writes: Arc::new(Semaphore::new(WRITES_MAX)),
        client,
    });
    watch::follow(&scheduler, &caches);
    tokio::select! {
        () = stop.cancelled() => return,
        () = watch::wait_for_first_lists(&caches, &pods, FIRST_LISTS_MAX) => {}
    }
    info!("scheduler is running");
    let mut turn = 0;
    loop {
        let key = tokio::select! {
            () = stop.cancelled() => return,
            key = scheduler.queue.next() => key,
        };
        turn += 1;
        let Ok(permit) = scheduler.writes.clone().acquire_owned().await else { return };
        if let Some(answer) = scheduler.decide(&key, turn) {
            let scheduler = scheduler.clone();
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = scheduler.tell(answer) => {}
                }
                drop(permit);
            });
        }
    }
}

/// What is to be told to the API.
enum Answer {
    Bind {
        pod: Arc<PodFacts>,
        node: String,
        demands: Demands,
    },
    Refuse {
        pod: Arc<PodFacts>,
        message: String,
        wakes: Wakes,
        eviction: Option<preempt::Eviction>,
    },
}

impl Scheduler {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about the pod at `key`. `None` if it needs no node any more.
    fn decide(&self, key: &ObjectKey, turn: usize) -> Option<Answer> {
        let Some(pod) = self.pods.get(key).filter(|pod| watch::wants_node(pod)) else {
            self.queue.remove(key);
            return None;
        };
        let demands = self.volumes.demands(&pod);
        let pod = Arc::new(PodFacts::of(pod));
        let mut cluster = self.cluster();
        if let Some(missing) = &demands.missing {
            let message = Misfit::message_about_all(cluster.nodes.len(), missing);
            return Some(Answer::Refuse { pod, message, wakes: Wakes::NODE, eviction: None });
        }
        match decide(&pod, &cluster, &demands, turn) {
            Decision::Place(node) => {
                cluster.place(pod.clone(), &node);
                Some(Answer::Bind { pod, node, demands })
            }
            Decision::Nowhere(misfit) => {
                let eviction =
                    preempt::plan(&pod, &cluster, &misfit, &demands, &self.budgets.list());
                if let Some(eviction) = &eviction {
                    let promise = (eviction.node.clone(), pod.clone());
                    cluster.nominated.insert(key.clone(), promise);
                }
                let mut message = misfit.message();
                if eviction.is_none() && misfit.nodes > 0 {
                    message = format!("{message} {}", preempt::no_help(&misfit));
                }
                Some(Answer::Refuse { pod, message, wakes: misfit.wakes, eviction })
            }
        }
    }

    /// Carries an answer to the API and settles the pod in the queue.
    async fn tell(&self, answer: Answer) {
        match answer {
            Answer::Bind { pod, node, demands } => self.bind(&pod, &node, &demands).await,
            Answer::Refuse { pod, message, wakes, eviction } => {
                self.events.record(&*pod.pod, Level::Warning, "FailedScheduling", &*message);
                let nominated = eviction.as_ref().map(|eviction| eviction.node.as_str());
                if let Err(error) =
                    write::unschedulable(&self.client, &pod, &message, nominated).await
                {
                    warn!(pod = %pod.key, error = said(&error), "the condition of a pod was not written");
                }
                if let Some(eviction) = &eviction {
                    write::evict(&self.client, &self.events, &pod, eviction).await;
                }
                self.queue.park(&pod.key, wakes);
            }
        }
    }

    async fn bind(&self, pod: &PodFacts, node: &str, demands: &Demands) {
        let bound = async {
            write::claim_volumes(&self.client, &self.volumes.claims, demands, node).await?;
            write::bind(&self.client, pod, node).await
        };
        match bound.await {
            Ok(()) => {
                let message = format!("Successfully assigned {} to {node}", pod.key);
                self.events.record(&*pod.pod, Level::Normal, "Scheduled", message);
                self.queue.remove(&pod.key);
            }
            Err(error) => {
                warn!(pod = %pod.key, node, %error, "the binding was refused");
                self.cluster().displace(&pod.key);
                let message = error.to_string();
                self.events.record(&*pod.pod, Level::Warning, "FailedScheduling", message);
                self.queue.retry(&pod.key);
                self.queue.event(Wakes { pod_gone: true, ..Wakes::default() });
            }
        }
    }
}
