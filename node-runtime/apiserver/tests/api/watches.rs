//! Watches: where they begin, what they tell, how they end.

use minik_store::{Storage, Store};
use serde_json::json;

use crate::harness::{Api, MAPS, config_map};

#[tokio::test]
async fn from_now_from_a_version_and_from_the_beginning() {
    let api = Api::new().await;
    let made = api.post(MAPS, config_map("a")).await.ok();
    let version = made["metadata"]["resourceVersion"].as_str().expect("version").to_owned();
    let mut all = api.watch(&format!("{MAPS}?watch=1")).await;
    let mut since = api.watch(&format!("{MAPS}?watch=1&resourceVersion={version}")).await;
    assert_eq!(all.line().await, "ADDED a");
    api.post(MAPS, config_map("b")).await.ok();
    api.patch(&format!("{MAPS}/b"), json!({"data": {"x": "y"}})).await.ok();
    let deleted = api.delete(&format!("{MAPS}/b")).await.ok();
    for events in [&mut all, &mut since] {
        assert_eq!(events.line().await, "ADDED b");
        assert_eq!(events.line().await, "MODIFIED b");
        let last = events.next().await.expect("event");
        assert_eq!(last["type"], "DELETED");
        assert_eq!(last["object"]["data"]["x"], "y", "the last state");
        let at = last["object"]["metadata"]["resourceVersion"].as_str().expect("version");
        assert_eq!(at, api.store.revision().to_string(), "and the revision of its end");
    }
    assert_eq!(deleted["status"], "Success");
}

#[tokio::test]
async fn selectors_make_changes_appear_as_added_and_deleted() {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    let mut events = api.watch(&format!("{MAPS}?watch=1&labelSelector=x%3Dy")).await;
    let path = format!("{MAPS}/a");
    api.patch(&path, json!({"metadata": {"labels": {"x": "y"}}})).await.ok();
    api.patch(&path, json!({"data": {"b": "2"}})).await.ok();
    api.patch(&path, json!({"metadata": {"labels": {"x": "z"}}})).await.ok();
    api.patch(&path, json!({"metadata": {"labels": {"x": "y"}}})).await.ok();
    for expected in ["ADDED a", "MODIFIED a", "DELETED a", "ADDED a"] {
        assert_eq!(events.line().await, expected);
    }
}

#[tokio::test]
async fn one_object_by_name() {
    let api = Api::new().await;
    let mut events = api.watch(&format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Da")).await;
    api.post(MAPS, config_map("ab")).await.ok();
    api.post(MAPS, config_map("a")).await.ok();
    assert_eq!(events.line().await, "ADDED a");
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut events = api.watch(&format!("{MAPS}?{query}&allowWatchBookmarks=true")).await;
    assert_eq!(events.line().await, "ADDED a");
    let bookmark = events.next().await.expect("bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(metadata["resourceVersion"], api.store.revision().to_string().as_str());
    api.post(MAPS, config_map("b")).await.ok();
    assert_eq!(events.line().await, "ADDED b");
    assert_eq!(api.get(&format!("{MAPS}?{query}")).await.code, 400, "no bookmarks allowed");
}

#[tokio::test]
async fn tables_name_their_columns_once() {
    let api = Api::new().await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let mut events = api.watch_with(&format!("{MAPS}?watch=1"), &accept).await;
    api.post(MAPS, config_map("a")).await.ok();
    api.post(MAPS, config_map("b")).await.ok();
    // The cluster has config maps of its own only when controllers run.
    let (first, second) = (events.next().await.expect("a"), events.next().await.expect("b"));
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(second["object"]["columnDefinitions"], json!(null));
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn a_watch_from_before_the_history_says_so() {
    let mut config = minik_store::Config::new(Storage::Memory);
    (config.ring_bytes_max, config.ring_events_min) = (4096, 2);
    let api = Api::on(Store::open(&config).expect("store")).await;
    for n in 0..40 {
        api.post(MAPS, config_map(&format!("m{n}"))).await.ok();
    }
    let mut events = api.watch(&format!("{MAPS}?watch=1&resourceVersion=1")).await;
    let error = events.next().await.expect("event");
    assert_eq!(error["type"], "ERROR");
    assert_eq!(error["object"]["code"], 410);
    assert_eq!(error["object"]["reason"], "Expired");
    assert_eq!(events.next().await, None);
    let list = api.get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact")).await;
    assert_eq!((list.code, list.body["reason"].as_str()), (410, Some("Expired")));
}
