//! What becomes of a definition: its names are accepted, it is established, and when it is
//! deleted its objects go first.
//!
//! ```text
//! created ──(names free)──> Established ──(deleted)──> Terminating ──(no objects left)──> gone
//!    └──────(names taken)──> NamesAccepted=False, until the other definition goes
//! ```
//!
//! One task follows the definitions in the store and writes their status; one more for each
//! definition that is being deleted empties it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::vault::Store;
use bytes::Bytes;
use minik_api::custom::definition::{self, DeletionStage};
use minik_meta::{object, time};
use minik_store::{
    Entry, Event, EventKind, Expect, ListOptions, Revision, StoreError, WatchError, Write,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::PREFIX;
use crate::core::Core;
use crate::kinds::Kind;
use crate::objects;

/// Changes that are looked at together.
const BATCH_MAX: usize = 64;
/// How often a status is tried again on the newest definition.
const TRIES_MAX: usize = 8;

/// Follows the definitions until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let kinds = &core.kinds;
    let Some(kind) = kinds.find("apiextensions.k8s.io", "v1", "customresourcedefinitions") else {
        return;
    };
    let mut known = Known::default();
    let mut emptying = JoinSet::new();
    loop {
        let Ok(page) = core.store.list(PREFIX, &ListOptions::default()) else { return };
        let mut touched = known.reset(&page.entries);
        let Ok(mut watch) = core.store.watch(PREFIX, page.revision) else { continue };
        loop {
            kinds.refresh();
            for name in touched {
                settle(&core.store, &kind, &known, &name).await;
                if known.begins_emptying(&name) {
                    let (store, kind) = (core.store.clone(), Arc::clone(&kind));
                    emptying.spawn(async move {
                        empty(&store, &kind, &name).await;
                        name
                    });
                }
            }
            touched = tokio::select! {
                () = stop.cancelled() => return,
                Some(done) = emptying.join_next() => {
                    done.map(|name| known.ended_emptying(name)).unwrap_or_default()
                }
                changed = watch.next_batch(BATCH_MAX) => match changed {
                    Ok(events) => known.take(&events),
                    // More changed than the store remembers: read all of it again.
                    Err(WatchError::Compacted { .. }) => break,
                    Err(WatchError::Closed) => return,
                },
            };
        }
    }
}

/// What must be known of all definitions to judge about one.
#[derive(Default)]
struct Known {
    /// Names, status and metadata of each.
    by_name: BTreeMap<String, Value>,
    emptying: BTreeSet<String>,
}

impl Known {
    /// Starts anew; all definitions have to be looked at.
    fn reset(&mut self, entries: &[Entry]) -> BTreeSet<String> {
        self.by_name.clear();
        for entry in entries {
            self.put(&entry.key, &entry.value);
        }
        self.by_name.keys().cloned().collect()
    }

    fn put(&mut self, key: &str, bytes: &Bytes) -> Option<String> {
        let name = key.strip_prefix(PREFIX)?.to_owned();
        let definition: Value = serde_json::from_slice(bytes).ok()?;
        let part = |path: &[&str]| object::at(&definition, path).cloned().unwrap_or_default();
        let trimmed = json!({
            "metadata": part(&["metadata"]),
            "spec": {"group": part(&["spec", "group"]), "names": part(&["spec", "names"])},
            "status": part(&["status"]),
        });
        self.by_name.insert(name.clone(), trimmed);
        Some(name)
    }

    /// Takes changes in; says whose status they may concern.
    fn take(&mut self, events: &[Arc<Event>]) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        for event in events {
            let Some(name) = event.key.strip_prefix(PREFIX) else { continue };
            let group = name.split_once('.').map_or("", |(_, group)| group).to_owned();
            match event.kind {
                EventKind::Put => touched.extend(self.put(&event.key, &event.value)),
                EventKind::Delete => {
                    self.by_name.remove(name);
                }
            }
            // Names may have become free for others of the group.
            let waiting = self.by_name.iter().filter(|(_, one)| {
                object::text(one, &["spec", "group"]) == group
                    && object::list(one, &["status", "conditions"]).iter().any(|condition| {
                        condition["type"] == "NamesAccepted" && condition["status"] == "False"
                    })
            });
            touched.extend(waiting.map(|(name, _)| name.clone()));
        }
        touched
    }

    fn begins_emptying(&mut self, name: &str) -> bool {
        let dying = self.by_name.get(name).is_some_and(|definition| {
            definition::is_terminating(definition)
                && object::finalizers(definition).any(|one| one == definition::CLEANUP)
        });
        dying && self.emptying.insert(name.to_owned())
    }

    fn ended_emptying(&mut self, name: String) -> BTreeSet<String> {
        self.emptying.remove(&name);
        BTreeSet::from([name])
    }

    fn others(&self, name: &str) -> Vec<Value> {
        let others = self.by_name.iter().filter(|(other, _)| *other != name);
        others.map(|(_, definition)| definition.clone()).collect()
    }
}

