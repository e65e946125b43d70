//! Pods that wait for a node, the most important first.
//!
//! ```text
//! add -> active --next--> busy --placed--> gone
//!          ^                |--no node fits--> parked (until something changes that could help)
//!          +-- backing off <+--failed---------+
//! ```
//!
//! A parked pod that something may help comes back when it has waited 1 s since its last try, 2 s
//! after the second, up to 10 s: a cluster in turmoil is not searched over and over.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use minik_reconcile::ObjectKey;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::filter::Wakes;

const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// A parked pod is tried again after this time even if nothing seems to have changed.
const PARKED_MAX: Duration = Duration::from_secs(300);

/// Position among the active pods: priority, then age, then name.
type Rank = (Reverse<i32>, Option<Timestamp>, ObjectKey);

#[derive(Clone, Debug)]
enum State {
    Active,
    /// A worker has it. Changes since the number may have helped already.
    Busy {
        since_event: u64,
        changed: bool,
    },
    BackingOff(Instant),
    Parked {
        wakes: Wakes,
        until: Instant,
    },
}

#[derive(Clone, Debug)]
struct Entry {
    priority: i32,
    created: Option<Timestamp>,
    tries: u32,
    last_try: Instant,
    state: State,
}

/// The queue. Shared by reference.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<ObjectKey, Entry>,
    active: BTreeSet<Rank>,
    /// When a backing-off or parked pod is due.
    timers: BTreeSet<(Instant, ObjectKey)>,
    events: u64,
    /// Number of the last event of each sort: node, pod gone, pod came.
    last_event: [u64; 3],
}

