//! Create, update, patch, delete: what is stored and what is refused.

use expect_test::{Expect, expect};
use serde_json::json;

use crate::harness::{Api, MAPS, PODS, config_map, pod};
use minik_apiserver::User;

#[tokio::test]
async fn create_read_update_delete() {
    let api = Api::new().await;
    let made = api.post(MAPS, config_map("a")).await;
    assert_eq!(made.code, 201);
    let made = made.ok();
    assert_eq!(made["kind"], "ConfigMap");
    assert_eq!(made["metadata"]["namespace"], "default");
    assert!(made["metadata"]["uid"].as_str().is_some_and(|uid| uid.len() == 36));
    let path = format!("{MAPS}/a");
    assert_eq!(api.get(&path).await.ok(), made);

    let mut changed = made.clone();
    changed["data"]["b"] = "2".into();
    let updated = api.put(&path, changed.clone()).await.ok();
    assert_ne!(updated["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    expect![[r#"409 Conflict: Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#]]
        .assert_eq(&api.put(&path, changed).await.failure());
    let same = api.put(&path, updated.clone()).await.ok();
    assert_eq!(same, updated, "a write that changes nothing is no write");

    let gone = api.delete(&path).await.ok();
    assert_eq!(gone["status"], "Success");
    expect![[r#"404 NotFound: configmaps "a" not found"#]]
        .assert_eq(&api.get(&path).await.failure());
}

#[tokio::test]
async fn refusals_of_create() {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    expect![[r#"409 AlreadyExists: configmaps "a" already exists"#]]
        .assert_eq(&api.post(MAPS, config_map("a")).await.failure());
    expect![[r#"404 NotFound: namespaces "nowhere" not found"#]].assert_eq(
        &api.post("/api/v1/namespaces/nowhere/configmaps", config_map("a")).await.failure(),
    );
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "kube-system"}});
    assert_eq!(api.post(MAPS, elsewhere).await.code, 400);
    let with_version = json!({"metadata": {"name": "v", "resourceVersion": "1"}});
    expect!["400 BadRequest: resourceVersion should not be set on objects to be created"]
        .assert_eq(&api.post(MAPS, with_version).await.failure());
    assert_eq!(api.post(MAPS, json!({"metadata": {}})).await.code, 422, "no name at all");
    expect!["404 NotFound: the server could not find the requested resource"]
        .assert_eq(&api.get("/api/v1/nonsense").await.failure());
    assert_eq!(api.post("/api/v1/configmaps", config_map("a")).await.code, 405);
}

#[tokio::test]
async fn generated_names_differ() {
    let api = Api::new().await;
    let body = json!({"metadata": {"generateName": "a-"}});
    let (one, two) = (api.post(MAPS, body.clone()).await.ok(), api.post(MAPS, body).await.ok());
    assert_ne!(one["metadata"]["name"], two["metadata"]["name"]);
    assert!(one["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("a-")));
}

#[tokio::test]
async fn the_three_patches() {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    let path = format!("{MAPS}/a");
    let send = async |kind: &str, body| {
        let what = format!("PATCH {path}");
        let headers = [("content-type", kind)];
        api.ask_as(User::admin(), &what, Some(body), &headers).await
    };
    let merged = send("application/merge-patch+json", json!({"data": {"a": null, "b": "2"}})).await;
    assert_eq!(merged.ok()["data"], json!({"b": "2"}));
    let operations = json!([{"op": "add", "path": "/data/c", "value": "3"}]);
    let changed = send("application/json-patch+json", operations).await.ok();
    assert_eq!(changed["data"], json!({"b": "2", "c": "3"}));
    let strategic = json!({"data": {"$retainKeys": ["b"]}, "metadata": {"labels": {"x": "y"}}});
    let changed = send("application/strategic-merge-patch+json", strategic).await;
    assert_eq!(changed.ok()["metadata"]["labels"]["x"], "y");
    assert_eq!(send("application/apply-patch+cbor", json!({})).await.code, 415);
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"d": "4"}});
    assert_eq!(send("application/merge-patch+json", stale).await.code, 409);
}

#[tokio::test]
async fn patches_race_without_losing_any() {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    let path = format!("{MAPS}/a");
    let patches = (0..8).map(|n| {
        let data = json!({"data": {format!("k{n}"): "x"}});
        api.patch(&path, data)
    });
    for answer in futures::future::join_all(patches).await {
        answer.ok();
    }
    let data = api.get(&path).await.ok()["data"].clone();
    assert_eq!(data.as_object().map(serde_json::Map::len), Some(9));
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let api = Api::new().await;
    let before = api.store.revision();
    assert_eq!(api.post(&format!("{MAPS}?dryRun=All"), config_map("a")).await.code, 201);
    assert_eq!(api.store.revision(), before);
    assert_eq!(api.get(&format!("{MAPS}/a")).await.code, 404);
    api.post(MAPS, config_map("b")).await.ok();
    api.delete(&format!("{MAPS}/b?dryRun=All")).await.ok();
    api.get(&format!("{MAPS}/b")).await.ok();
    assert_eq!(api.post(&format!("{MAPS}?dryRun=Some"), config_map("c")).await.code, 400);
}

#[tokio::test]
async fn unknown_fields_are_told_or_refused() {
    let api = Api::new().await;
    let body = json!({"metadata": {"name": "a"}, "datta": {}});
    let warned = api.post(MAPS, body.clone()).await;
    assert_eq!(warned.warnings(), [r#"299 - "unknown field \"datta\"""#]);
    let strict = api.post(&format!("{MAPS}?fieldValidation=Strict"), body).await;
    expect![[r#"400 BadRequest: ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "datta""#]]
        .assert_eq(&strict.failure());
}

#[tokio::test]
async fn what_a_patch_says_twice_or_wrongly_is_told_or_refused() {
    let api = Api::new().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    api.post(maps, config_map("a")).await.ok();
    let check = async |kind: &str, body: &str, expected: Expect| {
        let content_type = format!("application/{kind}-patch+json");
        let ask = async |validation: &str| {
            let path = format!("{maps}/a?dryRun=All&fieldValidation={validation}");
            let headers = [("content-type", content_type.as_str())];
            let what = format!("PATCH {path}");
            api.ask_bytes(User::admin(), &what, body.to_owned().into(), &headers).await
        };
        let (strict, warn) = (ask("Strict").await, ask("Warn").await);
        ask("Ignore").await.ok();
        let strict = strict.failure();
        let (patch, why) = strict.split_once("strict decoding error: ").expect("a reason");
        assert!(
            patch.starts_with("422 Invalid:  \"\" is invalid: patch: Invalid value: "),
            "{patch}"
        );
        assert!(!patch.contains("map[") || patch.contains("map[data:map[k:w] extra:<nil>]"));
        expected.assert_eq(&format!("{why}\n{:?}", warn.warnings()));
    };
    check(
        "merge",
        r#"{"data":{"k":"v","k":"w"},"extra":1}"#,
        expect![[r#"
        duplicate field "data.k", unknown field "extra"
        ["299 - \"duplicate field \\\"data.k\\\"\"", "299 - \"unknown field \\\"extra\\\"\""]"#]],
    )
    .await;
    check(
        "strategic-merge",
        r#"{"data":{"k":"v","k":"w"},"extra":null}"#,
        expect![[r#"
        duplicate field "data.k"
        ["299 - \"duplicate field \\\"data.k\\\"\""]"#]],
    )
    .await;
    check("json", r#"[{"op":"add","op":"add","path":"/extra","value":1}]"#, expect![[r#"
        json patch duplicate field "[0].op", unknown field "extra"
        ["299 - \"json patch duplicate field \\\"[0].op\\\"\"", "299 - \"unknown field \\\"extra\\\"\""]"#]]).await;
    let wrong = api.patch(&format!("{maps}/a"), json!({"data": {"k": 1}})).await.failure();
    let (start, end) = (
        r#"422 Invalid:  "" is invalid: patch: Invalid value: "{\"apiVersion\":\"v1\""#,
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
    );
    assert!(wrong.starts_with(start) && wrong.ends_with(end), "{wrong}");
}

#[tokio::test]
async fn spec_and_status_are_written_apart() {
    let api = Api::new().await;
    api.post(PODS, pod("a")).await.ok();
    let path = format!("{PODS}/a");
    let sneaky = json!({"status": {"phase": "Running"}});
    let main = api.patch(&path, sneaky.clone()).await.ok();
    assert_eq!(main["status"]["phase"], "Pending");
    let status = api.patch(&format!("{path}/status"), sneaky).await.ok();
    assert_eq!(status["status"]["phase"], "Running");
    let spec = json!({"spec": {"activeDeadlineSeconds": 5}});
    let status = api.patch(&format!("{path}/status"), spec).await.ok();
    assert_eq!(status["spec"].get("activeDeadlineSeconds"), None);
}

#[tokio::test]
async fn a_running_pod_is_deleted_by_its_kubelet() {
    let api = Api::new().await;
    api.post(PODS, pod("a")).await.ok();
    let target = json!({"target": {"kind": "Node", "name": "n1"}});
    let bound = api.post(&format!("{PODS}/a/binding"), target.clone()).await;
    assert_eq!(bound.code, 201, "{}", bound.body);
    let found = api.get(&format!("{PODS}/a")).await.ok();
    assert_eq!(found["spec"]["nodeName"], "n1");
    assert_eq!(found["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(api.post(&format!("{PODS}/a/binding"), target).await.code, 409);

    let marked = api.delete(&format!("{PODS}/a")).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let again = api.delete(&format!("{PODS}/a")).await.ok();
    assert_eq!(again["metadata"]["deletionTimestamp"], marked["metadata"]["deletionTimestamp"]);
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}});
    let other = api.ask(&format!("DELETE {PODS}/a"), Some(options)).await;
    assert_eq!(other.code, 409, "another pod of that name is not meant");
    api.delete(&format!("{PODS}/a?gracePeriodSeconds=0")).await.ok();
    assert_eq!(api.get(&format!("{PODS}/a")).await.code, 404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let api = Api::new().await;
    let body = json!({"metadata": {"name": "a", "finalizers": ["example.com/f"]}});
    api.post(MAPS, body).await.ok();
    let path = format!("{MAPS}/a");
    let marked = api.delete(&format!("{path}?propagationPolicy=Foreground")).await.ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["example.com/f", "foregroundDeletion"]));
    let rest = json!({"metadata": {"finalizers": ["foregroundDeletion"]}});
    assert_eq!(api.patch(&path, rest).await.code, 200);
    assert_eq!(api.patch(&path, json!({"metadata": {"finalizers": null}})).await.code, 200);
    assert_eq!(api.get(&path).await.code, 404);
}

#[tokio::test]
async fn a_namespace_ends_when_it_is_finalized() {
    let api = Api::new().await;
    let made = api.post("/api/v1/namespaces", json!({"metadata": {"name": "shop"}})).await.ok();
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "shop");
    let gone = api.delete("/api/v1/namespaces/shop").await.ok();
    assert_eq!(gone["status"]["phase"], "Terminating");
    let inside = "/api/v1/namespaces/shop/configmaps";
    expect![[r#"403 Forbidden: configmaps "a" is forbidden: unable to create new content in namespace shop because it is being terminated"#]]
        .assert_eq(&api.post(inside, config_map("a")).await.failure());
    let mut finalized = api.get("/api/v1/namespaces/shop").await.ok();
    finalized["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/shop/finalize", finalized).await.ok();
    assert_eq!(api.get("/api/v1/namespaces/shop").await.code, 404);
    assert_eq!(api.delete("/api/v1/namespaces/kube-system").await.code, 403);
}

#[tokio::test]
async fn scale_changes_replicas_only() {
    let api = Api::new().await;
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "x"}]},
            },
        },
    });
    let path = "/apis/apps/v1/namespaces/default/deployments";
    api.post(path, deployment).await.ok();
    let scale = api.patch(&format!("{path}/web/scale"), json!({"spec": {"replicas": 4}})).await;
    let scale = scale.ok();
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["status"]["selector"], "app=web");
    let found = api.get(&format!("{path}/web")).await.ok();
    assert_eq!(found["spec"]["replicas"], 4);
    assert_eq!(found["metadata"]["generation"], 2);
}

#[tokio::test]
async fn events_are_one_store_in_two_versions() {
    let api = Api::new().await;
    let event = json!({
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "a", "namespace": "default"},
        "reason": "Started", "message": "it runs", "type": "Normal", "count": 2,
    });
    api.post("/api/v1/namespaces/default/events", event).await.ok();
    let path = "/apis/events.k8s.io/v1/namespaces/default/events/e";
    let other = api.get(path).await.ok();
    assert_eq!(other["note"], "it runs");
    assert_eq!(other["deprecatedCount"], 2);
    assert_eq!(other["apiVersion"], "events.k8s.io/v1");
}

#[tokio::test]
async fn warnings_come_with_failures_too() {
    let api = Api::new().await;
    let mut object = config_map("Not-A-Name");
    object["colour"] = "red".into();
    let answer = api.post(MAPS, object).await;
    assert_eq!(answer.code, 422, "{}", answer.body);
    assert_eq!(answer.warnings(), [r#"299 - "unknown field \"colour\"""#]);
}
