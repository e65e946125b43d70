//! The least and the most of something; too much is the largest number there is.

/// A range of sizes or costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Range {
    pub(crate) const ZERO: Range = Range { min: 0, max: 0 };
    pub(crate) const UNKNOWN: Range = Range { min: 0, max: u64::MAX };

    pub(crate) fn new(min: u64, max: u64) -> Range {
        Range { min, max }
    }

    pub(crate) fn fixed(both: u64) -> Range {
        Range { min: both, max: both }
    }

    pub(crate) fn add(self, other: Range) -> Range {
        Range::new(self.min.saturating_add(other.min), self.max.saturating_add(other.max))
    }

    pub(crate) fn times(self, other: Range) -> Range {
        Range::new(self.min.saturating_mul(other.min), self.max.saturating_mul(other.max))
    }

    /// Rounded up.
    pub(crate) fn scaled(self, factor: f64) -> Range {
        // Casts of floats saturate.
        let scale = |number: u64| (number as f64 * factor).ceil() as u64;
        Range::new(scale(self.min), scale(self.max))
    }

    pub(crate) fn union(self, other: Range) -> Range {
        Range::new(self.min.min(other.min), self.max.max(other.max))
    }
}
