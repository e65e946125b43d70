//! Owners that were seen to go. Their kind may have gone right after them, so that nobody could be
//! asked about them any more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// So many are remembered; of older ones the API is asked.
const REMEMBERED_MAX: usize = 512;

/// Uids of deleted owners, the newest last. A uid is never used again. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Departed(Arc<Mutex<VecDeque<String>>>);

impl Departed {
    pub(super) fn add(&self, uid: &str) {
        let mut uids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uids.len() == REMEMBERED_MAX {
            uids.pop_front();
        }
        uids.push_back(uid.to_owned());
    }

    pub(super) fn contains(&self, uid: &str) -> bool {
        let uids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uids.iter().any(|known| known == uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let departed = Departed::default();
        for number in 0..=REMEMBERED_MAX {
            departed.add(&number.to_string());
        }
        assert!(departed.contains("1") && departed.contains(&REMEMBERED_MAX.to_string()));
        assert!(!departed.contains("0"));
    }
}
