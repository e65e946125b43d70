//! Lists: pages, versions of the past, selectors, the shapes of answers.

use minik_apiserver::User;
use serde_json::{Value, json};

use crate::harness::{Api, MAPS, PODS, config_map, pod};

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn pages_show_one_state() {
    let api = Api::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        api.post(MAPS, config_map(name)).await.ok();
    }
    let first = api.get(&format!("{MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["kind"], "ConfigMapList");
    assert_eq!(first["items"][0].get("kind"), None, "typed lists name their kind once");
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    api.delete(&format!("{MAPS}/d")).await.ok();
    api.post(MAPS, config_map("f")).await.ok();
    let token = first["metadata"]["continue"].as_str().expect("token").to_owned();
    let second = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&second), ["c", "d"]);
    let token = second["metadata"]["continue"].as_str().expect("token");
    let third = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&third), ["e"]);
    assert_eq!(third["metadata"].get("continue"), None);
    assert_eq!(third["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(api.get(&format!("{MAPS}?continue=x")).await.code, 400);
}

#[tokio::test]
async fn selectors_thin_out_pages() {
    let api = Api::new().await;
    for n in 0..6 {
        let mut map = config_map(&format!("m{n}"));
        map["metadata"]["labels"] = json!({"odd": (n % 2).to_string()});
        api.post(MAPS, map).await.ok();
    }
    let page = api.get(&format!("{MAPS}?labelSelector=odd%3D1&limit=2")).await.ok();
    assert_eq!(names(&page), ["m1", "m3"]);
    assert_eq!(page["metadata"].get("remainingItemCount"), None);
    let token = page["metadata"]["continue"].as_str().expect("token");
    let rest = format!("{MAPS}?labelSelector=odd%3D1&limit=2&continue={token}");
    assert_eq!(names(&api.get(&rest).await.ok()), ["m5"]);
    let by_name = api.get(&format!("{MAPS}?fieldSelector=metadata.name%3Dm2")).await.ok();
    assert_eq!(names(&by_name), ["m2"]);
    let unknown = api.get(&format!("{MAPS}?fieldSelector=data.a%3D1")).await;
    assert_eq!(unknown.failure(), "400 BadRequest: field label not supported: data.a");
    api.post(PODS, pod("p")).await.ok();
    let pending = api.get("/api/v1/pods?fieldSelector=spec.nodeName%3D,status.phase%3DPending");
    assert_eq!(names(&pending.await.ok()), ["p"]);
}

#[tokio::test]
async fn versions_of_the_past_and_the_future() {
    let api = Api::new().await;
    let made = api.post(MAPS, config_map("a")).await.ok();
    let version = made["metadata"]["resourceVersion"].as_str().expect("version").to_owned();
    api.post(MAPS, config_map("b")).await.ok();
    let exact = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(names(&api.get(&exact).await.ok()), ["a"]);
    let newer = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(names(&api.get(&newer).await.ok()), ["a", "b"]);
    assert_eq!(names(&api.get(&format!("{MAPS}?resourceVersion=0")).await.ok()), ["a", "b"]);
    let future = api.get(&format!("{MAPS}?resourceVersion=999999")).await;
    assert_eq!(future.code, 504);
    assert_eq!(future.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(api.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.code, 422);
    assert_eq!(api.get(&format!("{MAPS}?resourceVersion=x")).await.code, 400);
}

#[tokio::test]
async fn shapes_of_answers() {
    let api = Api::new().await;
    api.post(PODS, pod("a")).await.ok();
    let get = async |path: &str, accept: &str| {
        let what = format!("GET {path}");
        api.ask_as(User::admin(), &what, None, &[("accept", accept)]).await
    };
    let table = get(PODS, "application/json;as=Table;v=v1;g=meta.k8s.io").await.ok();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = get(PODS, partial).await.ok();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(partial["items"][0].get("spec"), None);
    let yaml = get(&format!("{PODS}/a"), "application/yaml").await.ok();
    assert!(yaml.as_str().is_some_and(|text| text.starts_with("apiVersion: v1\nkind: Pod\n")));
    let table = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io";
    assert_eq!(get(PODS, table).await.code, 406, "tables have no such form");
    assert_eq!(get(PODS, "text/plain").await.code, 406);
    assert_eq!(get(PODS, "text/plain,*/*").await.code, 200);
}

#[tokio::test]
async fn deletecollection_takes_what_is_selected() {
    let api = Api::new().await;
    for name in ["a", "b", "c"] {
        let mut map = config_map(name);
        map["metadata"]["labels"] = json!({"keep": (name == "b").to_string()});
        api.post(MAPS, map).await.ok();
    }
    api.delete(&format!("{MAPS}?labelSelector=keep%21%3Dtrue")).await.ok();
    assert_eq!(names(&api.get(MAPS).await.ok()), ["b"]);
}
