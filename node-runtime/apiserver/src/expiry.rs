//! Events last an hour: one task sleeps until the oldest is due and removes it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::vault::Store;
use minik_store::{EventKind, Expect, ListOptions, Revision, StoreError, Write};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::objects;

/// How long an event is kept after it was last written.
pub(crate) const EVENT_LIFE: Duration = Duration::from_secs(3600);

/// An event as it was written: a later write of the same key has an entry of its own.
struct Due {
    at: Instant,
    key: Arc<str>,
    revision: Revision,
}

/// Follows the events until `stop`; each is removed when it was not written for `life`.
pub(crate) async fn run(store: Store, life: Duration, stop: CancellationToken) {
    while let Err(error) = follow(&store, life, &stop).await {
        // Too many events at once for the history: begin anew with what is there.
        if !matches!(error, StoreError::Compacted { .. }) {
            warn!(%error, "cannot expire events");
            return;
        }
    }
}

async fn follow(store: &Store, life: Duration, stop: &CancellationToken) -> Result<(), StoreError> {
    let prefix = format!("{}core/events/", objects::ROOT);
    let page = store.list(&prefix, &ListOptions::default())?;
    let mut watch = store.watch(&prefix, page.revision)?;
    let due = Instant::now() + life;
    let entries = page.entries.into_iter();
    let mut queue: VecDeque<Due> =
        entries.map(|entry| Due { at: due, key: entry.key, revision: entry.modified }).collect();
    loop {
        // With nothing to wait for, the first event wakes us long before this.
        let next = queue.front().map_or_else(|| Instant::now() + EVENT_LIFE, |due| due.at);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            batch = watch.next_batch(256) => match batch {
                Ok(events) => {
                    let at = Instant::now() + life;
                    let written = events.iter().filter(|event| event.kind == EventKind::Put);
                    queue.extend(written.map(|event| Due {
                        at,
                        key: Arc::clone(&event.key),
                        revision: event.revision,
                    }));
                }
                Err(minik_store::WatchError::Compacted { seen, lost }) => {
                    return Err(StoreError::Compacted { asked: seen, oldest: lost });
                }
                Err(minik_store::WatchError::Closed) => return Ok(()),
            },
            () = sleep_until(next) => remove_due(store, &mut queue).await?,
        }
    }
}

async fn remove_due(store: &Store, queue: &mut VecDeque<Due>) -> Result<(), StoreError> {
    let now = Instant::now();
    while queue.front().is_some_and(|due| due.at <= now) {
        let Some(due) = queue.pop_front() else { break };
        let write = Write::delete(due.key, Expect::At(due.revision)).volatile();
        match store.commit(write).await {
            // Written again or deleted meanwhile.
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn old_events_go_and_everything_else_stays() {
        let store = Store::in_memory();
        let put = async |key: &str| {
            let write = Write::create(key, "{}".into()).volatile();
            store.commit(write).await.expect("write")
        };
        put("/registry/core/events/web/before").await;
        put("/registry/core/pods/web/a").await;
        let mut watch = store.watch(objects::ROOT, store.revision()).expect("watch");
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(store.clone(), Duration::ZERO, stop.clone()));
        let removed = watch.next().await.expect("event");
        assert_eq!(&*removed.key, "/registry/core/events/web/before");
        put("/registry/core/events/web/after").await;
        while store.get("/registry/core/events/web/after").is_some() {
            watch.next().await.expect("event");
        }
        stop.cancel();
        running.await.expect("ends");
        assert_eq!(store.count("", 9), 1);
    }
}
