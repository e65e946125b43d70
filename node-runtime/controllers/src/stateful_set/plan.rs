//! The next step of a StatefulSet. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use minik_reconcile::{Change, KeyOf, Requeue};

use crate::pods::{self, Availability};
use crate::share::{Round, of_total};
use crate::stateful_set::identity::{ordinal, pod, revision_of, start};
use crate::stateful_set::spec;
use crate::wiring::name_of;

/// The template pods are moved from and the one they are moved to.
pub(super) struct Revisions {
    pub(super) current: ControllerRevision,
    pub(super) update: ControllerRevision,
}

/// What one round writes.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order they must be carried out.
    pub(super) pods: Vec<Change<Pod>>,
    pub(super) status: StatefulSetStatus,
    pub(super) requeue: Requeue,
}

/// What one look at the pods of a set sees.
struct View<'a> {
    set: &'a StatefulSet,
    revisions: &'a Revisions,
    /// Pods of the wanted ordinals.
    members: BTreeMap<i32, &'a Arc<Pod>>,
    /// Pods beyond them.
    condemned: BTreeMap<i32, &'a Arc<Pod>>,
    now: Timestamp,
}

/// Decides one round.
pub(super) fn plan(
    set: &StatefulSet,
    mine: &[Arc<Pod>],
    revisions: &Revisions,
    now: Timestamp,
) -> Plan {
    let wanted = start(set)..start(set) + spec(set).replicas.unwrap_or(1);
    let (mut members, mut condemned) = (BTreeMap::new(), BTreeMap::new());
    for pod in mine {
        match ordinal(set, pod) {
            Some(ordinal) if wanted.contains(&ordinal) => members.insert(ordinal, pod),
            Some(ordinal) => condemned.insert(ordinal, pod),
            None => None,
        };
    }
    let view = View { set, revisions, members, condemned, now };
    let status = view.status(mine);
    let mut pods = Vec::new();
    if !set.is_terminating() {
        view.steps(&status, &mut pods);
    }
    Plan { pods, status: view.completed(status), requeue: view.requeue(mine) }
}

