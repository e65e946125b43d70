//! Long chains of `&&` and `||` become balanced trees, so that they may be long.

use super::ast::{Expr, Kind};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logical {
    And,
    Or,
}

impl Logical {
    pub(super) fn kind(self, left: Expr, right: Expr) -> Kind {
        match self {
            Logical::And => Kind::And(Box::new(left), Box::new(right)),
            Logical::Or => Kind::Or(Box::new(left), Box::new(right)),
        }
    }
}

/// Joins `terms`, between which stand operators at `places`; `join` makes a node of two.
pub(super) fn balance<E>(
    terms: Vec<Expr>,
    places: &[u32],
    join: &mut impl FnMut(u32, Expr, Expr) -> Result<Expr, E>,
) -> Result<Expr, E> {
    let mut terms: Vec<Option<Expr>> = terms.into_iter().map(Some).collect();
    join_range(&mut terms, places, join)
}

fn join_range<E>(
    terms: &mut [Option<Expr>],
    places: &[u32],
    join: &mut impl FnMut(u32, Expr, Expr) -> Result<Expr, E>,
) -> Result<Expr, E> {
    if let [only] = terms {
        return Ok(only.take().expect("each term is taken once"));
    }
    // The left side gets the odd one, as upstream has it.
    let middle = terms.len().div_ceil(2);
    let (left, right) = terms.split_at_mut(middle);
    let left = join_range(left, &places[..middle - 1], join)?;
    let right = join_range(right, &places[middle..], join)?;
    join(places[middle - 1], left, right)
}
