//! Jobs played through: rounds of [`plan`] against pods whose ends the test decides.

use expect_test::{Expect, expect};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::wiring::name_of;

struct World {
    job: Job,
    pods: Vec<Pod>,
    clock: Timestamp,
    made: usize,
}

impl World {
    fn new(extra: Value) -> World {
        let mut spec = json!({
            "template": { "spec": { "restartPolicy": "Never",
                "containers": [{ "name": "c", "image": "i" }] } },
        });
        for (name, value) in extra.as_object().expect("an object") {
            spec[name] = value.clone();
        }
        let job = serde_json::from_value(json!({
            "metadata": { "name": "sum", "namespace": "default", "uid": "job" }, "spec": spec,
        }))
        .expect("a job");
        let clock = "2026-01-01T00:00:00Z".parse().expect("a time");
        World { job, pods: Vec::new(), clock, made: 0 }
    }

    /// Plays rounds until one changes nothing.
    fn settle(&mut self) -> &mut World {
        for _ in 0..20 {
            let before = (self.job.clone(), self.pods.clone());
            self.round();
            if before == (self.job.clone(), self.pods.clone()) {
                return self;
            }
        }
        panic!("still busy after 20 rounds: {:?}", self.job.status);
    }

    fn round(&mut self) {
        let pods: Vec<Arc<Pod>> = self.pods.iter().cloned().map(Arc::new).collect();
        let facts = Facts::of(&self.job, &pods);
        let plan = plan(&self.job, &facts, self.clock);
        plan.pods.into_iter().for_each(|change| self.write(change));
        self.job.status = Some(plan.status);
        plan.let_go.into_iter().for_each(|change| self.write(change));
        self.pods.retain(|pod| !pod.is_terminating() || is_tracked(pod));
    }

