//! How long to wait before the next try: nothing at first, then doubling, forgotten after a
//! good while.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait.
const FIRST: Duration = Duration::from_secs(10);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(300);
/// Without a failure for this long, everything starts again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The memory of one thing that keeps failing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    delay: Duration,
    /// When the delay was set: with the last try.
    set_at: Option<Instant>,
}

impl Backoff {
    /// When to try again after a failure at `failed`; in the past means at once.
    pub(crate) fn retry_at(&self, failed: Instant) -> Instant {
        match self.set_at {
            Some(set_at) if failed.duration_since(set_at) < FORGOTTEN_AFTER => failed + self.delay,
            _ => failed,
        }
    }

    /// Notes a try at `now`, so that the next failure waits longer.
    pub(crate) fn tried(&mut self, now: Instant) {
        let fresh = self.set_at.is_none_or(|set_at| now.duration_since(set_at) > FORGOTTEN_AFTER);
        self.delay = if fresh { FIRST } else { (self.delay * 2).min(LONGEST) };
        self.set_at = Some(now);
    }

    /// The wait that follows the next failure.
    pub(crate) fn delay(&self) -> Duration {
        self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs that fail after `runs` seconds each; the seconds waited before each further run.
    fn waits(runs: &[u64]) -> Vec<u64> {
        let mut now = Instant::now();
        let mut backoff = Backoff::default();
        let mut waits = Vec::new();
        for run in runs {
            backoff.tried(now);
            now += Duration::from_secs(*run);
            let retry = backoff.retry_at(now);
            waits.push(retry.duration_since(now).as_secs());
            now = retry;
        }
        waits
    }

    #[test]
    fn doubles_up_to_five_minutes() {
        assert_eq!(waits(&[1; 8]), [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn a_long_run_starts_again() {
        assert_eq!(waits(&[1, 1, 601, 1]), [10, 20, 0, 10]);
    }
}
