//! How old a revision is: lists of the past end some time after that past, however much the ring holds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::types::Revision;

/// Marks per age: how exactly the age is kept.
const MARKS: u32 = 10;

/// Which revision was the newest at some moments, oldest first.
#[derive(Debug)]
pub(crate) struct Ages {
    max: Duration,
    marks: VecDeque<(Instant, Revision)>,
}

impl Ages {
    pub(crate) fn new(max: Duration) -> Self {
        Self { max, marks: VecDeque::new() }
    }

    /// Notes that `revision` is the newest at `now`.
    pub(crate) fn mark(&mut self, now: Instant, revision: Revision) {
        let is_new = self.marks.back().is_none_or(|(at, _)| *at + self.max / MARKS <= now);
        if !is_new {
            return;
        }
        // Of those that are too old the newest is enough.
        while self.marks.get(1).is_some_and(|(at, _)| *at + self.max <= now) {
            self.marks.pop_front();
        }
        self.marks.push_back((now, revision));
    }

    /// The oldest revision that may still be listed.
    pub(crate) fn oldest(&self, now: Instant) -> Revision {
        let old = self.marks.iter().rev().find(|(at, _)| *at + self.max <= now);
        old.map_or(Revision(0), |(_, revision)| *revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_long_ago_is_too_old() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut ages = Ages::new(Duration::from_secs(300));
        assert_eq!(ages.oldest(at(1000)), Revision(0));
        for (seconds, revision) in [(0, 5), (10, 6), (40, 7), (80, 8), (300, 9)] {
            ages.mark(at(seconds), Revision(revision));
        }
        assert_eq!(ages.oldest(at(299)), Revision(0));
        assert_eq!(ages.oldest(at(300)), Revision(5));
        assert_eq!(ages.oldest(at(340)), Revision(7), "6 came too soon after 5 for a mark");
        assert_eq!(ages.oldest(at(10_000)), Revision(9), "the newest never is");
    }

    #[test]
    fn marks_are_few() {
        let start = Instant::now();
        let mut ages = Ages::new(Duration::from_secs(300));
        for second in 0..10_000 {
            ages.mark(start + Duration::from_secs(second), Revision(second));
        }
        assert!(ages.marks.len() <= MARKS as usize + 2, "{}", ages.marks.len());
    }
}
