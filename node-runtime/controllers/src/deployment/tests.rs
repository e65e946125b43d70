//! Rollouts played through: rounds of [`plan`] against ReplicaSets whose pods come up at once.

use expect_test::{Expect, expect};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::deployment::revision::{REVISION, number};

struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    clock: Timestamp,
    /// Sets whose image starts with this never become ready.
    broken: &'static str,
    log: Vec<String>,
}

impl World {
    fn new(replicas: i32, strategy: &Value) -> World {
        let deployment = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "d", "generation": 1,
                          "annotations": { "note": "kept" } },
            "spec": {
                "replicas": replicas,
                "strategy": strategy,
                "progressDeadlineSeconds": 600,
                "revisionHistoryLimit": 10,
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "c", "image": "v1" }] },
                },
            },
        }))
        .expect("a deployment");
        let clock = "2026-01-01T00:00:00Z".parse().expect("a time");
        World { deployment, sets: Vec::new(), clock, broken: "bad", log: Vec::new() }
    }

    fn edit(&mut self, edit: impl FnOnce(&mut DeploymentSpec)) -> &mut World {
        edit(self.deployment.spec.as_mut().expect("given above"));
        *self.deployment.metadata.generation.get_or_insert(0) += 1;
        self
    }

    fn image(&mut self, image: &str) -> &mut World {
        self.edit(|spec| {
            spec.template.spec.as_mut().expect("given above").containers[0].image =
                Some(image.to_owned());
        })
    }

    /// Plays rounds until one asks for nothing, noting the sizes after each.
    fn settle(&mut self) -> &mut World {
        for _ in 0..50 {
            if !self.round() {
                return self;
            }
        }
        panic!("still busy after 50 rounds:\n{}", self.log.join("\n"));
    }

    fn round(&mut self) -> bool {
        self.clock += std::time::Duration::from_secs(1);
        let sets: Vec<Arc<ReplicaSet>> = self.sets.iter().cloned().map(Arc::new).collect();
        let new = revision::matching(&self.deployment, &sets).map(|set| set.uid_str().to_owned());
        let old_pods_run = self.sets.iter().any(|set| {
            Some(set.uid_str()) != new.as_deref()
                && set.status.as_ref().is_some_and(|status| status.replicas > 0)
        });
        let plan = plan(&self.deployment, &sets, old_pods_run, self.clock);
        let busy = !plan.sets.is_empty() || plan.revision.is_some() || plan.status.is_some();
        let moved = !plan.sets.is_empty();
        if let Some(revision) = plan.revision {
            let annotations = self.deployment.metadata.annotations.get_or_insert_default();
            annotations.insert(REVISION.to_owned(), revision.to_string());
        }
        if let Some(status) = plan.status {
            self.deployment.status = Some(status);
        }
        plan.sets.into_iter().for_each(|change| self.write(change));
        self.start_pods();
        if moved {
            self.note();
        }
        busy
    }

    fn write(&mut self, change: Change<ReplicaSet>) {
        match change {
            Change::Create(mut set) => {
                set.metadata.uid = set.metadata.name.clone();
                set.metadata.creation_timestamp = Some(Time(self.clock));
                self.sets.push(*set);
            }
            Change::Replace(set) => {
                let there = self.sets.iter_mut().find(|one| one.uid_str() == set.uid_str());
                *there.expect("only what exists is replaced") = *set;
            }
            Change::Delete { uid, .. } => self.sets.retain(|set| set.uid_str() != uid),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn start_pods(&mut self) {
        for set in &mut self.sets {
            let size = set_replicas(set);
            let up = if image_of(set).starts_with(self.broken) { 0 } else { size };
            let status = set.status.get_or_insert_default();
            status.replicas = size;
            status.ready_replicas = Some(up);
            status.available_replicas = Some(up);
        }
    }

    fn note(&mut self) {
        let of =
            |set: &ReplicaSet| format!("{}#{}={}", image_of(set), number(set), set_replicas(set));
        let line: Vec<String> = self.sets.iter().map(of).collect();
        self.log.push(line.join(" "));
    }

    fn check(&mut self, expected: &Expect) -> &mut World {
        let mut log = std::mem::take(&mut self.log);
        let status = self.deployment.status.as_ref().expect("written in the first round");
        let conditions = status.conditions.iter().flatten();
        log.extend(conditions.map(|one| {
            format!("{}={} {}", one.type_, one.status, one.reason.as_deref().unwrap_or(""))
        }));
        expected.assert_eq(&(log.join("\n") + "\n"));
        self
    }
}

fn image_of(set: &ReplicaSet) -> String {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    template.spec.expect("given above").containers[0].image.clone().unwrap_or_default()
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({ "type": "RollingUpdate",
            "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } })
}

#[test]
fn a_rolling_update_keeps_its_limits() {
    let mut world = World::new(4, &rolling("25%".into(), "25%".into()));
    world.settle().check(&expect![[r#"
        v1#1=4
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable
    "#]]);
    world.image("v2").settle().check(&expect![[r#"
        v1#1=4 v2#2=1
        v1#1=2 v2#2=1
        v1#1=2 v2#2=3
        v1#1=0 v2#2=3
        v1#1=0 v2#2=4
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable
    "#]]);
}

#[test]
fn one_at_a_time() {
    let mut world = World::new(2, &rolling(1.into(), 0.into()));
    world.settle().log.clear();
    world.image("v2").settle().check(&expect![[r#"
        v1#1=2 v2#2=1
        v1#1=1 v2#2=1
        v1#1=1 v2#2=2
        v1#1=0 v2#2=2
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable
    "#]]);
}

#[test]
fn a_broken_template_stops_and_undo_brings_the_old_back() {
    let mut world = World::new(3, &rolling(1.into(), 0.into()));
    world.settle().log.clear();
    world.image("bad").settle().check(&expect![[r#"
        v1#1=3 bad#2=1
        Available=True MinimumReplicasAvailable
        Progressing=True ReplicaSetUpdated
    "#]]);
    world.clock += std::time::Duration::from_secs(601);
    world.settle().check(&expect![[r#"
        Available=True MinimumReplicasAvailable
        Progressing=False ProgressDeadlineExceeded
    "#]]);
    world.image("v1").settle().check(&expect![[r#"
        v1#3=3 bad#2=0
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable
    "#]]);
    assert_eq!(world.deployment.annotation(REVISION), Some("3"));
    let back = world.sets.iter().find(|set| image_of(set) == "v1").expect("it is back");
    assert_eq!(back.annotation("deployment.kubernetes.io/revision-history"), Some("1"));
    assert_eq!(back.annotation("note"), Some("kept"));
}

#[test]
fn scaling_keeps_the_proportions() {
    let mut world = World::new(10, &rolling(3.into(), 2.into()));
    world.settle().log.clear();
    world.image("bad").settle();
    world.log.clear();
    world.edit(|spec| spec.replicas = Some(20)).settle().check(&expect![[r#"
        v1#1=14 bad#2=9
        Available=False MinimumReplicasUnavailable
        Progressing=True ReplicaSetUpdated
    "#]]);
    world.edit(|spec| spec.replicas = Some(0)).settle().check(&expect![[r#"
        v1#1=0 bad#2=0
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable
    "#]]);
}

#[test]
fn a_paused_rollout_only_scales() {
    let mut world = World::new(2, &rolling(1.into(), 0.into()));
    world.settle().log.clear();
    world.edit(|spec| spec.paused = Some(true)).image("v2").settle();
    world.edit(|spec| spec.replicas = Some(3)).settle().check(&expect![[r#"
        v1#1=3
        Progressing=Unknown DeploymentPaused
        Available=True MinimumReplicasAvailable
    "#]]);
    world.edit(|spec| spec.paused = None).settle().check(&expect![[r#"
        v1#1=3 v2#2=1
        v1#1=2 v2#2=1
        v1#1=2 v2#2=2
        v1#1=1 v2#2=2
        v1#1=1 v2#2=3
        v1#1=0 v2#2=3
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable
    "#]]);
}

#[test]
fn recreate_waits_for_the_old_pods() {
    let mut world = World::new(2, &json!({ "type": "Recreate" }));
    world.settle().log.clear();
    world.image("v2").settle().check(&expect![[r#"
        v1#1=0
        v1#1=0 v2#2=2
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable
    "#]]);
}

#[test]
fn old_sets_beyond_the_limit_go() {
    let mut world = World::new(1, &rolling(1.into(), 0.into()));
    world.edit(|spec| spec.revision_history_limit = Some(1)).settle();
    for image in ["v2", "v3", "v4"] {
        world.image(image).settle();
    }
    let left: Vec<String> = world.sets.iter().map(image_of).collect();
    assert_eq!(left, ["v3", "v4"]);
}
