//! How many seats a priority level wanted over a time: what lending and borrowing goes by.

use std::time::Duration;

/// How much of what was wanted earlier still counts after one period; halves in five minutes.
const SMOOTHING: f64 = 0.977;

/// Follows the number of seats that are taken or waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    since: Duration,
    changed: Duration,
    seats: f64,
    highest: f64,
    sum: f64,
    sum_of_squares: f64,
}

/// What was wanted in one period, smoothed over those before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// The most seats at one moment.
    pub(super) highest: f64,
    pub(super) average: f64,
    pub(super) deviation: f64,
    /// Follows growth at once, and forgets slowly.
    pub(super) smoothed: f64,
}

impl Demand {
    /// Notes that from `now` on so many seats are wanted.
    pub(super) fn set(&mut self, now: Duration, seats: u32) {
        self.advance(now);
        self.seats = f64::from(seats);
        self.highest = self.highest.max(self.seats);
    }

    /// Ends a period: what was wanted in it, after what was known before. A long one counts as
    /// several of length `period`.
    pub(super) fn take(&mut self, now: Duration, period: Duration, before: Wanted) -> Wanted {
        self.advance(now);
        let length = now.saturating_sub(self.since).as_secs_f64();
        let highest = self.highest;
        let (sum, squares) = (self.sum, self.sum_of_squares);
        let seats = self.seats;
        *self = Demand { since: now, changed: now, seats, highest: seats, ..Demand::default() };
        if length <= 0.0 {
            return Wanted { highest, ..before };
        }
        let average = sum / length;
        let deviation = (squares / length - average * average).max(0.0).sqrt();
        let envelope = average + deviation;
        let kept = SMOOTHING.powf((length / period.as_secs_f64()).max(1.0));
        let smoothed = envelope.max(kept * before.smoothed + (1.0 - kept) * envelope);
        Wanted { highest, average, deviation, smoothed }
    }

    fn advance(&mut self, now: Duration) {
        let seconds = now.saturating_sub(self.changed).as_secs_f64();
        self.changed = self.changed.max(now);
        self.sum += self.seats * seconds;
        self.sum_of_squares += self.seats * self.seats * seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn averages_over_time_and_remembers_the_highest() {
        let mut demand = Demand::default();
        demand.set(at(0), 2);
        demand.set(at(5), 10);
        demand.set(at(5), 4);
        let wanted = demand.take(at(10), PERIOD, Wanted::default());
        assert_eq!(wanted.highest, 10.0);
        assert_eq!(wanted.average, 3.0);
        assert_eq!(wanted.deviation, 1.0);
        assert_eq!(wanted.smoothed, 4.0);
        let next = demand.take(at(20), PERIOD, wanted);
        assert_eq!((next.highest, next.average, next.smoothed), (4.0, 4.0, 4.0));
    }

    #[test]
    fn what_was_wanted_is_forgotten_slowly_but_also_over_one_long_period() {
        let before = Wanted { smoothed: 100.0, ..Wanted::default() };
        let mut demand = Demand::default();
        let soon = demand.take(at(10), PERIOD, before);
        assert!((soon.smoothed - 97.7).abs() < 1e-9);
        let late = Demand::default().take(at(300), PERIOD, before);
        assert!((45.0..55.0).contains(&late.smoothed), "half after five minutes: {late:?}");
    }
}
