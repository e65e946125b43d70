//! How large each ReplicaSet of a Deployment should be now.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use minik_reconcile::KeyOf;

use crate::deployment::revision::{New, Revisions};
use crate::deployment::{is_paused, is_rolling, replicas, set_replicas, spec};
use crate::share::{Round, of_total};

/// How many replicas the Deployment wanted when it last sized this set.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// How many pods the Deployment allowed then, surge included.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// How many pods there may be above the wanted number, and how many may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

/// The limits of the strategy. Surge rounds up, unavailable down; both zero would be a standstill.
pub(super) fn limits(deployment: &Deployment) -> Limits {
    if !is_rolling(deployment) {
        return Limits { surge: 0, unavailable: 0 };
    }
    let wanted = replicas(deployment);
    let strategy = spec(deployment).strategy.as_ref();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.clone()).unwrap_or_default();
    let quarter = || IntOrString::String("25%".to_owned());
    let surge = of_total(&rolling.max_surge.unwrap_or_else(quarter), wanted, Round::Up);
    let unavailable =
        of_total(&rolling.max_unavailable.unwrap_or_else(quarter), wanted, Round::Down);
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    Limits { surge, unavailable: unavailable.min(wanted) }
}

/// New sizes, by unique id. A set without one keeps its size.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Targets {
    sizes: HashMap<String, i32>,
}

impl Targets {
    /// The size `set` should get, if it is to be touched.
    pub(super) fn of(&self, set: &ReplicaSet) -> Option<i32> {
        self.sizes.get(set.uid_str()).copied()
    }

    fn set(&mut self, set: &ReplicaSet, size: i32) {
        self.sizes.insert(set.uid_str().to_owned(), size);
    }

    /// Records a size that differs. Whether it did.
    fn change(&mut self, set: &ReplicaSet, size: i32) -> bool {
        let differs = set_replicas(set) != size;
        if differs {
            self.set(set, size);
        }
        differs
    }
}

/// Decides the sizes of this round.
pub(super) fn targets(
    deployment: &Deployment,
    revisions: &Revisions,
    new: &New,
    old_pods_run: bool,
) -> Targets {
    let mut targets = Targets::default();
    let resized = revisions.all().any(|set| is_sized_for_other(deployment, set));
    if is_paused(deployment) || resized {
        scale_all(deployment, revisions, old_pods_run, &mut targets);
    } else if is_rolling(deployment) {
        roll(deployment, revisions, new, &mut targets);
    } else {
        recreate(deployment, revisions, old_pods_run, &mut targets);
    }
    targets
}

/// Whether the wanted number changed since the sets were sized: then they are scaled first.
pub(super) fn is_resized(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> bool {
    sets.iter().any(|set| is_sized_for_other(deployment, set))
}

fn is_sized_for_other(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let desired = annotated(set, DESIRED);
    set_replicas(set) > 0 && desired.is_some_and(|desired| desired != replicas(deployment))
}

/// Whether no old set wants a pod.
pub(super) fn all_scaled_down(revisions: &Revisions) -> bool {
    revisions.old.iter().all(|set| set_replicas(set) == 0)
}

/// Notes on a set for which numbers it is sized.
pub(super) fn mark(set: &mut ReplicaSet, deployment: &Deployment) {
    let wanted = replicas(deployment);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED.to_owned(), wanted.to_string());
    annotations.insert(MAX.to_owned(), (wanted + limits(deployment).surge).to_string());
}

fn annotated(set: &ReplicaSet, name: &str) -> Option<i32> {
    set.annotation(name)?.parse().ok()
}

