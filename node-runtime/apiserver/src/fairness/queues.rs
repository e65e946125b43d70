//! The queues of one priority level: who waits, who runs, and who is next.
//!
//! Fair queuing: each queue has a meter `next_at` of the work it was given, in seat-seconds. The
//! queue whose oldest request would be done first by these meters is next; so every busy queue gets
//! the same, however much it asks for. Work is guessed when a request begins, and put right when it
//! ends. A queue that begins anew starts where the queue that was served last stands (`served`): it
//! has no credit for the time it asked nothing, and those before it have none for having waited, so
//! a new flow never waits for a backlog.
//!
//! ```text
//! arrive ──> Waiting ──next──> Running ──leave──> gone
//!    │          └──leave──> gone
//!    └──> refused: its queue is full, or there are no queues and no seats
//! ```
//!
//! Plain data: the clock is handed in, nothing waits here. Only queues that are in use exist, so
//! that settings with millions of queues cost nothing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::demand::Demand;
use super::shuffle::deal;

/// What a request is taken to need of a seat before that is known, in seconds.
const GUESS_S: f64 = 0.003;

/// What a level does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// All of them run at once.
    Exempt,
    /// Those without a seat are refused.
    Reject,
    /// Those without a seat wait, `length` in each queue at most.
    Queue { queues: u32, hand: u32, length: u32 },
}

/// What became of a request that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Running,
    Waiting,
    Refused(Refusal),
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Refusal {
    QueueFull,
    NoSeats,
    TooLong,
    Gone,
}

/// Names a request for as long as it is here.
pub(super) type Id = u64;

/// A request that waits or runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// `None` where there are no queues.
    pub(super) queue: Option<u32>,
    pub(super) seats: u32,
    /// When it began to run.
    pub(super) started: Option<Duration>,
    /// The common meter when it arrived.
    arrived_at: f64,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) index: u32,
    pub(super) waiting: VecDeque<Id>,
    pub(super) waiting_seats: u32,
    pub(super) running: u32,
    pub(super) seats_in_use: u32,
    pub(super) next_at: f64,
}

/// How many requests and seats there are at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) waiting: u32,
    pub(super) running: u32,
    pub(super) seats_in_use: u32,
    pub(super) seats_waiting: u32,
}

/// The queues of one priority level.
#[derive(Debug)]
pub(super) struct Queues {
    policy: Policy,
    /// Seats that may be in use.
    limit: u32,
    /// Those with requests, by index.
    queues: Vec<Queue>,
    placed: HashMap<Id, Placed>,
    load: Load,
    pub(super) demand: Demand,
    served: f64,
    /// The queue that was served last: with equal meters, the next one after it is first.
    last: u32,
    arrivals: usize,
}

impl Queues {
    pub(super) fn new(policy: Policy, limit: u32) -> Queues {
        Queues {
            policy,
            limit,
            queues: Vec::new(),
            placed: HashMap::new(),
            load: Load::default(),
            demand: Demand::default(),
            served: 0.0,
            last: 0,
            arrivals: 0,
        }
    }

    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    pub(super) fn load(&self) -> Load {
        self.load
    }

    pub(super) fn is_idle(&self) -> bool {
        self.placed.is_empty()
    }

    pub(super) fn queues(&self) -> &[Queue] {
        &self.queues
    }

    pub(super) fn placed(&self, id: Id) -> Option<&Placed> {
        self.placed.get(&id)
    }

    /// Takes in a request of the flow `hash` that wants `seats`.
    pub(super) fn arrive(&mut self, now: Duration, id: Id, hash: u64, seats: u32) -> Arrival {
        let Policy::Queue { queues, hand, length } = self.policy else {
            if !self.fits(seats) {
                return Arrival::Refused(Refusal::NoSeats);
            }
            self.begin(now, id, Placed { queue: None, seats, started: None, arrived_at: 0.0 });
            return Arrival::Running;
        };
        let index = self.shortest(hash, queues, hand);
        let at = self.find(index);
        let long = at.is_ok_and(|at| self.queues[at].waiting.len() >= length as usize);
        if long && self.load.seats_in_use >= self.limit {
            return Arrival::Refused(Refusal::QueueFull);
        }
        let at = at.unwrap_or_else(|at| {
            self.queues.insert(at, Queue::new(index, self.served));
            at
        });
        let queue = Some(index);
        let placed = Placed { queue, seats, started: None, arrived_at: self.served };
        // The common case: nobody waits, and there is room.
        if self.load.waiting == 0 && self.fits(seats) {
            self.charge(at, seats);
            self.last = index;
            self.begin(now, id, placed);
            return Arrival::Running;
        }
        self.queues[at].waiting.push_back(id);
        self.queues[at].waiting_seats += seats;
        self.load.waiting += 1;
        self.load.seats_waiting += seats;
        self.placed.insert(id, placed);
        self.keep_up(at);
        self.note(now);
        Arrival::Waiting
    }

