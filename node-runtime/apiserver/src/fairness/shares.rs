//! Divides the server's seats among the priority levels: nominally by their shares, and from time
//! to time anew by what each wants.

/// The limits of one level, in seats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// What its share comes to.
    pub(super) nominal: u32,
    /// What it keeps when it lends all it may.
    pub(super) least: u32,
    /// What it has when it borrows all it may.
    pub(super) most: u32,
}

/// The limits of a level with `shares` of `share_sum`. `lendable` and `borrowing` are percents of
/// the nominal limit; without `borrowing` it may borrow everything.
pub(super) fn limits(
    total: u32,
    shares: u32,
    share_sum: u32,
    lendable: u32,
    borrowing: Option<u32>,
) -> Limits {
    let of = |percent: u32, seats: f64| (seats * f64::from(percent) / 100.0).round();
    let nominal = match share_sum {
        0 => 0.0,
        sum => (f64::from(total) * f64::from(shares) / f64::from(sum)).ceil(),
    };
    let lent = of(lendable, nominal);
    let borrowed = borrowing.map_or(f64::from(total), |percent| of(percent, nominal));
    Limits {
        nominal: nominal as u32,
        least: (nominal - lent) as u32,
        most: (nominal + borrowed) as u32,
    }
}

/// One level that wants a part of the seats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Claim {
    pub(super) least: f64,
    pub(super) most: f64,
    /// What it would like to have, at least `least`.
    pub(super) wanted: f64,
}

/// Nobody wants less than this, so that all can be set in relation.
const WANTED_MIN: f64 = 0.001;

/// Divides `seats` so that each claim gets the same multiple of what it wants, but for those whose
/// bounds are in the way. `None` if the bounds leave no way.
pub(super) fn divide(seats: f64, claims: &[Claim]) -> Option<Vec<f64>> {
    const EPSILON: f64 = 1e-7;
    let sum = |of: fn(&Claim) -> f64| claims.iter().map(of).sum::<f64>();
    let (least, most) = (sum(|claim| claim.least), sum(|claim| claim.most));
    let sane = claims.iter().all(|claim| 0.0 <= claim.least && claim.least <= claim.most);
    if !sane || least - seats > EPSILON || seats - most > EPSILON {
        return None;
    }
    let given = |multiple: f64, claim: &Claim| {
        (multiple * claim.wanted.max(WANTED_MIN)).clamp(claim.least, claim.most)
    };
    let all = |multiple: f64| claims.iter().map(|claim| given(multiple, claim)).sum::<f64>();
    // What is given grows with the multiple, evenly between the multiples where a bound begins or
    // ends to matter.
    let mut bends: Vec<f64> = claims
        .iter()
        .flat_map(|claim| {
            let wanted = claim.wanted.max(WANTED_MIN);
            [claim.least / wanted, claim.most / wanted]
        })
        .collect();
    bends.sort_by(f64::total_cmp);
    let above = bends.iter().position(|bend| all(*bend) >= seats - EPSILON)?;
    let high = bends[above];
    let low = above.checked_sub(1).map_or(0.0, |index| bends[index]);
    let (from, to) = (all(low), all(high));
    let multiple = match to - from {
        grown if grown < EPSILON => high,
        grown => low + (high - low) * ((seats - from) / grown).clamp(0.0, 1.0),
    };
    Some(claims.iter().map(|claim| given(multiple, claim)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case(600, 5, 0, None => Limits { nominal: 13, least: 13, most: 613 }; "catch all")]
    #[test_case(600, 100, 90, None => Limits { nominal: 245, least: 24, most: 845 }; "workload low")]
    #[test_case(600, 20, 50, Some(50) => Limits { nominal: 49, least: 24, most: 74 }; "borrows half")]
    #[test_case(600, 0, 0, None => Limits { nominal: 0, least: 0, most: 600 }; "exempt")]
    fn limits_of_shares(total: u32, shares: u32, lendable: u32, borrowing: Option<u32>) -> Limits {
        limits(total, shares, 245, lendable, borrowing)
    }

    fn claim(least: f64, most: f64, wanted: f64) -> Claim {
        Claim { least, most, wanted }
    }

    #[track_caller]
    fn check(seats: f64, claims: &[Claim], expected: &[f64]) {
        let given = divide(seats, claims).expect("bounds that leave a way");
        let near = given.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(near && given.len() == expected.len(), "{given:?}");
    }

    #[test]
    fn all_get_the_same_multiple_but_for_bounds() {
        check(100.0, &[claim(0.0, 100.0, 10.0), claim(0.0, 100.0, 30.0)], &[25.0, 75.0]);
        check(100.0, &[claim(0.0, 20.0, 10.0), claim(0.0, 100.0, 10.0)], &[20.0, 80.0]);
        check(100.0, &[claim(40.0, 100.0, 40.0), claim(0.0, 100.0, 120.0)], &[40.0, 60.0]);
        check(100.0, &[claim(10.0, 200.0, 10.0), claim(10.0, 200.0, 10.0)], &[50.0, 50.0]);
        check(30.0, &[claim(10.0, 50.0, 10.0), claim(20.0, 50.0, 20.0)], &[10.0, 20.0]);
        check(100.0, &[claim(0.0, 50.0, 0.0), claim(0.0, 50.0, 0.0)], &[50.0, 50.0]);
    }

    #[test]
    fn bounds_that_leave_no_way() {
        assert_eq!(divide(10.0, &[claim(20.0, 30.0, 20.0)]), None);
        assert_eq!(divide(40.0, &[claim(20.0, 30.0, 20.0)]), None);
    }

    #[test]
    fn whatever_is_claimed_all_seats_are_given_within_the_bounds() {
        for _ in 0..2000 {
            let claims: Vec<Claim> = (0..rand::random_range(1..8))
                .map(|_| {
                    let least = rand::random_range(0.0..50.0);
                    let most = least + rand::random_range(0.0..100.0);
                    Claim { least, most, wanted: least + rand::random_range(0.0..200.0) }
                })
                .collect();
            let (low, high) = claims
                .iter()
                .fold((0.0, 0.0), |(low, high), claim| (low + claim.least, high + claim.most));
            let seats = low + (high - low) * rand::random::<f64>();
            let given = divide(seats, &claims).expect("within the bounds");
            assert!((given.iter().sum::<f64>() - seats).abs() < 1e-3, "{claims:?}: {given:?}");
            for (claim, given) in claims.iter().zip(&given) {
                assert!(claim.least - 1e-6 <= *given && *given <= claim.most + 1e-6);
            }
        }
    }
}
