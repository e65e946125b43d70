//! Volumes made of API objects: files that follow the objects.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::world::{World, condition};

const MAP: &str = "/api/v1/namespaces/default/configmaps/colors";

fn spec() -> Value {
    json!({
        "containers": [{"name": "app", "image": "x:1",
            "volumeMounts": [
                {"name": "colors", "mountPath": "/colors"},
                {"name": "all", "mountPath": "/all", "readOnly": true},
                {"name": "scratch", "mountPath": "/scratch", "subPath": "deep/er"}]}],
        "volumes": [
            {"name": "colors", "configMap": {"name": "colors"}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "all", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"configMap": {"name": "colors", "items": [{"key": "a", "path": "sub/color"}]}},
                {"downwardAPI": {"items": [
                    {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}],
    })
}

fn host_path(world: &World, mount: &str) -> PathBuf {
    let config = world.runtime.container_config("pod", "app").expect("it was created");
    let found = config.mounts.iter().find(|it| it.container_path == mount);
    PathBuf::from(&found.expect("it is mounted").host_path)
}

#[tokio::test]
async fn files_follow_the_objects() {
    let world = World::new().await;
    let path = world.create("pod", spec());
    let failed = |api: &crate::api::FakeApi| {
        api.all("events").into_iter().find(|event| event["reason"] == "FailedMount")
    };
    let event = world.api.wait(failed).await;
    let want = "MountVolume.SetUp failed for volume \"colors\" : configmap \"colors\" not found";
    assert_eq!(event["message"], want);

    world.api.put(MAP, json!({"metadata": {}, "data": {"a": "red"}}));
    world.until(&path, |status| condition(status, "Ready") == "True").await;
    let read = |path: PathBuf| std::fs::read_to_string(path).expect("a file");
    let all = host_path(&world, "/all");
    assert_eq!(read(host_path(&world, "/colors").join("a")), "red");
    assert_eq!(read(all.join("token")), "header.claims.signature");
    assert_eq!(read(all.join("sub/color")), "red");
    assert_eq!(read(all.join("name")), "pod");
    assert!(host_path(&world, "/scratch").ends_with("volume-subpaths/scratch/app/2"));
    assert!(host_path(&world, "/etc/hosts").is_file());

    world.api.put(MAP, json!({"metadata": {}, "data": {"a": "blue", "b": "green"}}));
    let changed = async {
        // There is no event for a file in a test; the kubelet hears of the object at once.
        while read(all.join("sub/color")) != "blue" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let deadline = std::time::Duration::from_secs(60);
    tokio::time::timeout(deadline, changed).await.expect("the file follows");
    assert_eq!(read(host_path(&world, "/colors").join("b")), "green");

    let folder = world.folder.path().join("kubelet/pods");
    world.api.delete_pod(&path, 0);
    world.gone(&path).await;
    let removed = async {
        while folder.read_dir().expect("a folder").count() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(deadline, removed).await.expect("nothing of the pod stays");
}