    /// Lets the next one run, if one waits that may.
    pub(super) fn next(&mut self, now: Duration) -> Option<Id> {
        if self.load.waiting == 0 || self.load.seats_in_use >= self.limit {
            return None;
        }
        let at = self.first_in_line()?;
        let queue = &mut self.queues[at];
        let id = *queue.waiting.front()?;
        let placed = *self.placed.get(&id)?;
        if !self.fits(placed.seats) {
            return None;
        }
        let queue = &mut self.queues[at];
        queue.waiting.pop_front();
        queue.waiting_seats -= placed.seats;
        self.last = queue.index;
        self.load.waiting -= 1;
        self.load.seats_waiting -= placed.seats;
        self.charge(at, placed.seats);
        self.keep_up(at);
        self.begin(now, id, placed);
        Some(id)
    }

    /// Takes out a request: it is done, or gave up waiting.
    pub(super) fn leave(&mut self, now: Duration, id: Id) -> Option<Placed> {
        let placed = self.placed.remove(&id)?;
        let at = placed.queue.and_then(|index| self.find(index).ok());
        match placed.started {
            Some(started) => {
                self.load.running -= 1;
                self.load.seats_in_use -= placed.seats;
                if let Some(at) = at {
                    let took = now.saturating_sub(started).as_secs_f64();
                    let queue = &mut self.queues[at];
                    queue.running -= 1;
                    queue.seats_in_use -= placed.seats;
                    queue.next_at += f64::from(placed.seats) * (took - GUESS_S);
                }
            }
            None => {
                self.load.waiting -= 1;
                self.load.seats_waiting -= placed.seats;
                if let Some(at) = at {
                    let queue = &mut self.queues[at];
                    queue.waiting.retain(|one| *one != id);
                    queue.waiting_seats -= placed.seats;
                }
            }
        }
        if let Some(at) = at {
            match self.queues[at].is_empty() {
                true => drop(self.queues.remove(at)),
                false => self.keep_up(at),
            }
        }
        if self.queues.is_empty() {
            // No meter refers to it: begin anew, so that it never grows large.
            self.served = 0.0;
        }
        self.note(now);
        Some(placed)
    }

    /// Whether `seats` more may be in use. What needs more than all of them runs alone.
    fn fits(&self, seats: u32) -> bool {
        match self.policy {
            Policy::Exempt => true,
            _ if seats > self.limit => self.load.running == 0,
            _ => self.load.seats_in_use + seats <= self.limit,
        }
    }

    /// The queue of the flow's hand with the least work in it.
    fn shortest(&mut self, hash: u64, queues: u32, hand: u32) -> u32 {
        // Where several are as short, flows with common queues shall not all take the same.
        let turn = self.arrivals % hand.max(1) as usize;
        self.arrivals = self.arrivals.wrapping_add(1);
        let cards = deal(hash, queues, hand);
        let work = |index: u32| self.find(index).map_or(0, |at| self.queues[at].waiting_seats);
        let turned = |place: usize| (place + hand as usize - turn) % hand.max(1) as usize;
        let best = cards.enumerate().min_by_key(|(place, card)| (work(*card), turned(*place)));
        best.map_or(0, |(_, card)| card)
    }

    /// The place of the queue whose oldest request would be done first.
    fn first_in_line(&self) -> Option<usize> {
        let done_at = |queue: &Queue| {
            let oldest = self.placed.get(queue.waiting.front()?)?;
            Some(queue.next_at + work(oldest.seats))
        };
        let after_last = self.queues.partition_point(|queue| queue.index <= self.last);
        let turned = (after_last..self.queues.len()).chain(0..after_last);
        let timed = turned.filter_map(|at| Some((at, done_at(&self.queues[at])?)));
        // The first of equal ones.
        timed.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(at, _)| at)
    }

    fn find(&self, index: u32) -> Result<usize, usize> {
        self.queues.binary_search_by_key(&index, |queue| queue.index)
    }

    fn charge(&mut self, at: usize, seats: u32) {
        let queue = &mut self.queues[at];
        self.served = self.served.max(queue.next_at);
        queue.next_at += work(seats);
        queue.running += 1;
        queue.seats_in_use += seats;
    }

    fn begin(&mut self, now: Duration, id: Id, placed: Placed) {
        self.load.running += 1;
        self.load.seats_in_use += placed.seats;
        self.placed.insert(id, Placed { started: Some(now), ..placed });
        self.note(now);
    }

    /// A queue cannot save up what it did not use before its oldest request came.
    fn keep_up(&mut self, at: usize) {
        let queue = &mut self.queues[at];
        let oldest = queue.waiting.front().and_then(|id| self.placed.get(id));
        if let Some(oldest) = oldest {
            queue.next_at = queue.next_at.max(oldest.arrived_at);
        }
    }

    fn note(&mut self, now: Duration) {
        self.demand.set(now, self.load.seats_in_use + self.load.seats_waiting);
    }
}

impl Queue {
    fn new(index: u32, served: f64) -> Queue {
        let waiting = VecDeque::new();
        Queue { index, waiting, waiting_seats: 0, running: 0, seats_in_use: 0, next_at: served }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

/// The work a request of so many seats is taken to be, in seat-seconds.
pub(super) fn work(seats: u32) -> f64 {
    f64::from(seats) * GUESS_S
}

#[cfg(test)]
mod tests;
