//! All priority levels: their limits, and what they lend each other.
//!
//! Every [`PERIOD`] the seats are divided anew by what each level wanted. No timer does that: it
//! happens when the next request comes or goes, and those who wait ask for it, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::demand::Wanted;
use super::queues::{Id, Policy, Queues};
use super::settings::{LevelSpec, Plan, Schema};
use super::shares::{self, Claim, Limits};
use super::tally::Tally;

/// How often seats are divided anew.
pub(super) const PERIOD: Duration = Duration::from_secs(10);
/// The most seats one request may take, whatever it reads.
const SEATS_MAX: u32 = 10;

/// One priority level with its requests.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) spec: Arc<LevelSpec>,
    pub(super) queues: Queues,
    pub(super) limits: Limits,
    pub(super) wanted: Wanted,
    /// No longer configured: it goes when its last request is gone.
    pub(super) quiescing: bool,
    /// What happened, by flow schema.
    pub(super) tallies: HashMap<Arc<str>, Tally>,
}

/// The levels of the newest plan, and those that still have requests.
#[derive(Debug)]
pub(super) struct Levels {
    total: u32,
    plan_number: u64,
    by_name: HashMap<Arc<str>, Level>,
    divided: Duration,
    nominal_sum: u32,
}

impl Level {
    /// The most seats a request of this level may take.
    pub(super) fn seats_max(&self) -> u32 {
        match self.spec.policy {
            Policy::Queue { hand, .. } => {
                let nominal = self.limits.nominal;
                let part = nominal.saturating_mul(15).div_ceil(100).min(nominal / hand.max(1));
                part.clamp(1, SEATS_MAX)
            }
            Policy::Exempt | Policy::Reject => SEATS_MAX,
        }
    }

    /// The least it must get now: what it wanted of its own, and never less than it keeps.
    fn least_now(&self) -> u32 {
        let highest = self.wanted.highest.round() as u32;
        match self.spec.policy {
            Policy::Exempt => self.limits.least.max(highest),
            Policy::Reject | Policy::Queue { .. } => {
                self.limits.least.max(self.limits.nominal.min(highest))
            }
        }
    }

    pub(super) fn tally(&mut self, schema: &Schema) -> &mut Tally {
        self.tallies.entry(Arc::clone(&schema.name)).or_default()
    }
}

impl Levels {
    /// No levels yet; `total` seats to divide.
    pub(super) fn new(total: u32) -> Levels {
        Levels {
            total,
            plan_number: 0,
            by_name: HashMap::new(),
            divided: Duration::ZERO,
            nominal_sum: 0,
        }
    }

    pub(super) fn get(&mut self, name: &str) -> Option<&mut Level> {
        self.by_name.get_mut(name)
    }

    /// All levels, by name.
    pub(super) fn sorted(&self) -> Vec<&Level> {
        let mut levels: Vec<&Level> = self.by_name.values().collect();
        levels.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        levels
    }

    /// When seats are divided next.
    pub(super) fn due(&self) -> Duration {
        self.divided + PERIOD
    }

    /// Follows the settings, and divides the seats anew if it is time. Returns who may run now.
    pub(super) fn refresh(&mut self, now: Duration, plan: &Plan) -> Vec<Id> {
        if plan.number > self.plan_number {
            self.follow(plan);
            self.divide(now);
        } else if now >= self.due() {
            self.divide(now);
        } else {
            return Vec::new();
        }
        let mut begun = Vec::new();
        for level in self.by_name.values_mut() {
            while let Some(id) = level.queues.next(now) {
                begun.push(id);
            }
        }
        begun
    }

    /// Takes a level out that is not wanted any more.
    pub(super) fn reap(&mut self, name: &str) {
        if self.by_name.get(name).is_some_and(|one| one.quiescing && one.queues.is_idle()) {
            self.by_name.remove(name);
        }
    }