impl View<'_> {
    fn in_order(&self) -> bool {
        spec(self.set).pod_management_policy.as_deref() != Some("Parallel")
    }

    fn replicas(&self) -> i32 {
        spec(self.set).replicas.unwrap_or(1)
    }

    fn availability(&self, pod: &Pod) -> Availability {
        let min_ready = spec(self.set).min_ready_seconds.unwrap_or(0);
        pods::availability(pod, min_ready, self.now)
    }

    fn is_up(&self, pod: &Pod) -> bool {
        pods::phase(pod) == "Running"
            && !pod.is_terminating()
            && self.availability(pod) == Availability::Available
    }

    /// Fills `out` with what can be done now; stops where something must be waited for.
    fn steps(&self, status: &StatefulSetStatus, out: &mut Vec<Change<Pod>>) {
        if !self.fill(status, out) || !self.shrink(out) {
            return;
        }
        self.replace_outdated(out);
    }

    /// Makes missing pods from the lowest ordinal up. `false` if that is not finished.
    fn fill(&self, status: &StatefulSetStatus, out: &mut Vec<Change<Pod>>) -> bool {
        let first = start(self.set);
        let mut settled = true;
        for number in first..first + self.replicas() {
            let step = match self.members.get(&number) {
                None => {
                    let revision = self.revision_for(number, status);
                    out.push(Change::create(pod(self.set, number, revision)));
                    false
                }
                Some(pod) if pods::is_finished(pod) && !pod.is_terminating() => {
                    out.push(Change::delete(&***pod));
                    false
                }
                Some(pod) => self.is_up(pod),
            };
            settled &= step;
            if !step && self.in_order() {
                return false;
            }
        }
        // Without an order nothing waits for pods to come up.
        settled || !self.in_order()
    }

    /// The revision a new pod of this ordinal is made from.
    fn revision_for(&self, number: i32, status: &StatefulSetStatus) -> &ControllerRevision {
        let first = start(self.set);
        let keeps_current = match self.partition() {
            None => false,
            Some(0) => number < first + status.current_replicas.unwrap_or(0),
            Some(partition) => number < first + partition,
        };
        if keeps_current { &self.revisions.current } else { &self.revisions.update }
    }

    /// Ordinals below this keep the current revision; `None` without rolling updates.
    fn partition(&self) -> Option<i32> {
        let strategy = spec(self.set).update_strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("OnDelete") {
            return None;
        }
        Some(strategy.rolling_update.and_then(|rolling| rolling.partition).unwrap_or(0))
    }

    /// Deletes pods beyond the wanted number from the highest down. `false` if that is not
    /// finished.
    fn shrink(&self, out: &mut Vec<Change<Pod>>) -> bool {
        let lowest_down = self.members.values().chain(self.condemned.values());
        let lowest_down = lowest_down.into_iter().find(|pod| !self.is_up(pod));
        for pod in self.condemned.values().rev() {
            if pod.is_terminating() {
                if self.in_order() {
                    return false;
                }
                continue;
            }
            let is_lowest_down = lowest_down.is_some_and(|down| down.uid_str() == pod.uid_str());
            if self.in_order() && !self.is_up(pod) && !is_lowest_down {
                return false;
            }
            out.push(Change::delete(&***pod));
            if self.in_order() {
                return false;
            }
        }
        true
    }

    /// Deletes pods of old revisions from the highest ordinal down, as many as may be missing.
    fn replace_outdated(&self, out: &mut Vec<Change<Pod>>) {
        let Some(partition) = self.partition() else { return };
        let strategy = spec(self.set).update_strategy.clone().unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        let most = rolling
            .max_unavailable
            .map_or(1, |share| of_total(&share, self.replicas(), Round::Up).max(1));
        let update = name_of(&self.revisions.update);
        let mut missing = self.replicas() - i32::try_from(self.members.len()).unwrap_or(0);
        missing += self.count(|pod| !self.is_up(pod));
        let lowest = start(self.set) + partition;
        for (_, pod) in self.members.range(lowest..).rev() {
            let outdated = revision_of(pod) != update && !pod.is_terminating();
            // A pod that is down already is replaced without making things worse.
            if outdated && (missing < most || !self.is_up(pod)) {
                out.push(Change::delete(&***pod));
                missing += i32::from(self.is_up(pod));
            }
            if most == 1 && (outdated || !self.is_up(pod)) {
                return;
            }
        }
    }

    fn count(&self, holds: impl Fn(&Pod) -> bool) -> i32 {
        let count = self.members.values().filter(|pod| holds(pod)).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    fn status(&self, mine: &[Arc<Pod>]) -> StatefulSetStatus {
        let old = self.set.status.clone().unwrap_or_default();
        let (current, update) = (name_of(&self.revisions.current), name_of(&self.revisions.update));
        let exists = |pod: &&Arc<Pod>| !pods::is_finished(pod);
        let count = |holds: &dyn Fn(&Pod) -> bool| -> i32 {
            let count = mine.iter().filter(exists).filter(|pod| holds(pod)).count();
            i32::try_from(count).unwrap_or(i32::MAX)
        };
        let live = |pod: &Pod| !pod.is_terminating();
        let up = |pod: &Pod| pods::phase(pod) == "Running" && pods::is_ready(pod);
        let some = |count: i32| (count != 0).then_some(count);
        let ready = count(&|pod| up(pod));
        let updated = count(&|pod| live(pod) && revision_of(pod) == update);
        StatefulSetStatus {
            observed_generation: self.set.metadata.generation,
            replicas: count(&|_| true),
            ready_replicas: some(ready),
            available_replicas: Some(count(&|pod| {
                up(pod) && self.availability(pod) == Availability::Available
            })),
            current_replicas: some(count(&|pod| live(pod) && revision_of(pod) == current)),
            updated_replicas: some(updated),
            current_revision: Some(current.to_owned()),
            update_revision: Some(update.to_owned()),
            collision_count: Some(old.collision_count.unwrap_or(0)),
            conditions: old.conditions,
        }
    }

    /// When every pod is of the new template and up, that template is the current one.
    fn completed(&self, mut status: StatefulSetStatus) -> StatefulSetStatus {
        let all = self.replicas();
        let is_all = |count: Option<i32>| count.unwrap_or(0) == all;
        let rolls = self.partition().is_some();
        if rolls && is_all(status.updated_replicas) && is_all(status.ready_replicas) {
            status.current_revision.clone_from(&status.update_revision);
            status.current_replicas = status.updated_replicas;
        }
        status
    }

    /// When time alone makes a pod available.
    fn requeue(&self, mine: &[Arc<Pod>]) -> Requeue {
        let rests = mine.iter().filter_map(|pod| match self.availability(pod) {
            Availability::In(rest) => Some(Requeue::After(rest + Duration::from_millis(50))),
            Availability::NotReady | Availability::Available => None,
        });
        rests.fold(Requeue::WhenChanged, Requeue::or_sooner)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;
    use crate::history;
    use crate::stateful_set::identity::{HASH, pod_name};

    fn set(replicas: i32, extra: Value) -> StatefulSet {
        let mut spec = json!({
            "replicas": replicas,
            "serviceName": "db",
            "selector": { "matchLabels": { "app": "db" } },
            "template": {
                "metadata": { "labels": { "app": "db" } },
                "spec": { "containers": [{ "name": "c", "image": "new" }] },
            },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {} }],
        });
        for (name, value) in extra.as_object().expect("an object") {
            spec[name] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "default", "uid": "sts" }, "spec": spec,
        }))
        .expect("a stateful set")
    }

    fn revision(set: &StatefulSet, image: &str) -> ControllerRevision {
        let mut template = spec(set).template.clone();
        template.spec.as_mut().expect("given above").containers[0].image = Some(image.to_owned());
        let mut made = history::current(set, &template, HASH, 0, &[]).revision;
        made.metadata.name = Some(image.to_owned());
        made
    }

    /// `0` up, `0!` not ready, `0-` being deleted, `0$` failed; `0=old` is of the old template.
    fn some_pods(set: &StatefulSet, words: &str) -> Vec<Arc<Pod>> {
        let parse = |word: &str| {
            let (word, image) = word.split_once('=').unwrap_or((word, "new"));
            let number: i32 = word.trim_end_matches(['!', '-', '$']).parse().expect("an ordinal");
            let mut made = pod(set, number, &revision(set, image));
            made.metadata.uid = Some(pod_name(set, number));
            if word.ends_with('-') {
                made.metadata.deletion_timestamp = Some(
                    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
                );
            }
            let ready = if word.ends_with('!') { "False" } else { "True" };
            let phase = if word.ends_with('$') { "Failed" } else { "Running" };
            made.status = serde_json::from_value(json!({ "phase": phase,
                "conditions": [{ "type": "Ready", "status": ready }] }))
            .ok();
            Arc::new(made)
        };
        words.split_whitespace().map(parse).collect()
    }

    fn check(replicas: i32, extra: Value, pods: &str, expected: &Expect) {
        let set = set(replicas, extra);
        let revisions = Revisions { current: revision(&set, "old"), update: revision(&set, "new") };
        let plan = plan(&set, &some_pods(&set, pods), &revisions, Timestamp::UNIX_EPOCH);
        let lines: Vec<String> = plan
            .pods
            .iter()
            .map(|change| match change {
                Change::Create(pod) => format!("create {} {}", name_of(&**pod), revision_of(pod)),
                Change::Delete { key, .. } => format!("delete {}", key.name),
                other => format!("{other:?}"),
            })
            .collect();
        expected.assert_eq(&lines.join(", "));
    }

    #[test]
    fn one_after_the_other() {
        check(3, json!({}), "", &expect!["create db-0 new"]);
        check(3, json!({}), "0!", &expect![""]);
        check(3, json!({}), "0", &expect!["create db-1 new"]);
        check(3, json!({}), "0 2", &expect!["create db-1 new"]);
        check(3, json!({}), "0 1$", &expect!["delete db-1"]);
        check(3, json!({}), "0 1- 2", &expect![""]);
        let parallel = json!({ "podManagementPolicy": "Parallel" });
        check(2, parallel, "", &expect!["create db-0 new, create db-1 new"]);
        let from_five = json!({ "ordinals": { "start": 5 } });
        check(2, from_five, "5 0", &expect!["create db-6 new"]);
    }

    #[test]
    fn from_the_highest_down() {
        check(1, json!({}), "0 1 2", &expect!["delete db-2"]);
        check(1, json!({}), "0 1 2-", &expect![""]);
        check(1, json!({}), "0 1! 2!", &expect![""]);
        check(1, json!({}), "0 1 2!", &expect!["delete db-2"]);
        let parallel = json!({ "podManagementPolicy": "Parallel" });
        check(1, parallel, "0 1 2", &expect!["delete db-2, delete db-1"]);
    }

    #[test]
    fn the_next_template_from_the_highest_down() {
        check(3, json!({}), "0=old 1=old 2=old", &expect!["delete db-2"]);
        check(3, json!({}), "0=old 1=old 2", &expect!["delete db-1"]);
        check(3, json!({}), "0=old 1=old 2!", &expect![""]);
        check(3, json!({}), "0=old 1=old", &expect!["create db-2 new"]);
        let partition = json!({ "updateStrategy": { "rollingUpdate": { "partition": 2 } } });
        check(3, partition.clone(), "0=old 1=old 2", &expect![""]);
        check(3, partition, "0=old 2", &expect!["create db-1 old"]);
        let two = json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": 2 } } });
        check(3, two, "0=old 1=old 2=old", &expect!["delete db-2, delete db-1"]);
        let on_delete = json!({ "updateStrategy": { "type": "OnDelete" } });
        check(2, on_delete, "0=old 1=old", &expect![""]);
    }

    #[test]
    fn a_pod_knows_who_it_is() {
        let set = set(1, json!({}));
        let made = pod(&set, 3, &revision(&set, "new"));
        let spec = made.spec.as_ref().expect("given");
        assert_eq!(spec.hostname.as_deref(), Some("db-3"));
        assert_eq!(spec.subdomain.as_deref(), Some("db"));
        let volume = &spec.volumes.as_ref().expect("one")[0];
        let claim = volume.persistent_volume_claim.as_ref().expect("a claim");
        assert_eq!(claim.claim_name, "data-db-3");
        assert_eq!(ordinal(&set, &made), Some(3));
        for other in ["db-03", "db-x", "dbx-1", "db"] {
            let mut other_pod = made.clone();
            other_pod.metadata.name = Some(other.to_owned());
            assert_eq!(ordinal(&set, &other_pod), None, "{other}");
        }
    }

    #[test]
    fn the_status_counts() {
        let set = set(3, json!({}));
        let revisions = Revisions { current: revision(&set, "old"), update: revision(&set, "new") };
        let pods = some_pods(&set, "0=old 1=old 2!");
        let status = plan(&set, &pods, &revisions, Timestamp::UNIX_EPOCH).status;
        assert_eq!((status.replicas, status.ready_replicas), (3, Some(2)));
        assert_eq!((status.current_replicas, status.updated_replicas), (Some(2), Some(1)));
        assert_eq!(status.current_revision.as_deref(), Some("old"));

        let pods = some_pods(&set, "0 1 2");
        let status = plan(&set, &pods, &revisions, Timestamp::UNIX_EPOCH).status;
        assert_eq!(status.current_revision.as_deref(), Some("new"));
        assert_eq!(status.current_replicas, Some(3));
    }
}
