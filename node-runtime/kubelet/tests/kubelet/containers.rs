//! Containers: started, restarted, waited for, ended.

use std::time::Duration;

use minik_cri::fake::{ExecAnswer, Script};
use serde_json::{Value, json};

use crate::world::{World, condition};

fn one(image: &str) -> Value {
    json!([{"name": "app", "image": image}])
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_and_is_deleted() {
    let world = World::new().await;
    let web = world.create("web", json!({"containers": one("nginx:1")}));
    let pod = world.until(&web, |status| condition(status, "Ready") == "True").await;

    let status = &pod["status"];
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["hostIP"], "192.0.2.10");
    assert_eq!(status["podIP"], "10.244.0.2");
    assert_eq!(status["qosClass"], "BestEffort");
    assert_eq!(condition(status, "PodScheduled"), "True", "the scheduler's condition stays");
    let container = &status["containerStatuses"][0];
    assert_eq!(container["containerID"], "fake://container-2");
    assert_eq!(container["ready"], true);
    assert!(container["state"]["running"]["startedAt"].is_string());

    world.api.delete_pod(&web, 7);
    world.gone(&web).await;
    let calls = world.runtime.calls();
    assert_eq!(
        calls[..6],
        [
            "sandbox web",
            "pull nginx:1",
            "create web/app",
            "start web/app",
            "stop web/app grace=7",
            "stop sandbox web",
        ]
    );
    // The runtime is cleaned up after the object is gone.
    while world.runtime.calls().last().map(String::as_str) != Some("remove sandbox web") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn crashes_are_restarted_with_growing_waits() {
    let world = World::new().await;
    let script = Script { exits: Some((Duration::from_secs(1), 3)), ..Default::default() };
    world.runtime.script("crash:1", script);
    let path = world.create("crash", json!({"containers": one("crash:1")}));

    let waiting = |status: &Value, message: &str| {
        let container = &status["containerStatuses"][0];
        container["state"]["waiting"]["message"].as_str().is_some_and(|it| it.contains(message))
            && container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    };
    let pod = world.until(&path, |status| waiting(status, "back-off 10s")).await;
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!(container["restartCount"], 1, "the first restart does not wait");
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(pod["status"]["phase"], "Running");
    world.until(&path, |status| waiting(status, "back-off 20s")).await;
    world.until(&path, |status| waiting(status, "back-off 5m0s")).await;
    assert!(world.reasons().contains(&"BackOff".to_owned()), "people are told of the wait");
}

#[tokio::test(start_paused = true)]
async fn a_killed_container_comes_back() {
    let world = World::new().await;
    let path = world.create("web", json!({"containers": one("nginx:1")}));
    world.until(&path, |status| condition(status, "Ready") == "True").await;
    assert!(world.runtime.oom_kill("web", "app"));
    let restarted = |status: &Value| {
        status["containerStatuses"][0]["restartCount"] == 1 && condition(status, "Ready") == "True"
    };
    let pod = world.until(&path, restarted).await;
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(137), &json!("OOMKilled")));
}

#[tokio::test(start_paused = true)]
async fn jobs_end_as_their_containers_do() {
    let world = World::new().await;
    for (name, code, phase) in [("good", 0, "Succeeded"), ("bad", 4, "Failed")] {
        let image = format!("{name}:1");
        let script = Script { exits: Some((Duration::from_secs(1), code)), ..Default::default() };
        world.runtime.script(&image, script);
        let path = world.create(name, json!({"containers": one(&image), "restartPolicy": "Never"}));
        let pod = world.phase(&path, phase).await;
        let state = &pod["status"]["containerStatuses"][0]["state"];
        assert_eq!(state["terminated"]["exitCode"], code);
        assert_eq!(condition(&pod["status"], "Ready"), "False");
        world.api.delete_pod(&path, 0);
        world.gone(&path).await;
    }
}