    fn follow(&mut self, plan: &Plan) {
        self.plan_number = plan.number;
        self.by_name.retain(|name, level| {
            level.quiescing = !plan.levels.contains_key(name);
            !(level.quiescing && level.queues.is_idle())
        });
        // Those that go keep their share until then.
        let leaving = self.by_name.values().filter(|level| level.quiescing);
        let leaving: u32 = leaving.map(|level| level.spec.shares).sum();
        let sum = plan.levels.values().map(|spec| spec.shares).fold(leaving, u32::saturating_add);
        for spec in plan.levels.values() {
            let limits = limits_of(self.total, spec, sum);
            match self.by_name.get_mut(&spec.name) {
                Some(level) => {
                    level.spec = Arc::clone(spec);
                    level.queues.set_policy(spec.policy);
                }
                None => {
                    let lendable = limits.nominal - limits.least;
                    let level = Level {
                        spec: Arc::clone(spec),
                        queues: Queues::new(spec.policy, limits.nominal - lendable / 2),
                        limits,
                        wanted: Wanted::default(),
                        quiescing: false,
                        tallies: HashMap::new(),
                    };
                    self.by_name.insert(Arc::clone(&spec.name), level);
                }
            }
        }
        self.nominal_sum = 0;
        for level in self.by_name.values_mut() {
            level.limits = limits_of(self.total, &level.spec, sum);
            self.nominal_sum += level.limits.nominal;
            // Schemas that are gone are not counted for ever.
            let known = |name: &Arc<str>| plan.schemas.iter().any(|schema| schema.name == *name);
            level.tallies.retain(|name, tally| known(name) || !tally.is_idle());
        }
    }

    fn divide(&mut self, now: Duration) {
        self.divided = now;
        for level in self.by_name.values_mut() {
            level.wanted = level.queues.demand.take(now, PERIOD, level.wanted);
        }
        let exempt = |level: &Level| level.spec.policy == Policy::Exempt;
        let limited: Vec<&Level> = self.by_name.values().filter(|level| !exempt(level)).collect();
        let taken: u32 =
            self.by_name.values().filter(|one| exempt(one)).map(Level::least_now).sum();
        let left = self.nominal_sum.saturating_sub(taken);
        let least: u32 = limited.iter().map(|level| level.limits.least).sum();
        let least_now: u32 = limited.iter().map(|level| level.least_now()).sum();
        let given: HashMap<Arc<str>, u32> = if left <= least {
            limited.iter().map(|level| (level.name(), level.limits.least)).collect()
        } else if left <= least_now {
            // Not enough for all: the same part for each of what it wants beyond what it keeps.
            let part = f64::from(left - least) / f64::from(least_now - least);
            let more = |level: &Level| f64::from(level.least_now() - level.limits.least) * part;
            let one = |level: &&Level| level.limits.least + more(level).round() as u32;
            limited.iter().map(|level| (level.name(), one(level))).collect()
        } else {
            let claims: Vec<Claim> = limited.iter().map(|level| level.claim()).collect();
            let given = shares::divide(f64::from(self.nominal_sum), &claims).unwrap_or_default();
            let given = given.iter().map(|seats| seats.round() as u32);
            limited.iter().map(|level| level.name()).zip(given).collect()
        };
        for (name, level) in &mut self.by_name {
            let limit = match level.spec.policy {
                Policy::Exempt => level.least_now(),
                Policy::Reject | Policy::Queue { .. } => {
                    given.get(name).copied().unwrap_or_else(|| level.queues.limit())
                }
            };
            level.queues.set_limit(limit);
        }
    }
}

impl Level {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.spec.name)
    }

    fn claim(&self) -> Claim {
        let least = f64::from(self.least_now());
        let most = f64::from(self.limits.most);
        Claim { least, most, wanted: self.wanted.smoothed.max(least) }
    }
}

fn limits_of(total: u32, spec: &LevelSpec, share_sum: u32) -> Limits {
    shares::limits(total, spec.shares, share_sum, spec.lendable, spec.borrowing)
}

#[cfg(test)]
mod tests;
