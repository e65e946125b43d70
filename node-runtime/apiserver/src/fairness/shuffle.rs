//! Shuffle sharding: which few of many queues a flow may use.
//!
//! Every flow gets a hand of queues that follows from a hash of its name alone. Two flows seldom
//! get the same hand, so a flow that fills its queues leaves others at least one that is not full.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The bits of a hash that dealing may use up; more would make the last card uneven.
const ENTROPY_BITS_MAX: f64 = 60.0;
/// Cards that can be dealt.
const HAND_MAX: u32 = 15;

/// The hash of a flow: requests of one schema that are told apart by a user or a namespace.
pub(super) fn flow_hash(schema: &str, distinguisher: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (schema, distinguisher).hash(&mut hasher);
    hasher.finish()
}

/// Whether hands of this size can be dealt fairly from so many queues.
pub(super) fn can_deal(queues: u32, hand: u32) -> bool {
    let fits = 0 < hand && hand <= queues && hand <= HAND_MAX;
    fits && (f64::from(queues).log2() * f64::from(hand)).ceil() <= ENTROPY_BITS_MAX
}

/// The hand of a flow: different numbers below `queues`.
pub(super) fn deal(hash: u64, queues: u32, hand: u32) -> impl Iterator<Item = u32> {
    let mut rest = hash;
    let mut drawn = [0; HAND_MAX as usize];
    let hand = hand.min(HAND_MAX).min(queues) as usize;
    for (index, card) in drawn[..hand].iter_mut().enumerate() {
        let left = u64::from(queues) - index as u64;
        *card = (rest % left) as u32;
        rest /= left;
    }
    // The n-th number is one of those that are left then: count past those that were drawn.
    let dealt = move |index: usize| {
        let earlier = drawn[..index].iter().rev();
        earlier.fold(drawn[index], |card, before| card + u32::from(card >= *before))
    };
    (0..hand).map(dealt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use test_case::test_case;

    #[test_case(128, 6, true; "suggested")]
    #[test_case(1, 1, true; "one queue")]
    #[test_case(4, 5, false; "more cards than queues")]
    #[test_case(8, 0, false; "no cards")]
    #[test_case(1 << 20, 4, false; "too many bits")]
    fn hands_that_can_be_dealt(queues: u32, hand: u32, expected: bool) {
        assert_eq!(can_deal(queues, hand), expected);
    }

    #[test]
    fn all_cards_of_a_hand_are_different() {
        for flow in 0..500 {
            let hash = flow_hash("schema", &flow.to_string());
            let hand: BTreeSet<u32> = deal(hash, 16, 8).collect();
            assert_eq!(hand.len(), 8);
            assert!(hand.iter().all(|card| *card < 16));
        }
        assert_eq!(deal(7, 3, 3).collect::<BTreeSet<_>>(), BTreeSet::from([0, 1, 2]));
    }

    #[test]
    fn hands_follow_from_the_flow_alone_and_seldom_agree() {
        let hand = |flow: u32| -> BTreeSet<u32> {
            deal(flow_hash("schema", &flow.to_string()), 128, 6).collect()
        };
        assert_eq!(hand(1), hand(1));
        let same = (0..1000).filter(|flow| hand(*flow) == hand(5000)).count();
        assert_eq!(same, 0);
    }
}
