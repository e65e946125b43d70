//! The one writer of a cache: follows the watch, alters the index, tells the listeners.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::runtime::watcher::{self, Event};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::cache::{Cache, Cached, Progress, Seen, Selection, revision_of};
use crate::key::{KeyOf, ObjectKey};

/// Delay after the first failure of a watch; doubled with each in a row.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
/// Longest delay between two tries.
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// Failures in a row before the log says so aloud.
const QUIET_FAILURES: u32 = 4;

/// How one run of the watch ended.
enum End {
    Stopped,
    /// The server no longer knows the revision: list again.
    Expired,
}

/// Keeps `cache` equal to what `api` reaches, until `stop`.
pub(super) async fn keep_up<K: Cached>(
    cache: Cache<K>,
    api: Api<K>,
    selection: Selection,
    stop: CancellationToken,
) {
    let mut failures = 0;
    loop {
        match follow(&cache, api.clone(), &selection, &stop, &mut failures).await {
            End::Stopped => return,
            End::Expired => debug!(kind = cache.shared.kind, "watch expired, listing again"),
        }
    }
}

async fn follow<K: Cached>(
    cache: &Cache<K>,
    api: Api<K>,
    selection: &Selection,
    stop: &CancellationToken,
    failures: &mut u32,
) -> End {
    let config = watcher::Config {
        field_selector: selection.fields.clone(),
        label_selector: selection.labels.clone(),
        ..watcher::Config::default()
    };
    let mut events = pin!(watcher::watcher(api, config));
    let mut listed = Vec::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return End::Stopped,
            event = events.next() => event,
        };
        let Some(event) = event else { return End::Expired };
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                if wait_after(&cache.shared.kind, &error, failures, stop).await {
                    return End::Stopped;
                }
                if is_expired(&error) {
                    return End::Expired;
                }
                continue;
            }
        };
        match event {
            // Also comes first after a failure, so it is no sign of success.
            Event::Init => listed.clear(),
            Event::InitApply(object) => listed.push(object),
            Event::InitDone => {
                *failures = 0;
                cache.replace_all(std::mem::take(&mut listed));
            }
            Event::Apply(object) => {
                *failures = 0;
                cache.apply(object);
            }
            Event::Delete(object) => cache.delete(&object),
        }
    }
}

/// Waits as long as the failures in a row ask for. `true` when stopped meanwhile.
async fn wait_after(
    kind: &str,
    error: &watcher::Error,
    failures: &mut u32,
    stop: &CancellationToken,
) -> bool {
    *failures = failures.saturating_add(1);
    if *failures > QUIET_FAILURES {
        warn!(kind, %error, failures, "watch failed, trying again");
    } else {
        debug!(kind, %error, failures, "watch failed, trying again");
    }
    let doubled = 2u32.saturating_pow(*failures - 1);
    let delay = BACK_OFF_FIRST.saturating_mul(doubled).min(BACK_OFF_MAX);
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(delay) => false,
    }
}

fn is_expired(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 410,
        watcher::Error::WatchError(status) => status.code == 410,
        _ => false,
    }
}

impl<K: Cached> Cache<K> {
    /// Makes the cache hold exactly `objects`, telling listeners what that changes.
    pub(super) fn replace_all(&self, objects: Vec<K>) {
        let keep: BTreeSet<ObjectKey> = objects.iter().map(KeyOf::key).collect();
        let gone = self.read().others(&keep);
        for key in gone {
            self.take_out(&key);
        }
        let mut revision = 0;
        for object in objects {
            revision = revision.max(revision_of(&object));
            self.put_in(object);
        }
        self.advance(revision, true);
    }

    fn apply(&self, object: K) {
        let revision = revision_of(&object);
        self.put_in(object);
        self.advance(revision, false);
    }

    fn delete(&self, object: &K) {
        let revision = revision_of(object);
        self.take_out(&object.key());
        self.advance(revision, false);
    }

