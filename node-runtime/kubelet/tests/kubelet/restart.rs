//! What a kubelet finds that starts anew.

use std::time::Duration;

use serde_json::json;

use crate::world::{World, condition};

fn spec() -> serde_json::Value {
    json!({"containers": [{"name": "app", "image": "nginx:1",
        "readinessProbe": {"exec": {"command": ["true"]}}}]})
}

#[tokio::test(start_paused = true)]
async fn a_new_kubelet_takes_over_what_runs() {
    let mut world = World::new().await;
    let kept = world.create("kept", spec());
    let deleted = world.create("deleted", spec());
    for path in [&kept, &deleted] {
        world.until(path, |status| condition(status, "Ready") == "True").await;
    }
    world.stop_kubelet().await;
    world.api.remove(&deleted);
    let before = world.runtime.calls().len();
    let revision = world.api.get(&kept).expect("there")["metadata"]["resourceVersion"].clone();

    world.start_kubelet();
    while !world.runtime.calls().contains(&"remove sandbox deleted".to_owned()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let calls = world.runtime.calls();
    assert_eq!(calls[before..], ["stop sandbox deleted", "remove sandbox deleted"]);
    let pod = world.api.get(&kept).expect("there");
    assert_eq!(pod["metadata"]["resourceVersion"], revision, "nothing new to say about it");

    // It is watched as before.
    assert!(world.runtime.exit("kept", "app", 1));
    world.until(&kept, |status| status["containerStatuses"][0]["restartCount"] == 1).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_everything_starts_again() {
    let mut world = World::new().await;
    let path = world.create("web", spec());
    world.until(&path, |status| condition(status, "Ready") == "True").await;
    world.stop_kubelet().await;
    world.runtime.reboot();
    world.start_kubelet();
    let restarted = |status: &serde_json::Value| {
        status["containerStatuses"][0]["restartCount"] == 1 && condition(status, "Ready") == "True"
    };
    let pod = world.until(&path, restarted).await;
    assert_eq!(pod["status"]["podIP"], "10.244.0.4", "a new sandbox has a new address");
    assert_eq!(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 255);
}

#[tokio::test(start_paused = true)]
async fn missed_events_are_made_up_for() {
    let world = World::new().await;
    let path = world.create("web", spec());
    world.until(&path, |status| condition(status, "Ready") == "True").await;
    world.runtime.break_events();
    assert!(world.runtime.exit("web", "app", 1));
    world.until(&path, |status| status["containerStatuses"][0]["restartCount"] == 1).await;
}