#[tokio::test(start_paused = true)]
async fn init_containers_and_sidecars_come_first() {
    let world = World::new().await;
    let exits = Some((Duration::from_secs(2), 0));
    world.runtime.script("init:1", Script { exits, ..Default::default() });
    world.runtime.script("job:1", Script { exits, ..Default::default() });
    let path = world.create(
        "ordered",
        json!({
            "restartPolicy": "Never",
            "initContainers": [
                {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"},
                {"name": "first", "image": "init:1"},
                {"name": "second", "image": "init:1"},
            ],
            "containers": [{"name": "app", "image": "job:1"}],
        }),
    );
    let pod = world.phase(&path, "Succeeded").await;
    let init = &pod["status"]["initContainerStatuses"];
    assert_eq!(init[1]["state"]["terminated"]["reason"], "Completed");
    let starts: Vec<String> =
        world.runtime.calls().into_iter().filter(|call| call.starts_with("st")).collect();
    assert_eq!(
        starts,
        [
            "start ordered/proxy",
            "start ordered/first",
            "start ordered/second",
            "start ordered/app",
            "stop ordered/proxy grace=30",
            "stop sandbox ordered",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn images_that_cannot_be_pulled_are_named() {
    let world = World::new().await;
    let script = Script { pull_error: Some("no such host".into()), ..Default::default() };
    world.runtime.script("none:1", script);
    let reason = |status: &Value| {
        status["containerStatuses"][0]["state"]["waiting"]["reason"].as_str().map(str::to_owned)
    };
    let path = world.create("none", json!({"containers": one("none:1")}));
    world.until(&path, |status| reason(status).as_deref() == Some("ErrImagePull")).await;
    world.until(&path, |status| reason(status).as_deref() == Some("ImagePullBackOff")).await;
    world.runtime.script("none:1", Script::default());
    world.until(&path, |status| condition(status, "Ready") == "True").await;

    let cases = [
        (
            "never",
            json!([{"name": "a", "image": "x:1", "imagePullPolicy": "Never"}]),
            "ErrImageNeverPull",
        ),
        ("invalid", json!([{"name": "a", "image": "Not An Image"}]), "InvalidImageName"),
        (
            "env",
            json!([{"name": "a", "image": "x:1", "env": [{"name": "A", "valueFrom":
            {"configMapKeyRef": {"name": "none", "key": "k"}}}]}]),
            "CreateContainerConfigError",
        ),
    ];
    for (name, containers, want) in cases {
        let path = world.create(name, json!({"containers": containers}));
        world.until(&path, |status| reason(status).as_deref() == Some(want)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_config_map_is_waited_for() {
    let world = World::new().await;
    let env =
        json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]);
    let path =
        world.create("waits", json!({"containers": [{"name": "app", "image": "x:1", "env": env}]}));
    let waits = |status: &Value| {
        let waiting = &status["containerStatuses"][0]["state"]["waiting"];
        waiting["message"] == "configmap \"late\" not found"
    };
    world.until(&path, waits).await;
    world.api.put(
        "/api/v1/namespaces/default/configmaps/late",
        json!({"metadata": {}, "data": {"k": "v"}}),
    );
    world.until(&path, |status| condition(status, "Ready") == "True").await;
    let config = world.runtime.container_config("waits", "app").expect("it was created");
    assert!(config.envs.iter().any(|env| env.key == "A" && env.value == b"v"));
}

#[tokio::test(start_paused = true)]
async fn probes_decide_about_ready_and_restart() {
    let world = World::new().await;
    let answers = std::sync::Arc::new(std::sync::Mutex::new((1, 0)));
    let script = answers.clone();
    world.runtime.on_exec(move |_, command| {
        let (ready, live) = *script.lock().expect("free");
        let exit_code = if command[0] == "ready" { ready } else { live };
        ExecAnswer { exit_code, stdout: "not yet".into() }
    });
    let path = world.create(
        "probed",
        json!({"containers": [{"name": "app", "image": "x:1",
            "readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 2},
            "livenessProbe": {"exec": {"command": ["live"]}, "failureThreshold": 2}}]}),
    );
    let pod = world.phase(&path, "Running").await;
    assert_eq!(condition(&pod["status"], "Ready"), "False");
    world
        .api
        .wait(|api| api.all("events").into_iter().find(|event| event["reason"] == "Unhealthy"))
        .await;

    *answers.lock().expect("free") = (0, 0);
    world.until(&path, |status| condition(status, "Ready") == "True").await;
    *answers.lock().expect("free") = (0, 1);
    world.until(&path, |status| status["containerStatuses"][0]["restartCount"] == 1).await;
    assert!(world.runtime.calls().contains(&"stop probed/app grace=30".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_second_deletion_can_be_more_impatient() {
    let world = World::new().await;
    world.runtime.script("deaf:1", Script { ignores_stop: true, ..Default::default() });
    let path = world.create("deaf", json!({"containers": one("deaf:1")}));
    world.until(&path, |status| condition(status, "Ready") == "True").await;
    world.api.delete_pod(&path, 1_000_000);
    while !world.runtime.calls().contains(&"stop deaf/app grace=1000000".to_owned()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.api.delete_pod(&path, 3);
    world.gone(&path).await;
    let calls = world.runtime.calls();
    assert!(calls.contains(&"stop deaf/app grace=3".to_owned()), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn start_errors_are_shown_and_tried_again() {
    let world = World::new().await;
    let script = Script { start_error: Some("exec: no such file".into()), ..Default::default() };
    world.runtime.script("broken:1", script);
    let path = world.create("broken", json!({"containers": one("broken:1")}));
    let reason =
        |status: &Value| status["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    world.until(&path, |status| reason(status) == "RunContainerError").await;
    world.until(&path, |status| reason(status) == "CrashLoopBackOff").await;
    world.runtime.script("broken:1", Script::default());
    world.until(&path, |status| condition(status, "Ready") == "True").await;
}

#[tokio::test(start_paused = true)]
async fn limits_change_while_a_container_runs() {
    let world = World::new().await;
    let spec = |cpu: &str, memory: &str| {
        json!({"containers": [{"name": "app", "image": "x:1",
            "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
            "resources": {"limits": {"cpu": cpu, "memory": memory}}}]})
    };
    let path = world.create("sized", spec("1", "64Mi"));
    world.until(&path, |status| condition(status, "Ready") == "True").await;
    let resize = |cpu: &str, memory: &str| {
        let mut pod = world.api.get(&path).expect("there");
        pod["spec"]["containers"] = spec(cpu, memory)["containers"].clone();
        world.api.put(&path, pod);
    };
    let limits = |status: &Value| status["containerStatuses"][0]["resources"]["limits"].clone();

    resize("500m", "64Mi");
    let want = json!({"cpu": "500m", "memory": "64Mi"});
    let pod = world.until(&path, |status| limits(status) == want).await;
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    let update = "update sized/app quota=50000 memory=67108864".to_owned();
    assert!(world.runtime.calls().contains(&update), "{:?}", world.runtime.calls());

    resize("500m", "128Mi");
    let want = json!({"cpu": "500m", "memory": "128Mi"});
    let pod = world
        .until(&path, |status| {
            limits(status) == want && status["containerStatuses"][0]["restartCount"] == 1
        })
        .await;
    assert_eq!(pod["status"]["phase"], "Running");
}
