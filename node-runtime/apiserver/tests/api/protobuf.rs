//! Protobuf over the wire: what typed clients ask for and send.

use bytes::Bytes;
use http_body_util::BodyExt;
use minik_apiserver::User;

use crate::harness::{Api, MAPS, config_map};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const ACCEPT: &[(&str, &str)] = &[("accept", "application/vnd.kubernetes.protobuf, */*")];

async fn fetch(api: &Api, what: &str, body: Bytes, headers: &[(&str, &str)]) -> (u16, Bytes) {
    let response = api.raw(User::admin(), what, body, headers).await;
    let code = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], PROTOBUF, "{what}");
    (code, response.into_body().collect().await.expect("body").to_bytes())
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn an_object_comes_and_goes_as_protobuf() {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    let path = format!("{MAPS}/a");
    let (code, object) = fetch(&api, &format!("GET {path}"), Bytes::new(), ACCEPT).await;
    assert_eq!(code, 200);
    assert!(object.starts_with(b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap"), "{object:?}");

    let both = [ACCEPT[0], ("content-type", PROTOBUF)];
    let (code, same) = fetch(&api, &format!("PUT {path}"), object.clone(), &both).await;
    assert_eq!((code, same), (200, object), "written back unchanged");
    assert_eq!(api.get(&path).await.ok()["data"]["a"], "1");

    let (code, list) = fetch(&api, &format!("GET {MAPS}"), Bytes::new(), ACCEPT).await;
    assert_eq!(code, 200);
    assert!(holds(&list, "ConfigMapList") && holds(&list, "\x0a\x01a\x12\x011"), "{list:?}");

    let (code, status) = fetch(&api, &format!("GET {MAPS}/none"), Bytes::new(), ACCEPT).await;
    assert_eq!(code, 404);
    assert!(holds(&status, "Status") && holds(&status, "configmaps \"none\" not found"));
}

#[tokio::test]
async fn a_watch_sends_frames() {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    let accept = [("accept", "application/vnd.kubernetes.protobuf;stream=watch")];
    let what = format!("GET {MAPS}?watch=1&fieldSelector=metadata.name%3Da");
    let response = api.raw(User::admin(), &what, Bytes::new(), &accept).await;
    assert_eq!(response.status(), 200);
    let stream = "application/vnd.kubernetes.protobuf;stream=watch";
    assert_eq!(response.headers()["content-type"], stream);
    let mut body = response.into_body();
    for kind in ["ADDED", "MODIFIED", "DELETED"] {
        let next = body.frame().await.expect("a frame").expect("no failure");
        let frame = next.into_data().expect("data");
        let (length, event) = frame.split_at(4);
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        assert_eq!(length as usize, event.len());
        assert!(event.starts_with(&[&[0x0a, kind.len() as u8], kind.as_bytes()].concat()));
        assert!(holds(event, "k8s\0"), "the object is in its envelope");
        let path = format!("{MAPS}/a");
        match kind {
            "ADDED" => drop(api.patch(&path, serde_json::json!({"data": {"a": "2"}})).await.ok()),
            "MODIFIED" => drop(api.delete(&path).await.ok()),
            _ => {}
        }
    }
}
