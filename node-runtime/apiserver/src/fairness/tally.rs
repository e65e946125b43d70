//! What happened to the requests of one flow schema at one priority level.

use super::queues::Refusal;

/// Counts since the server began.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Requests that began to run.
    pub(super) dispatched: u64,
    pub(super) refused: [u64; REFUSALS.len()],
    /// Requests and seats at this moment.
    pub(super) running: u32,
    pub(super) seats_in_use: u32,
    pub(super) waiting: u32,
    pub(super) seats_waiting: u32,
}

/// Why requests are refused, and how that is called.
pub(super) const REFUSALS: [(Refusal, &str); 4] = [
    (Refusal::QueueFull, "queue-full"),
    (Refusal::NoSeats, "concurrency-limit"),
    (Refusal::TooLong, "time-out"),
    (Refusal::Gone, "cancelled"),
];

impl Tally {
    pub(super) fn begin(&mut self, seats: u32) {
        self.dispatched += 1;
        self.running += 1;
        self.seats_in_use += seats;
    }

    pub(super) fn end(&mut self, seats: u32) {
        self.running -= 1;
        self.seats_in_use -= seats;
    }

    pub(super) fn wait(&mut self, seats: u32) {
        self.waiting += 1;
        self.seats_waiting += seats;
    }

    pub(super) fn wait_no_more(&mut self, seats: u32) {
        self.waiting -= 1;
        self.seats_waiting -= seats;
    }

    pub(super) fn refuse(&mut self, why: Refusal) {
        if let Some(at) = REFUSALS.iter().position(|(one, _)| *one == why) {
            self.refused[at] += 1;
        }
    }

    pub(super) fn refused(&self, why: Refusal) -> u64 {
        let at = REFUSALS.iter().position(|(one, _)| *one == why);
        at.map_or(0, |at| self.refused[at])
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting == 0
    }
}
