//! A view of part of the store that is never behind: before each look it takes in what changed.
//!
//! No task runs for it. Reading costs two atomic loads when nothing changed, and the folding of
//! the changes by whoever reads first otherwise; so a role that was just written counts for the
//! very next request.

use std::ops::Deref;
use std::sync::{RwLock, RwLockReadGuard};

use crate::vault::{Store, Watch};
use bytes::Bytes;
use minik_store::{EventKind, ListOptions, Revision, StoreError};
use serde_json::Value;

/// State that is folded from the objects below some prefixes.
pub(crate) trait Fold: Default {
    /// The prefixes whose objects are folded, each ending with `/`.
    const PREFIXES: &'static [&'static str];

    /// Takes the new state of one object (`None`: deleted). `key` is the full key.
    fn apply(&mut self, key: &str, object: Option<&Value>);

    /// Like [`Fold::apply`], for state that keeps what is stored, and when it was written.
    fn apply_stored(&mut self, key: &str, stored: Option<(&Bytes, Revision)>) {
        let object = stored.and_then(|(bytes, _)| serde_json::from_slice::<Value>(bytes).ok());
        self.apply(key, object.as_ref());
    }
}

/// A [`Fold`] that follows the store.
pub(crate) struct Live<T> {
    store: Store,
    inner: RwLock<Inner<T>>,
}

struct Inner<T> {
    state: T,
    watches: Vec<Watch>,
}

impl<T: Fold> Live<T> {
    /// Reads everything once and follows from there.
    pub(crate) fn new(store: &Store) -> Result<Live<T>, StoreError> {
        Ok(Live { store: store.clone(), inner: RwLock::new(Inner::read(store)?) })
    }

    /// The state with every write folded in that was acknowledged before this call.
    pub(crate) fn now(&self) -> impl Deref<Target = T> + '_ {
        let revision = self.store.revision();
        let guard = self.inner.read().expect("no holder of a view panics");
        if guard.watches.iter().all(|watch| watch.progress() >= revision) {
            return Guard(guard);
        }
        drop(guard);
        let mut guard = self.inner.write().expect("no holder of a view panics");
        guard.catch_up(&self.store);
        drop(guard);
        // Another change may come in between; it was not acknowledged when we were asked.
        Guard(self.inner.read().expect("no holder of a view panics"))
    }
}

struct Guard<'a, T>(RwLockReadGuard<'a, Inner<T>>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.state
    }
}

impl<T: Fold> Inner<T> {
    fn read(store: &Store) -> Result<Inner<T>, StoreError> {
        let mut state = T::default();
        let mut watches = Vec::new();
        for prefix in T::PREFIXES {
            let page = store.list(prefix, &ListOptions::default())?;
            for entry in &page.entries {
                state.apply_stored(&entry.key, Some((&entry.value, entry.modified)));
            }
            watches.push(store.watch(prefix, page.revision)?);
        }
        Ok(Inner { state, watches })
    }

    fn catch_up(&mut self, store: &Store) {
        for watch in &mut self.watches {
            loop {
                match watch.try_next() {
                    Ok(None) => break,
                    Ok(Some(event)) => {
                        let stored = match event.kind {
                            EventKind::Put => Some((&event.value, event.revision)),
                            EventKind::Delete => None,
                        };
                        self.state.apply_stored(&event.key, stored);
                    }
                    // More changed since the last look than the store remembers: read it anew.
                    // A closed store keeps its last state.
                    Err(_) => {
                        if let Ok(anew) = Inner::read(store) {
                            *self = anew;
                        }
                        return;
                    }
                }
            }
        }
    }
}
