//! The loop around a reconcile function: takes keys, runs workers, sends failures back later.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use minik_client::{ApiErrorExt, said};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::change::ChangeError;
use crate::queue::WorkQueue;

/// Failures in a row of one key that are ordinary: somebody else wrote first, a cache is behind.
const QUIET_FAILURES_MAX: Duration = Duration::from_millis(500);

/// When a reconciled key wants attention again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// When something it depends on changes.
    WhenChanged,
    /// After this time, or earlier if something changes.
    After(Duration),
}

impl Requeue {
    /// The earlier of two wishes.
    #[must_use]
    pub fn or_sooner(self, other: Requeue) -> Requeue {
        match (self, other) {
            (Requeue::WhenChanged, wish) | (wish, Requeue::WhenChanged) => wish,
            (Requeue::After(a), Requeue::After(b)) => Requeue::After(a.min(b)),
        }
    }
}

/// Why a key could not be brought to where it should be. It is tried again with back-off.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API refused something.
    #[error("{}", said(.0))]
    Api(#[from] kube::Error),

    /// One of several changes failed.
    #[error(transparent)]
    Change(#[from] ChangeError),

    /// The cache did not show an own write in time.
    #[error("the cache of {kind} does not show revision {revision} yet")]
    CacheBehind {
        /// Kind of the cache.
        kind: String,
        /// Revision that was written.
        revision: u64,
    },

    /// Something else, with the facts in the text.
    #[error("{0}")]
    Other(String),
}

impl ReconcileError {
    fn is_ordinary(&self) -> bool {
        match self {
            ReconcileError::Api(error) | ReconcileError::Change(ChangeError { error, .. }) => {
                // Forbidden: a new namespace has no service account in its first moments.
                error.is_conflict()
                    || error.is_already_exists()
                    || error.is_not_found()
                    || error.is_forbidden()
            }
            ReconcileError::CacheBehind { .. } => true,
            ReconcileError::Other(_) => false,
        }
    }
}

/// Runs `reconcile` for every key of `queue` until `stop`, at most `workers` keys at a time and
/// never one key twice at once. `name` names the component in the log.
///
/// A failed key comes back with the queue's back-off. When `stop` is cancelled the running
/// reconciles are dropped at their next await; every one of them must be safe to start over.
pub async fn run<T, F, Fut>(
    name: &str,
    queue: WorkQueue<T>,
    workers: usize,
    stop: CancellationToken,
    reconcile: F,
) where
    T: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static,
    F: Fn(T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Requeue, ReconcileError>> + Send + 'static,
{
    let name: Arc<str> = Arc::from(name);
    let reconcile = Arc::new(reconcile);
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        if running.len() >= workers {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = running.join_next() => continue,
            }
        }
        let key = tokio::select! {
            () = stop.cancelled() => break,
            key = queue.next() => key,
        };
        let Some(key) = key else { break };
        let (name, queue, reconcile) = (name.clone(), queue.clone(), reconcile.clone());
        running.spawn(async move {
            let outcome = reconcile(key.clone()).await;
            settle(&name, &queue, &key, outcome);
        });
    }
    running.shutdown().await;
}

fn settle<T>(name: &str, queue: &WorkQueue<T>, key: &T, outcome: Result<Requeue, ReconcileError>)
where
    T: Clone + Eq + Hash + fmt::Display,
{
    match outcome {
        Ok(Requeue::WhenChanged) => queue.forget(key),
        Ok(Requeue::After(delay)) => {
            queue.forget(key);
            queue.add_after(key.clone(), delay);
        }
        Err(error) => {
            let delay = queue.add_backed_off(key.clone());
            if error.is_ordinary() && delay < QUIET_FAILURES_MAX {
                debug!(controller = name, %key, ?delay, %error, "will try again");
            } else {
                warn!(controller = name, %key, ?delay, %error, "will try again");
            }
        }
    }
    queue.done(key);
}
