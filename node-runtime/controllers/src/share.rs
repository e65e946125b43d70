//! Numbers that may be given as a part of another: `25%` of the replicas.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which way a part that is not whole goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Up,
    Down,
}

/// The number that `share` stands for, given the whole. A text that is no percentage counts as 0.
pub(crate) fn of_total(share: &IntOrString, total: i32, round: Round) -> i32 {
    let percent = match share {
        IntOrString::Int(number) => return *number,
        IntOrString::String(text) => text.strip_suffix('%').and_then(|text| text.parse().ok()),
    };
    let hundredths = i64::from(total) * i64::from(percent.unwrap_or(0_i32));
    let whole = match round {
        Round::Up => (hundredths + 99).div_euclid(100),
        Round::Down => hundredths.div_euclid(100),
    };
    i32::try_from(whole).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("25%", 10, 3, 2; "a quarter of ten")]
    #[test_case("25%", 4, 1, 1; "a whole part")]
    #[test_case("100%", 3, 3, 3; "all")]
    #[test_case("0%", 3, 0, 0; "nothing")]
    #[test_case("some", 3, 0, 0; "not a percentage")]
    fn percentages(share: &str, total: i32, up: i32, down: i32) {
        let share = IntOrString::String(share.to_owned());
        assert_eq!(of_total(&share, total, Round::Up), up);
        assert_eq!(of_total(&share, total, Round::Down), down);
    }
}
