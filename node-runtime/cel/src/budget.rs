//! Limits of evaluation: what an expression may cost, and what it may really take.
//!
//! Costs are upstream's units, so that what runs there runs here. They do not say what everything
//! takes: comparing two large objects costs almost nothing. So real work and memory are counted
//! beside them, with limits that no sensible expression meets.

/// What one evaluation may cost.
pub const COST_PER_CALL: u64 = 1_000_000;
/// What all rules of one object may cost, and all expressions of one admission policy.
pub const COST_PER_REQUEST: u64 = 10_000_000;
/// What all match conditions of one webhook may cost.
pub const COST_PER_MATCH_CONDITIONS: u64 = 2_500_000;

/// Most steps of one evaluation: about a second.
const WORK_MAX: u64 = 20_000_000;
/// Most bytes that one evaluation makes.
const MADE_MAX: u64 = 16 << 20;

/// What is left for the expressions of one request.
#[derive(Clone, Debug)]
pub struct Budget {
    left: u64,
    per_call: u64,
}

impl Budget {
    /// The budget of all rules of one object, or of one policy.
    pub fn per_request() -> Budget {
        Budget::new(COST_PER_REQUEST, COST_PER_CALL)
    }

    /// The budget of a webhook's match conditions.
    pub fn match_conditions() -> Budget {
        Budget::new(COST_PER_MATCH_CONDITIONS, COST_PER_CALL)
    }

    /// A budget for all evaluations and the most that each of them may cost.
    pub fn new(total: u64, per_call: u64) -> Budget {
        Budget { left: total, per_call }
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// A meter for one evaluation.
    pub(crate) fn meter(&self) -> Meter {
        Meter { cost: 0, limit: self.per_call, work: 0, made: 0, depth: 0 }
    }

    /// Takes what an evaluation cost; whether there was as much.
    pub(crate) fn take(&mut self, cost: u64) -> bool {
        let enough = cost <= self.left;
        self.left = self.left.saturating_sub(cost);
        enough
    }

    /// Leaves nothing: no further expressions run.
    pub(crate) fn exhaust(&mut self) {
        self.left = 0;
    }
}

/// Counts one evaluation.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) cost: u64,
    limit: u64,
    work: u64,
    made: u64,
    pub(crate) depth: u32,
}

/// The evaluation has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop;

impl Meter {
    /// Counts cost.
    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), Stop> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit {
            // As if it had been counted unit by unit.
            self.cost = self.limit.saturating_add(1);
            return Err(Stop);
        }
        self.work(1)
    }

    /// Counts steps that have no cost.
    pub(crate) fn work(&mut self, steps: u64) -> Result<(), Stop> {
        self.work = self.work.saturating_add(steps);
        if self.work > WORK_MAX { Err(Stop) } else { Ok(()) }
    }

    /// Counts bytes before they are made.
    pub(crate) fn make(&mut self, bytes: u64) -> Result<(), Stop> {
        self.made = self.made.saturating_add(bytes);
        if self.made > MADE_MAX { Err(Stop) } else { Ok(()) }
    }

    /// Counts items of a list or map before they are made.
    pub(crate) fn make_items(&mut self, count: usize) -> Result<(), Stop> {
        self.make((count as u64).saturating_mul(size_of::<crate::Value<'_>>() as u64))
    }
}
