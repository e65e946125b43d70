//! Tables for the plan: containers as `KIND:NAME=STATE`, what is done next.

use std::time::Duration;

use expect_test::{Expect, expect};
use k8s_openapi::serde_json::{from_value, json};

use super::*;
use crate::backoff::Backoff;
use crate::object::ContainerSpec;
use crate::pod::container::Running;

fn record(text: &str, now: Instant) -> Record {
    let (kind, rest) = text.split_once(':').expect("KIND:");
    let (name, state) = rest.split_once('=').expect("NAME=STATE");
    let kind = match kind {
        "init" => Kind::Init,
        "side" => Kind::Sidecar,
        "app" => Kind::App,
        "debug" => Kind::Ephemeral,
        other => panic!("unknown kind {other}"),
    };
    let container = from_value(json!({"name": name, "image": "i"})).expect("a container");
    let mut record = Record::new(ContainerSpec { kind, container, target: None });
    record.here = state != "new";
    let running = |started: bool, record: &mut Record| {
        let hash = names::container_hash(&record.spec.container);
        let started_at = None;
        record.now = Now::Running(Running {
            id: "r".into(),
            started_at,
            hash,
            stopping: false,
            resources: Default::default(),
        });
        record.attempt = Some(0);
        record.started = started;
    };
    match state {
        "new" => {}
        "starting" => record.now = Now::Starting,
        "up" => running(true, &mut record),
        "unstarted" => running(false, &mut record),
        code => {
            // `exit CODE` or `exit CODE again`: the second one has to wait.
            let code = code.strip_prefix("exit ").expect("a state");
            let (code, again) = match code.strip_suffix(" again") {
                Some(code) => (code, true),
                None => (code, false),
            };
            let exit = Exit {
                id: "r".into(),
                code: code.parse().expect("a code"),
                reason: "Error".into(),
                message: None,
                started_at: None,
                finished_at: None,
                noticed: now,
            };
            record.now = Now::Exited(exit);
            record.attempt = Some(0);
            if again {
                record.crashes = Backoff::default();
                record.crashes.tried(now);
            }
        }
    }
    record
}

fn check(policy: &str, containers: &[&str], want: Expect) {
    let now = Instant::now();
    let records: Vec<Record> = containers.iter().map(|text| record(text, now)).collect();
    let got = plan(&records, policy, now);
    let names = |list: &[usize]| {
        list.iter().map(|index| records[*index].name()).collect::<Vec<_>>().join(" ")
    };
    let waits: Vec<String> = got
        .wait
        .iter()
        .map(|(index, trouble)| format!("{} {}", records[*index].name(), trouble.message))
        .collect();
    let wake = got.wake_at.map(|at| at.duration_since(now).as_secs());
    want.assert_eq(&format!(
        "start [{}] wait {waits:?} wake {wake:?} {:?}",
        names(&got.start),
        got.verdict
    ));
}

#[test]
fn init_containers_go_first_one_by_one() {
    check(
        "Always",
        &["init:a=new", "init:b=new", "app:c=new"],
        expect!["start [a] wait [] wake None Going"],
    );
    check(
        "Always",
        &["init:a=up", "init:b=new", "app:c=new"],
        expect!["start [] wait [] wake None Going"],
    );
    check(
        "Always",
        &["init:a=exit 0", "init:b=new", "app:c=new"],
        expect!["start [b] wait [] wake None Going"],
    );
    check(
        "Always",
        &["init:a=exit 0", "init:b=exit 0", "app:c=new", "app:d=new"],
        expect!["start [c d] wait [] wake None Going"],
    );
    check("Always", &["init:a=exit 1", "app:c=new"], expect!["start [a] wait [] wake None Going"]);
    check(
        "OnFailure",
        &["init:a=exit 1 again", "app:c=new"],
        expect![[
            r#"start [] wait ["a back-off 10s restarting failed container=a"] wake Some(10) Going"#
        ]],
    );
    check("Never", &["init:a=exit 1", "app:c=new"], expect!["start [] wait [] wake None Failed"]);
}

#[test]
fn sidecars_start_in_their_turn_and_stay() {
    check(
        "Never",
        &["side:s=new", "init:a=new", "app:c=new"],
        expect!["start [s] wait [] wake None Going"],
    );
    check(
        "Never",
        &["side:s=unstarted", "init:a=new", "app:c=new"],
        expect!["start [] wait [] wake None Going"],
    );
    check(
        "Never",
        &["side:s=up", "init:a=new", "app:c=new"],
        expect!["start [a] wait [] wake None Going"],
    );
    check(
        "Never",
        &["side:s=exit 0", "init:a=exit 0", "app:c=up"],
        expect!["start [s] wait [] wake None Going"],
    );
    check("Never", &["side:s=up", "app:c=exit 0"], expect!["start [] wait [] wake None Succeeded"]);
}

#[test]
fn restart_policies() {
    check(
        "Always",
        &["app:c=exit 0", "app:d=exit 1 again"],
        expect![[
            r#"start [c] wait ["d back-off 10s restarting failed container=d"] wake Some(10) Going"#
        ]],
    );
    check(
        "OnFailure",
        &["app:c=exit 0", "app:d=exit 1"],
        expect!["start [d] wait [] wake None Going"],
    );
    check(
        "OnFailure",
        &["app:c=exit 0", "app:d=exit 0"],
        expect!["start [] wait [] wake None Succeeded"],
    );
    check("Never", &["app:c=exit 0", "app:d=exit 3"], expect!["start [] wait [] wake None Failed"]);
    check("Never", &["app:c=exit 0", "app:d=up"], expect!["start [] wait [] wake None Going"]);
    check("Never", &["app:c=up", "debug:e=new"], expect!["start [e] wait [] wake None Going"]);
    check("Always", &["app:c=up", "debug:e=exit 1"], expect!["start [] wait [] wake None Going"]);
    check(
        "Always",
        &["init:a=exit 1", "app:c=exit 1"],
        expect!["start [c] wait [] wake None Going"],
    );
}

#[test]
fn rules_of_a_container_come_before_the_pods_policy() {
    let now = Instant::now();
    let mut one = record("app:c=exit 42", now);
    one.spec.container.restart_policy_rules = Some(
        from_value(json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]))
            .expect("rules"),
    );
    assert_eq!(plan(std::slice::from_ref(&one), "Never", now).start, [0]);
    if let Now::Exited(exit) = &mut one.now {
        exit.code = 1;
    }
    assert_eq!(plan(&[one], "Never", now).verdict, Verdict::Failed);
}

#[test]
fn a_new_image_replaces_the_container() {
    let now = Instant::now();
    let mut one = record("app:c=up", now);
    assert!(plan(std::slice::from_ref(&one), "Always", now).replace.is_empty());
    one.spec.container.image = Some("other".into());
    assert_eq!(plan(&[one], "Always", now).replace, [0]);
}

#[test]
fn a_failed_pull_waits_for_its_time() {
    let now = Instant::now();
    let mut one = record("app:c=new", now);
    let retry_at = now + Duration::from_secs(20);
    one.trouble = Some(Trouble {
        reason: "ErrImagePull".into(),
        message: "no".into(),
        retry_at,
        later: None,
    });
    let got = plan(std::slice::from_ref(&one), "Never", now);
    assert_eq!((got.start.len(), got.wake_at), (0, Some(retry_at)));
    assert_eq!(plan(&[one], "Never", retry_at).start, [0]);
}