    fn write(&mut self, change: Change<Pod>) {
        match change {
            Change::Create(mut pod) => {
                self.made += 1;
                pod.metadata.name = Some(format!("p{}", self.made));
                pod.metadata.uid.clone_from(&pod.metadata.name);
                self.pods.push(*pod);
            }
            Change::Delete { uid, .. } => {
                let pod = self.pods.iter_mut().find(|pod| pod.uid_str() == uid).expect("there");
                pod.metadata.deletion_timestamp = Some(Time(self.clock));
            }
            Change::Patch { key, .. } => {
                let pod = self.pods.iter_mut().find(|pod| name_of(*pod) == key.name);
                pod.expect("there").metadata.finalizers = None;
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Ends a pod with this exit code.
    fn end(&mut self, name: &str, code: i32) -> &mut World {
        self.clock += std::time::Duration::from_secs(1);
        let finished = Time(self.clock);
        let pod = self.pods.iter_mut().find(|pod| name_of(*pod) == name).expect("it runs");
        pod.status = serde_json::from_value(json!({
            "phase": if code == 0 { "Succeeded" } else { "Failed" },
            "containerStatuses": [{ "name": "c", "image": "i", "imageID": "", "ready": false,
                "restartCount": 0, "state": { "terminated": {
                    "exitCode": code, "finishedAt": finished } } }],
        }))
        .expect("a status");
        self
    }

    fn later(&mut self, seconds: u64) -> &mut World {
        self.clock += std::time::Duration::from_secs(seconds);
        self
    }

    fn check(&mut self, expected: &Expect) -> &mut World {
        let status = self.job.status.clone().unwrap_or_default();
        let running: Vec<&str> =
            self.pods.iter().filter(|pod| crate::pods::is_active(pod)).map(name_of).collect();
        let conditions: Vec<String> = status
            .conditions
            .iter()
            .flatten()
            .map(|one| format!("{}={}", one.type_, one.reason.as_deref().unwrap_or("")))
            .collect();
        let text = format!(
            "running: {}; succeeded {} failed {}{}; {}",
            running.join(" "),
            status.succeeded.unwrap_or(0),
            status.failed.unwrap_or(0),
            status.completed_indexes.map(|text| format!(" [{text}]")).unwrap_or_default(),
            conditions.join(" "),
        );
        expected.assert_eq(text.trim_end());
        self
    }
}

#[test]
fn one_pod_that_succeeds() {
    let mut world = World::new(json!({ "completions": 1, "parallelism": 1 }));
    world.settle().check(&expect!["running: p1; succeeded 0 failed 0;"]);
    world.end("p1", 0).settle().check(&expect!["running: ; succeeded 1 failed 0; SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached"]);
    assert!(world.job.status.as_ref().is_some_and(|status| status.completion_time.is_some()));
}

#[test]
fn failures_are_tried_again_after_a_while() {
    let mut world = World::new(json!({ "completions": 1, "backoffLimit": 2 }));
    world.settle().end("p1", 1).settle().check(&expect!["running: ; succeeded 0 failed 1;"]);
    world.later(11).settle().check(&expect!["running: p2; succeeded 0 failed 1;"]);
    world.end("p2", 1).later(21).settle().end("p3", 1).settle().check(&expect!["running: ; succeeded 0 failed 3; FailureTarget=BackoffLimitExceeded Failed=BackoffLimitExceeded"]);
}

#[test]
fn several_at_a_time() {
    let mut world = World::new(json!({ "completions": 3, "parallelism": 2 }));
    world.settle().check(&expect!["running: p1 p2; succeeded 0 failed 0;"]);
    world.end("p1", 0).settle().check(&expect!["running: p2 p3; succeeded 1 failed 0;"]);
    world.end("p2", 0).end("p3", 0).settle().check(&expect!["running: ; succeeded 3 failed 0; SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached"]);
}

#[test]
fn numbered_pods() {
    let mut world = World::new(json!({
        "completions": 3, "parallelism": 3, "completionMode": "Indexed" }));
    world
        .settle()
        .end("p1", 0)
        .end("p3", 0)
        .settle()
        .check(&expect!["running: p2; succeeded 2 failed 0 [0,2];"]);
    let pod = &world.pods[1];
    assert_eq!(pod.annotation("batch.kubernetes.io/job-completion-index"), Some("1"));
    assert_eq!(pod.spec.as_ref().and_then(|spec| spec.hostname.as_deref()), Some("sum-1"));
    world
        .end("p2", 1)
        .settle()
        .later(11)
        .settle()
        .check(&expect!["running: p4; succeeded 2 failed 1 [0,2];"]);
    world.end("p4", 0).settle().check(&expect!["running: ; succeeded 3 failed 1 [0-2]; SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached"]);
}

#[test]
fn an_index_that_fails_for_good() {
    let mut world = World::new(json!({ "completions": 2, "parallelism": 2,
        "completionMode": "Indexed", "backoffLimitPerIndex": 0 }));
    world.settle().end("p1", 1).settle().check(&expect!["running: p2; succeeded 0 failed 1;"]);
    world.end("p2", 0).settle().check(&expect![
        "running: ; succeeded 1 failed 1 [1]; FailureTarget=FailedIndexes Failed=FailedIndexes"
    ]);
    let failed = world.job.status.as_ref().and_then(|status| status.failed_indexes.clone());
    assert_eq!(failed.as_deref(), Some("0"));
}

#[test]
fn the_users_rules() {
    let rules = |action: &str| {
        json!({ "completions": 1, "backoffLimit": 0, "podFailurePolicy": { "rules": [
            { "action": action, "onExitCodes": { "operator": "In", "values": [42] } }] } })
    };
    World::new(rules("FailJob")).settle().end("p1", 42).settle().check(&expect![
        "running: ; succeeded 0 failed 1; FailureTarget=PodFailurePolicy Failed=PodFailurePolicy"
    ]);
    World::new(rules("Ignore"))
        .settle()
        .end("p1", 42)
        .settle()
        .check(&expect!["running: p2; succeeded 0 failed 0;"]);
    let mut world = World::new(json!({ "completions": 3, "parallelism": 3,
        "completionMode": "Indexed",
        "successPolicy": { "rules": [{ "succeededIndexes": "0" }] } }));
    world.settle().end("p1", 0).settle().check(&expect!["running: ; succeeded 1 failed 2 [0]; SuccessCriteriaMet=SuccessPolicy Complete=SuccessPolicy"]);
}

#[test]
fn suspended_and_resumed() {
    let mut world = World::new(json!({ "completions": 1, "suspend": true }));
    world.settle().check(&expect!["running: ; succeeded 0 failed 0; Suspended=JobSuspended"]);
    world.job.spec.as_mut().expect("given").suspend = Some(false);
    world.settle().check(&expect!["running: p1; succeeded 0 failed 0; Suspended=JobResumed"]);
}

#[test]
fn a_deadline() {
    let mut world = World::new(json!({ "completions": 1, "activeDeadlineSeconds": 30 }));
    world.settle().later(31).settle().check(&expect![
        "running: ; succeeded 0 failed 1; FailureTarget=DeadlineExceeded Failed=DeadlineExceeded"
    ]);
}