/// Writes the status that a definition should have.
async fn settle(store: &Store, kind: &Kind, known: &Known, name: &str) {
    let others = known.others(name);
    let changed = change(store, kind, name, |definition| {
        let status = definition::status(definition, &others)?;
        object::set(definition, &["status"], status);
        Some(())
    });
    if let Err(error) = changed.await {
        warn!(definition = name, %error, "cannot write the status of a definition");
    }
}

/// Changes a definition, if there is anything to change; tries again when somebody else was
/// faster. A definition that is dying and held by nobody any more goes.
async fn change(
    store: &Store,
    kind: &Kind,
    name: &str,
    change: impl Fn(&mut Value) -> Option<()>,
) -> Result<(), StoreError> {
    let key = format!("{PREFIX}{name}");
    for _ in 0..TRIES_MAX {
        let Some(entry) = store.get(&key) else { return Ok(()) };
        let mut definition = objects::read(kind, &entry.value, entry.modified);
        if change(&mut definition).is_none() {
            return Ok(());
        }
        let over = definition::is_terminating(&definition)
            && object::finalizers(&definition).next().is_none();
        let expect = Expect::At(entry.modified);
        let write = match over {
            true => Write::delete(key.clone(), expect),
            false => Write::put(key.clone(), expect, objects::write(kind, definition)),
        };
        match store.commit(write).await {
            Err(StoreError::Conflict { .. }) => {}
            done => return done.map(|_| ()),
        }
    }
    Ok(())
}

/// Deletes all objects of a definition, waits until they are gone, and lets the definition go.
async fn empty(store: &Store, kind: &Kind, name: &str) {
    let emptied = async {
        mark(store, kind, name, &DeletionStage::InProgress).await?;
        let (plural, group) = name.split_once('.').unwrap_or((name, ""));
        empty_prefix(store, &format!("{}{group}/{plural}/", objects::ROOT)).await
    };
    let done = match emptied.await {
        Ok(()) => {
            change(store, kind, name, |definition| {
                definition::mark_deletion(definition, &DeletionStage::Completed);
                release(definition);
                Some(())
            })
            .await
        }
        Err(error) => {
            let why = format!("could not delete instances: {error}");
            mark(store, kind, name, &DeletionStage::Failed(why)).await
        }
    };
    if let Err(error) = done {
        warn!(definition = name, %error, "cannot empty a definition that is being deleted");
    }
}

async fn mark(
    store: &Store,
    kind: &Kind,
    name: &str,
    stage: &DeletionStage,
) -> Result<(), StoreError> {
    change(store, kind, name, |definition| {
        definition::mark_deletion(definition, stage).then_some(())
    })
    .await
}

/// Takes our finalizer away.
fn release(definition: &mut Value) {
    let left: Vec<String> = object::finalizers(definition)
        .filter(|one| *one != definition::CLEANUP)
        .map(str::to_owned)
        .collect();
    match left.is_empty() {
        true => {
            object::remove(definition, &["metadata", "finalizers"]);
        }
        false => object::set(definition, &["metadata", "finalizers"], left),
    }
}

/// Deletes everything below a prefix and waits until nothing is left: finalizers are honoured.
async fn empty_prefix(store: &Store, prefix: &str) -> Result<(), StoreError> {
    loop {
        let page = store.list(prefix, &ListOptions::default())?;
        if page.entries.is_empty() {
            return Ok(());
        }
        for entry in &page.entries {
            delete(store, &entry.key, &entry.value, entry.modified).await?;
        }
        let mut watch = store.watch(prefix, page.revision)?;
        let mut left = page.entries.len();
        while left > 0 {
            let events = match watch.next_batch(BATCH_MAX).await {
                Ok(events) => events,
                Err(WatchError::Compacted { .. }) => break,
                Err(WatchError::Closed) => return Err(StoreError::Closed),
            };
            let gone = events.iter().filter(|event| event.kind == EventKind::Delete).count();
            left = left.saturating_sub(gone);
            // Made in the moment the definition began to go: they go, too.
            for event in events.iter().filter(|event| event.kind == EventKind::Put) {
                delete(store, &event.key, &event.value, event.revision).await?;
            }
        }
    }
}

/// Deletes an object, or asks those who hold it to let it go.
async fn delete(
    store: &Store,
    key: &Arc<str>,
    bytes: &Bytes,
    at: Revision,
) -> Result<(), StoreError> {
    let mut value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let held = object::finalizers(&value).next().is_some();
    if held && object::deletion_timestamp(&value).is_some() {
        return Ok(());
    }
    let expect = Expect::At(at);
    let write = match held {
        false => Write::delete(Arc::clone(key), expect),
        true => {
            let metadata = object::metadata_mut(&mut value);
            metadata.insert("deletionTimestamp".to_owned(), time::now_rfc3339().into());
            metadata.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
            let bytes = serde_json::to_vec(&value).unwrap_or_default();
            Write::put(Arc::clone(key), expect, Bytes::from(bytes))
        }
    };
    match store.commit(write).await {
        // Changed or deleted meanwhile: the watch shows it.
        Err(StoreError::Conflict { .. }) => Ok(()),
        done => done.map(|_| ()),
    }
}