    fn put_in(&self, mut object: K) {
        // Half of an object's size, and nobody in here reads it.
        object.meta_mut().managed_fields = None;
        (self.shared.trim)(&mut object);
        let new = Arc::new(object);
        let listeners = self.listeners();
        let old = self.write().insert(Arc::clone(&new));
        let mut old = old.as_ref();
        if let Some(last) = old.filter(|old| old.uid_str() != new.uid_str()) {
            // Deleted and made again while the watch was away.
            listeners.iter().for_each(|listener| listener(&Seen::Deleted { last }));
            old = None;
        }
        if old.is_some_and(|old| old.meta().resource_version == new.meta().resource_version) {
            return;
        }
        listeners.iter().for_each(|listener| listener(&Seen::Applied { old, new: &new }));
    }

    fn take_out(&self, key: &ObjectKey) {
        let listeners = self.listeners();
        let last = self.write().remove(key);
        if let Some(last) = last {
            listeners.iter().for_each(|listener| listener(&Seen::Deleted { last: &last }));
        }
    }

    fn advance(&self, revision: u64, synced: bool) {
        self.shared.progress.send_modify(|progress: &mut Progress| {
            progress.changes += 1;
            progress.revision = progress.revision.max(revision);
            progress.synced |= synced;
        });
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, super::Index<K>> {
        self.shared.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use k8s_openapi::api::core::v1::{Pod, PodSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

    use super::*;

    fn pod(name: &str, uid: &str, revision: u64, node: &str) -> Pod {
        Pod {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("default".to_owned()),
                uid: Some(uid.to_owned()),
                resource_version: Some(revision.to_string()),
                owner_references: Some(vec![OwnerReference {
                    uid: format!("owner-of-{name}"),
                    ..OwnerReference::default()
                }]),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec { node_name: Some(node.to_owned()), ..PodSpec::default() }),
            status: None,
        }
    }

    fn told(cache: &Cache<Pod>) -> Arc<Mutex<Vec<String>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        cache.on_change(move |seen| {
            let line = match seen {
                Seen::Applied { old: None, new } => format!("new {}", new.uid_str()),
                Seen::Applied { new, .. } => format!("changed {}", new.uid_str()),
                Seen::Deleted { last } => format!("gone {}", last.uid_str()),
            };
            log.lock().expect("no test panics here").push(line);
        });
        told
    }

    fn take(log: &Arc<Mutex<Vec<String>>>) -> Vec<String> {
        std::mem::take(&mut *log.lock().expect("no test panics here"))
    }

    #[test]
    fn a_new_list_is_told_as_differences() {
        let cache = Cache::of([pod("a", "1", 1, "n1"), pod("b", "2", 2, "n1")]);
        let log = told(&cache);
        assert_eq!(take(&log), ["new 1", "new 2"]);

        // `a` unchanged, `b` deleted and made again, `c` new.
        cache.replace_all(vec![
            pod("a", "1", 1, "n1"),
            pod("b", "3", 7, "n2"),
            pod("c", "4", 8, "n2"),
        ]);
        assert_eq!(take(&log), ["gone 2", "new 3", "new 4"]);

        cache.replace_all(vec![pod("c", "4", 9, "n2")]);
        assert_eq!(take(&log), ["gone 1", "gone 3", "changed 4"]);
    }

    #[test]
    fn indexes_follow_the_objects() {
        let names = |pods: Vec<Arc<Pod>>| -> Vec<String> {
            pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
        };
        let cache = Cache::of([pod("a", "1", 1, "n1"), pod("b", "2", 2, "n1")]);
        assert_eq!(names(cache.on_node("n1")), ["a", "b"]);
        cache.apply(pod("a", "1", 3, "n2"));
        assert_eq!(names(cache.on_node("n1")), ["b"]);
        assert_eq!(names(cache.owned_by("owner-of-a")), ["a"]);
        cache.delete(&pod("a", "1", 4, "n2"));
        assert!(cache.owned_by("owner-of-a").is_empty());
        assert_eq!(names(cache.in_namespace("default")), ["b"]);
        assert!(cache.in_namespace("other").is_empty());
    }
}
