//! Which daemon pods go: those that failed or are too many, and those of an old template, a few at
//! a time.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use minik_reconcile::KeyOf;

use crate::daemon_set::nodes::meant;
use crate::daemon_set::{ByNode, spec};
use crate::history;
use crate::pods::{self, Availability};
use crate::share::{Round, of_total};
use crate::wiring::name_of;

fn limits(set: &DaemonSet, nodes: i32) -> (i32, i32) {
    let strategy = spec(set).update_strategy.clone().unwrap_or_default();
    let RollingUpdateDaemonSet { max_surge, max_unavailable } =
        strategy.rolling_update.unwrap_or_default();
    let surge = max_surge.map_or(0, |share| of_total(&share, nodes, Round::Up));
    let unavailable = max_unavailable.unwrap_or(IntOrString::Int(1));
    (surge, of_total(&unavailable, nodes, Round::Up))
}

fn surges(set: &DaemonSet) -> bool {
    limits(set, 100).0 > 0 && !super::spec_is_on_delete(set)
}

fn is_available(set: &DaemonSet, pod: &Pod, now: Timestamp) -> bool {
    let min_ready = spec(set).min_ready_seconds.unwrap_or(0);
    pods::availability(pod, min_ready, now) == Availability::Available
}

fn is_new(pod: &Pod, hash: &str) -> bool {
    pod.label(history::HASH) == Some(hash)
}

/// Puts the pods of one node that must go into `delete`; tells how many are left or leaving.
pub(super) fn settle<'a>(
    set: &DaemonSet,
    pods: &[&'a Arc<Pod>],
    hash: &str,
    now: Timestamp,
    delete: &mut Vec<&'a Arc<Pod>>,
) -> usize {
    let mut running = Vec::new();
    for pod in pods.iter().copied() {
        if pods::is_finished(pod) && !pod.is_terminating() {
            delete.push(pod);
        } else if !pod.is_terminating() {
            running.push(pod);
        }
    }
    // Bound before unbound, ready before not ready, older before younger: the first stays.
    running.sort_by_key(|pod| {
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (Reverse(bound), Reverse(pods::is_ready(pod)), created)
    });
    if surges(set) {
        let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
            running.into_iter().partition(|pod| is_new(pod, hash));
        delete.extend(new.iter().skip(1).copied());
        delete.extend(old.iter().skip(1).copied());
        // The new one is up: the old one has done its work.
        if new.first().is_some_and(|pod| is_available(set, pod, now)) {
            delete.extend(old.first().copied());
        }
    } else {
        delete.extend(running.iter().skip(1).copied());
    }
    pods.len()
}

/// Pods of old templates that make way in this round.
pub(super) fn make_way<'a>(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    there: &ByNode<'a>,
    hash: &str,
    now: Timestamp,
) -> Vec<&'a Arc<Pod>> {
    if surges(set) {
        return Vec::new(); // New pods come first; see `surging`.
    }
    let meant: Vec<&str> =
        nodes.iter().filter(|node| meant(set, node).runs).map(|node| name_of(&**node)).collect();
    let (_, most) = limits(set, i32::try_from(meant.len()).unwrap_or(i32::MAX));
    let mut missing = 0;
    let (mut broken, mut sound) = (Vec::new(), Vec::new());
    for node in meant {
        let pods = there.get(node).map(Vec::as_slice).unwrap_or_default();
        let alive = || pods.iter().copied().filter(|pod| !pod.is_terminating());
        let up = alive().any(|pod| is_available(set, pod, now));
        missing += i32::from(!up);
        for pod in alive().filter(|pod| !is_new(pod, hash) && !pods::is_finished(pod)) {
            if is_available(set, pod, now) { sound.push(pod) } else { broken.push(pod) }
        }
    }
    // Replacing what is down anyway costs nothing.
    let room = usize::try_from(most - missing).unwrap_or(0);
    broken.into_iter().chain(sound.into_iter().take(room)).collect()
}

/// Nodes that get a pod of the new template beside the old one in this round.
pub(super) fn surging<'a>(
    set: &DaemonSet,
    nodes: &'a [Arc<Node>],
    there: &ByNode<'_>,
    hash: &str,
    now: Timestamp,
) -> Vec<&'a str> {
    if !surges(set) {
        return Vec::new();
    }
    let meant: Vec<&str> =
        nodes.iter().filter(|node| meant(set, node).runs).map(|node| name_of(&**node)).collect();
    let (most, _) = limits(set, i32::try_from(meant.len()).unwrap_or(i32::MAX));
    let mut surging = 0;
    let (mut broken, mut sound) = (Vec::new(), Vec::new());
    for node in meant {
        let pods = there.get(node).map(Vec::as_slice).unwrap_or_default();
        let alive: Vec<_> = pods.iter().filter(|pod| pods::is_active(pod)).collect();
        let new = alive.iter().find(|pod| is_new(pod, hash));
        let old = alive.iter().find(|pod| !is_new(pod, hash));
        match (new, old) {
            (Some(new), Some(_)) => surging += i32::from(!is_available(set, new, now)),
            (None, Some(old)) if is_available(set, old, now) => sound.push(node),
            (None, Some(_)) => broken.push(node),
            (_, None) => {}
        }
    }
    let room = usize::try_from(most - surging).unwrap_or(0);
    broken.into_iter().chain(sound.into_iter().take(room)).collect()
}