fn total(revisions: &Revisions) -> i32 {
    revisions.all().map(|set| set_replicas(set)).sum()
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// The size the new set may have, given the size it has.
pub(super) fn room_for_new(deployment: &Deployment, revisions: &Revisions, size: i32) -> i32 {
    let wanted = replicas(deployment);
    let room = wanted + limits(deployment).surge - total(revisions);
    size + room.min(wanted - size).max(0)
}

fn roll(deployment: &Deployment, revisions: &Revisions, new: &New, targets: &mut Targets) {
    if let New::Create(_) = new {
        return; // The next round sees it in the cache.
    }
    if let Some(set) = &revisions.new {
        let size = set_replicas(set);
        let wanted = replicas(deployment);
        let next = if size > wanted { wanted } else { room_for_new(deployment, revisions, size) };
        if targets.change(set, next) {
            return;
        }
    }
    shrink_old(deployment, revisions, targets);
}

/// Takes pods from the old sets: first those that are not up anyway, then as many as the new set
/// has made up for.
fn shrink_old(deployment: &Deployment, revisions: &Revisions, targets: &mut Targets) {
    let min_available = replicas(deployment) - limits(deployment).unavailable;
    let new_missing = revisions.new.as_ref().map_or(0, |set| set_replicas(set) - available(set));
    let mut may_go = total(revisions) - min_available - new_missing;
    if may_go <= 0 {
        return;
    }
    let mut sizes: Vec<i32> = revisions.old.iter().map(|set| set_replicas(set)).collect();
    for (set, size) in revisions.old.iter().zip(&mut sizes) {
        let broken = (*size - available(set)).max(0).min(may_go);
        *size -= broken;
        may_go -= broken;
    }
    let up: i32 = revisions.all().map(|set| available(set)).sum();
    let mut surplus = (up - min_available).max(0);
    for size in &mut sizes {
        let go = (*size).min(surplus);
        *size -= go;
        surplus -= go;
    }
    for (set, size) in revisions.old.iter().zip(sizes) {
        targets.change(set, size);
    }
}

fn recreate(
    deployment: &Deployment,
    revisions: &Revisions,
    old_pods_run: bool,
    targets: &mut Targets,
) {
    let mut shrinking = false;
    for set in &revisions.old {
        shrinking |= targets.change(set, 0);
    }
    if let Some(new) = revisions.new.as_ref().filter(|_| !shrinking && !old_pods_run) {
        targets.change(new, replicas(deployment));
    }
}

/// The wanted number changed or the rollout is paused: keep the proportions between the sets.
fn scale_all(
    deployment: &Deployment,
    revisions: &Revisions,
    old_pods_run: bool,
    targets: &mut Targets,
) {
    let wanted = replicas(deployment);
    let active: Vec<&Arc<ReplicaSet>> =
        revisions.all().filter(|set| set_replicas(set) > 0).collect();
    let only = match active.as_slice() {
        [] => revisions.new.as_ref().or(revisions.old.last()),
        [one] => Some(*one),
        _ => None,
    };
    if let Some(only) = only {
        // Also when the size fits: the note for which number it was sized must follow.
        targets.set(only, wanted);
        return;
    }
    if revisions.new.as_ref().is_some_and(|set| is_saturated(deployment, set)) {
        for set in &revisions.old {
            targets.change(set, 0);
        }
        return;
    }
    if is_rolling(deployment) {
        scale_in_proportion(deployment, active, targets);
    } else if !is_paused(deployment) {
        recreate(deployment, revisions, old_pods_run, targets);
    }
}

/// Whether the new set alone is all that the Deployment wants, and up.
fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = replicas(deployment);
    set_replicas(set) == wanted
        && annotated(set, DESIRED) == Some(wanted)
        && available(set) == wanted
}

fn scale_in_proportion(
    deployment: &Deployment,
    mut active: Vec<&Arc<ReplicaSet>>,
    targets: &mut Targets,
) {
    let wanted = replicas(deployment);
    let allowed = if wanted > 0 { wanted + limits(deployment).surge } else { 0 };
    let missing = allowed - active.iter().map(|set| set_replicas(set)).sum::<i32>();
    // The larger first; of equals the newer grows first and the older shrinks first.
    let age = |set: &ReplicaSet| set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    active.sort_by(|a, b| {
        let by_age = if missing > 0 { age(b).cmp(&age(a)) } else { age(a).cmp(&age(b)) };
        set_replicas(b).cmp(&set_replicas(a)).then(by_age)
    });
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
    for set in &active {
        let part = part_of(deployment, set, missing, added);
        sizes.push(set_replicas(set) + part);
        added += part;
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + missing - added).max(0); // What rounding left over.
    }
    for (set, size) in active.into_iter().zip(sizes) {
        targets.set(set, size);
    }
}

/// How much of `missing` goes to `set`, when `added` of it is given out already.
fn part_of(deployment: &Deployment, set: &ReplicaSet, missing: i32, added: i32) -> i32 {
    let size = set_replicas(set);
    if size == 0 || missing == 0 || missing == added {
        return 0;
    }
    let fraction = fraction_of(deployment, set, size);
    let rest = missing - added;
    if missing > 0 { fraction.min(rest) } else { fraction.max(rest) }
}

fn fraction_of(deployment: &Deployment, set: &ReplicaSet, size: i32) -> i32 {
    let wanted = replicas(deployment);
    if wanted == 0 {
        return -size;
    }
    let max = f64::from(wanted + limits(deployment).surge);
    let sized_for = annotated(set, MAX).filter(|max| *max > 0).unwrap_or_else(|| {
        deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(wanted)
    });
    if sized_for == 0 {
        return 0;
    }
    let exact = f64::from(size) * max / f64::from(sized_for);
    #[expect(clippy::cast_possible_truncation, reason = "a share of a number of pods fits")]
    let rounded = exact.round() as i32;
    rounded - size
}
