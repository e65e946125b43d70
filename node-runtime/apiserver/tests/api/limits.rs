//! How large and how deep bodies may be.

use bytes::Bytes;
use expect_test::{Expect, expect};
use http_body_util::BodyExt;
use minik_apiserver::User;
use serde_json::{Value, json};
use test_case::test_case;

use crate::custom::{Running, WIDGETS, definition, version};
use crate::harness::{Answer, Api, MAPS, config_map};

const LIMIT: usize = 3 * 1024 * 1024;

async fn send(api: &Api, what: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
    let headers = [("content-type", content_type)];
    let response = api.raw(User::admin(), what, body.into(), &headers).await;
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.expect("body").to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Answer { code: head.status.as_u16(), headers: head.headers, body }
}

#[test_case("POST", "", "application/json")]
#[test_case("POST", "", "application/yaml")]
#[test_case("POST", "", "application/vnd.kubernetes.protobuf")]
#[test_case("PUT", "/a", "application/json")]
#[test_case("PATCH", "/a", "application/json-patch+json")]
#[test_case("PATCH", "/a", "application/merge-patch+json")]
#[test_case("PATCH", "/a", "application/strategic-merge-patch+json")]
#[test_case("PATCH", "/a?fieldManager=me", "application/apply-patch+yaml")]
#[test_case("DELETE", "/a", "application/json")]
#[tokio::test]
async fn bodies_are_limited(method: &str, path: &str, content_type: &str) {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    let what = format!("{method} {MAPS}{path}");
    let large = send(&api, &what, content_type, vec![b' '; LIMIT + 1]).await;
    assert_eq!(
        large.failure(),
        "413 RequestEntityTooLarge: Request entity too large: limit is 3145728"
    );
    let whole = send(&api, &what, content_type, vec![b' '; LIMIT]).await;
    assert_ne!(whole.code, 413, "{}", whole.body);
    api.get(&format!("{MAPS}/a")).await.ok();
}

/// A config map with something in `data` that no config map has.
fn with(inner: &str) -> String {
    format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{inner}}}")
}

fn deep(depth: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth))
}

#[test_case("POST", "", "application/json", with(&deep(200_000)); "json maps")]
#[test_case("POST", "", "application/json", with(&"[".repeat(1_000_000)); "json lists")]
#[test_case("POST", "", "application/yaml", with(&deep(200_000)); "yaml maps")]
#[test_case("POST", "", "application/yaml", with(&"[".repeat(1_000_000)); "yaml lists")]
#[test_case("POST", "", "application/yaml", "- ".repeat(1_000_000); "yaml lists without brackets")]
#[test_case("POST", "", "application/yaml", bomb(); "yaml aliases")]
#[test_case("PATCH", "/a", "application/merge-patch+json", with(&deep(200_000)); "merge patch")]
#[test_case("PATCH", "/a", "application/strategic-merge-patch+json", with(&deep(200_000)); "strategic patch")]
#[test_case("PATCH", "/a", "application/json-patch+json", "[".repeat(1_000_000); "json patch")]
#[test_case("PATCH", "/a?fieldManager=me", "application/apply-patch+yaml", bomb(); "apply patch")]
#[test_case("POST", "", "application/vnd.kubernetes.protobuf", "k8s\0".to_owned() + &"\n\x7f".repeat(100_000); "protobuf")]
#[tokio::test]
async fn nesting_is_limited(method: &str, path: &str, content_type: &str, body: String) {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    let answer = send(&api, &format!("{method} {MAPS}{path}"), content_type, body).await;
    assert_eq!(answer.code, 400, "{}", answer.body);
    api.get(&format!("{MAPS}/a")).await.ok();
}

/// Ten to the twelfth words.
fn bomb() -> String {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(",");
        text += &format!("a{level}: &a{level} [{refs}]\n");
    }
    text + "metadata: {name: a}\n"
}

async fn patched(operations: Value, expected: Expect) {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    let what = format!("PATCH {MAPS}/a");
    let answer = send(&api, &what, "application/json-patch+json", operations.to_string()).await;
    let failure = answer.failure();
    expected.assert_eq(failure.get(..150).unwrap_or(&failure));
}

#[tokio::test]
async fn patches_are_limited() {
    let test = json!({"op": "test", "path": "/data/a", "value": "1"});
    patched(vec![test.clone(); 10_001].into(), expect!["413 RequestEntityTooLarge: Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"]).await;
    patched(vec![test; 10_000].into(), expect!["200 : "]).await;
    let copy =
        |index: u32| json!({"op": "copy", "from": "/data", "path": format!("/data/{index}")});
    patched(
        (0..60).map(copy).collect(),
        expect!["422 Invalid: the server rejected our request due to an error in our request"],
    )
    .await;
}

#[tokio::test]
async fn what_could_not_be_read_again_is_not_stored() {
    let running = Running::new().await;
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    running.define(definition(json!([version("v1", true, free)]))).await;
    let (api, boxes) = (&running.api, WIDGETS);
    let head = r#""apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"NAME"}"#;
    for depth in 100..128 {
        let name = format!("b{depth}");
        let body = format!("{{{},\"spec\":{}}}", head.replace("NAME", &name), deep(depth));
        let made = send(api, &format!("POST {boxes}"), "application/json", body).await;
        let read = api.get(&format!("{boxes}/{name}")).await;
        match made.code {
            201 => assert_eq!(read.ok()["metadata"]["name"], name),
            code => assert_eq!((code, read.code), (400, 404), "{depth}: {}", made.body),
        }
    }
    api.get(boxes).await.ok();
    running.stop().await;
}