impl Queue {
    /// A pod without node was seen, new or changed.
    pub(crate) fn add(&self, key: ObjectKey, priority: i32, created: Option<Timestamp>) {
        let mut inner = self.lock();
        match inner.entries.get_mut(&key) {
            None => {
                let entry = Entry {
                    priority,
                    created,
                    tries: 0,
                    last_try: Instant::now(),
                    state: State::Active,
                };
                inner.active.insert(entry.rank(&key));
                inner.entries.insert(key, entry);
            }
            Some(Entry { state: State::Busy { changed, .. }, .. }) => *changed = true,
            Some(Entry { state: State::Parked { .. }, .. }) => inner.release(&key),
            Some(Entry { state: State::Active | State::BackingOff(_), .. }) => {}
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// The pod is placed or gone.
    pub(crate) fn remove(&self, key: &ObjectKey) {
        self.lock().take_out(key);
    }

    /// Something changed that can help pods refused for such reasons.
    pub(crate) fn event(&self, what: Wakes) {
        let mut inner = self.lock();
        inner.events += 1;
        let number = inner.events;
        for (last, happened) in
            inner.last_event.iter_mut().zip([what.node, what.pod_gone, what.pod_came])
        {
            if happened {
                *last = number;
            }
        }
        let helped: Vec<ObjectKey> = inner
            .entries
            .iter()
            .filter(|(_, entry)| {
                matches!(&entry.state, State::Parked { wakes, .. } if wakes.overlaps(what))
            })
            .map(|(key, _)| key.clone())
            .collect();
        helped.iter().for_each(|key| inner.release(key));
        drop(inner);
        if !helped.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Waits for the next pod.
    pub(crate) async fn next(&self) -> ObjectKey {
        loop {
            let changed = self.changed.notified();
            let wake = {
                let mut inner = self.lock();
                inner.ripen(Instant::now());
                if let Some(key) = inner.take() {
                    return key;
                }
                inner.timers.first().map(|(at, _)| *at)
            };
            match wake {
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// No node fits: wait for a change of these sorts.
    pub(crate) fn park(&self, key: &ObjectKey, wakes: Wakes) {
        let mut inner = self.lock();
        let missed = |inner: &Inner, since: u64| {
            let [node, pod_gone, pod_came] = inner.last_event.map(|last| last > since);
            wakes.overlaps(Wakes { node, pod_gone, pod_came })
        };
        let Some(entry) = inner.entries.get(key) else { return };
        let State::Busy { since_event, changed } = entry.state else { return };
        if changed || missed(&inner, since_event) {
            inner.back_off(key);
        } else {
            let until = Instant::now() + PARKED_MAX;
            inner.set(key, State::Parked { wakes, until });
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Something went wrong that has nothing to do with the nodes: try again soon.
    pub(crate) fn retry(&self, key: &ObjectKey) {
        let mut inner = self.lock();
        inner.back_off(key);
        drop(inner);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn rank(&self, key: &ObjectKey) -> Rank {
        (Reverse(self.priority), self.created, key.clone())
    }

    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Active | State::Busy { .. } => None,
            State::BackingOff(until) | State::Parked { until, .. } => Some(until),
        }
    }
}

impl Inner {
    fn set(&mut self, key: &ObjectKey, state: State) {
        let Some(mut entry) = self.take_out(key) else { return };
        entry.state = state;
        if let Some(due) = entry.due() {
            self.timers.insert((due, key.clone()));
        }
        if matches!(entry.state, State::Active) {
            self.active.insert(entry.rank(key));
        }
        self.entries.insert(key.clone(), entry);
    }

    fn take_out(&mut self, key: &ObjectKey) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.active.remove(&entry.rank(key));
        if let Some(due) = entry.due() {
            self.timers.remove(&(due, key.clone()));
        }
        Some(entry)
    }

    /// Back to the active pods, or to wait for the rest of the back-off.
    fn release(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.get(key) else { return };
        let until = entry.last_try + back_off(entry.tries);
        if until <= Instant::now() {
            self.set(key, State::Active);
        } else {
            self.set(key, State::BackingOff(until));
        }
    }

    fn back_off(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.get(key) else { return };
        let until = entry.last_try + back_off(entry.tries);
        self.set(key, State::BackingOff(until));
    }

    fn ripen(&mut self, now: Instant) {
        while let Some((_, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.set(&key, State::Active);
        }
    }

    fn take(&mut self) -> Option<ObjectKey> {
        let (_, _, key) = self.active.pop_first()?;
        let since_event = self.events;
        let entry = self.entries.get_mut(&key)?;
        entry.tries += 1;
        entry.last_try = Instant::now();
        entry.state = State::Busy { since_event, changed: false };
        Some(key)
    }
}

fn back_off(tries: u32) -> Duration {
    let doubled = 2u32.saturating_pow(tries.saturating_sub(1));
    BACK_OFF_FIRST.saturating_mul(doubled).min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_important_first_then_the_oldest() {
        let queue = Queue::default();
        let at = |second| Timestamp::from_second(second).ok();
        queue.add(key("young"), 0, at(20));
        queue.add(key("old"), 0, at(10));
        queue.add(key("important"), 5, at(30));
        for name in ["important", "old", "young"] {
            assert_eq!(queue.next().await.name, name);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_helps_wakes_a_parked_pod() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add(key("a"), 0, None);
        queue.park(&queue.next().await, Wakes::NODE);
        queue.event(Wakes { pod_gone: true, ..Wakes::default() });
        tokio::time::advance(Duration::from_secs(5)).await;
        queue.event(Wakes::NODE);
        assert_eq!(queue.next().await.name, "a");
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_during_the_try_counts() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add(key("a"), 0, None);
        let busy = queue.next().await;
        queue.event(Wakes::ROOM);
        queue.park(&busy, Wakes::ROOM);
        assert_eq!(queue.next().await.name, "a");
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_removal_ends_it() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add(key("a"), 0, None);
        for expected in [0, 1, 3, 7, 15, 25] {
            let busy = queue.next().await;
            assert_eq!(start.elapsed().as_secs(), expected);
            queue.retry(&busy);
        }
        queue.remove(&key("a"));
        queue.add(key("b"), 0, None);
        assert_eq!(queue.next().await.name, "b");
    }
}
