//! The work queue: which keys want attention, once each, now or later.
//!
//! ```text
//!           add_after ---> delayed --(due)--+
//!                                           v
//! add -----------------> waiting --next--> busy --done--> gone, or waiting again if added meanwhile
//! ```
//!
//! A key is handed to one worker at a time. Adding a key that already waits does nothing, so the
//! queue never holds more entries than there are objects.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Delay after the first failure of a key.
const BACK_OFF_FIRST: Duration = Duration::from_millis(5);
/// Longest delay between two tries of a key that keeps failing.
const BACK_OFF_MAX: Duration = Duration::from_secs(1000);

/// A queue of distinct keys with delays and per-key back-off. Clones share it.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Keys in `waiting`, and busy keys that were added meanwhile.
    wanted: HashSet<T>,
    busy: HashSet<T>,
    delayed: BinaryHeap<Reverse<(Instant, u64)>>,
    /// What each timer is for. A key has at most one: the earliest asked for.
    timers: HashMap<u64, T>,
    due: HashMap<T, (Instant, u64)>,
    last_timer: u64,
    failures: HashMap<T, u32>,
    closed: bool,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        WorkQueue { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Clone + Eq + Hash> Default for WorkQueue<T> {
    fn default() -> Self {
        WorkQueue::new()
    }
}

impl<T: Clone + Eq + Hash> WorkQueue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> WorkQueue<T> {
        let state = State {
            waiting: VecDeque::new(),
            wanted: HashSet::new(),
            busy: HashSet::new(),
            delayed: BinaryHeap::new(),
            timers: HashMap::new(),
            due: HashMap::new(),
            last_timer: 0,
            failures: HashMap::new(),
            closed: false,
        };
        WorkQueue { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Asks for `key` to be worked on as soon as a worker is free.
    pub fn add(&self, key: T) {
        if self.lock().add(key) {
            self.shared.changed.notify_one();
        }
    }

    /// Asks for `key` after `delay`. The earliest of several such requests counts.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.lock();
        let at = Instant::now() + delay;
        if state.due.get(&key).is_some_and(|(earlier, _)| *earlier <= at) {
            return;
        }
        state.last_timer += 1;
        let timer = state.last_timer;
        if let Some((_, replaced)) = state.due.insert(key.clone(), (at, timer)) {
            state.timers.remove(&replaced);
        }
        state.timers.insert(timer, key);
        state.delayed.push(Reverse((at, timer)));
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Asks for `key` again after a failure: 5 ms, doubled with each failure in a row, at most
    /// 1000 s. Returns the delay.
    pub fn add_backed_off(&self, key: T) -> Duration {
        let failures = {
            let mut state = self.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures += 1;
            *failures
        };
        let delay = back_off(failures);
        self.add_after(key, delay);
        delay
    }

    /// Ends the row of failures of `key`.
    pub fn forget(&self, key: &T) {
        self.lock().failures.remove(key);
    }

    /// Waits for a key, which is then busy until [`WorkQueue::done`]. `None` after
    /// [`WorkQueue::close`].
    pub async fn next(&self) -> Option<T> {
        loop {
            // Registered before looking, so an addition after the look still wakes this call.
            let changed = self.shared.changed.notified();
            let wake = {
                let mut state = self.lock();
                if state.closed {
                    drop(state);
                    self.shared.changed.notify_one();
                    return None;
                }
                state.ripen(Instant::now());
                if let Some(key) = state.take() {
                    let more = !state.waiting.is_empty();
                    drop(state);
                    if more {
                        self.shared.changed.notify_one();
                    }
                    return Some(key);
                }
                state.delayed.peek().map(|Reverse((at, _))| *at)
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

    /// Ends the work on `key`; if it was added meanwhile it waits again.
    pub fn done(&self, key: &T) {
        let mut state = self.lock();
        state.busy.remove(key);
        if state.wanted.contains(key) {
            state.waiting.push_back(key.clone());
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    /// Ends the queue: every [`WorkQueue::next`] returns `None` from now on.
    pub fn close(&self) {
        self.lock().closed = true;
        self.shared.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    /// Whether a worker has something new to take.
    fn add(&mut self, key: T) -> bool {
        if self.closed || !self.wanted.insert(key.clone()) || self.busy.contains(&key) {
            return false;
        }
        self.waiting.push_back(key);
        true
    }

    fn ripen(&mut self, now: Instant) {
        while let Some(Reverse((at, timer))) = self.delayed.peek().copied() {
            let live = self.timers.contains_key(&timer);
            if live && at > now {
                return;
            }
            self.delayed.pop();
            if let Some(key) = self.timers.remove(&timer) {
                self.due.remove(&key);
                self.add(key);
            }
        }
    }

    fn take(&mut self) -> Option<T> {
        let key = self.waiting.pop_front()?;
        self.wanted.remove(&key);
        self.busy.insert(key.clone());
        Some(key)
    }
}

fn back_off(failures: u32) -> Duration {
    let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
    BACK_OFF_FIRST.saturating_mul(doubled).min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_handed_out_once() {
        let queue = WorkQueue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(queue.next().await, Some("b"));
        queue.close();
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test]
    async fn a_busy_key_waits_until_it_is_done() {
        let queue = WorkQueue::new();
        queue.add("a");
        let key = queue.next().await.expect("a waits");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, Some("b"));
        queue.done(&key);
        assert_eq!(queue.next().await, Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_delay_counts() {
        let queue = WorkQueue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(60));
        queue.add_after("a", Duration::from_secs(10));
        queue.add_after("a", Duration::from_secs(30));
        queue.add_after("b", Duration::from_secs(20));
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("b"));
        assert_eq!(start.elapsed().as_secs(), 20);
        assert!(queue.lock().timers.is_empty());
    }

    #[test]
    fn failures_double_the_delay() {
        let delays: Vec<u128> = [1, 2, 3, 18, 19, 99].map(|n| back_off(n).as_millis()).into();
        assert_eq!(delays, [5, 10, 20, 655_360, 1_000_000, 1_000_000]);
    }
}
