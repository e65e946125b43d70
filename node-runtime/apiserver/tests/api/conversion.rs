//! Several versions of custom resources, converted by a webhook on the loopback.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minik_pki::{CA_VALIDITY, Ca};
use serde_json::{Value, json};

use crate::custom::{DEFINITIONS, Running, WIDGETS, definition, version};
use crate::hook::{HookServer, Reply};

const WIDGETS_V2: &str = "/apis/example.com/v2/namespaces/default/widgets";

/// Version 1 has `host: "a:1"`, version 2 `hosts: ["a", "1"]`; objects named `bad` cannot be
/// converted.
fn convert(review: &Value) -> Value {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().expect("a version");
    let mut converted = Vec::new();
    for object in request["objects"].as_array().expect("objects") {
        let mut object = object.clone();
        if object["metadata"]["name"] == "bad" {
            let result = json!({"status": "Failed", "message": "bad cannot be converted"});
            return json!({"response": {"uid": request["uid"], "result": result}});
        }
        object["apiVersion"] = wanted.into();
        object["spec"] = match wanted {
            "example.com/v2" => {
                let host = object["spec"]["host"].as_str().unwrap_or_default();
                json!({"hosts": host.split(':').collect::<Vec<_>>(), "unknown": 1})
            }
            _ => {
                let hosts = object["spec"]["hosts"].as_array().cloned().unwrap_or_default();
                let hosts: Vec<&str> = hosts.iter().filter_map(Value::as_str).collect();
                json!({"host": hosts.join(":")})
            }
        };
        converted.push(object);
    }
    json!({"response": {
        "uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": converted,
    }})
}

/// A webhook, and the authority that vouches for it.
async fn webhook() -> (SocketAddr, String) {
    let server = HookServer::start(|_, review| Reply::Object(convert(review))).await;
    (server.address, server.bundle)
}

async fn converting(url: String, bundle: String) -> Running {
    let running = Running::new().await;
    let text = json!({"type": "string"});
    let first = json!({"type": "object", "properties": {"host": text}});
    let second = json!({"type": "object", "properties": {
        "hosts": {"type": "array", "items": text}, "color": {"type": "string", "default": "red"}}});
    let mut both = definition(json!([version("v1", true, first), version("v2", false, second)]));
    both["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": {"url": url, "caBundle": bundle}, "conversionReviewVersions": ["v1"]}});
    running.define(both).await;
    running
}

#[tokio::test]
async fn every_verb_sees_its_own_version() {
    let (address, bundle) = webhook().await;
    let running = converting(format!("https://{address}/convert"), bundle).await;
    let api = &running.api;
    let old = json!({"metadata": {"name": "a"}, "spec": {"host": "x:80"}});
    api.post(WIDGETS, old).await.ok();
    let mut watch = api.watch(&format!("{WIDGETS_V2}?watch=1")).await;
    let first = watch.next().await.expect("an event");
    // Pruned and with the defaults of its version, as if it had been written so.
    assert_eq!(first["object"]["spec"], json!({"hosts": ["x", "80"], "color": "red"}));
    let found = api.get(&format!("{WIDGETS_V2}/a")).await.ok();
    assert_eq!(found["apiVersion"], "example.com/v2");
    assert_eq!(found["spec"], first["object"]["spec"]);

    let new = json!({"metadata": {"name": "b"}, "spec": {"hosts": ["y", "81"]}});
    let made = api.post(WIDGETS_V2, new).await.ok();
    assert_eq!(made["spec"], json!({"hosts": ["y", "81"], "color": "red"}));
    assert_eq!(api.get(&format!("{WIDGETS}/b")).await.ok()["spec"], json!({"host": "y:81"}));
    let patch = json!({"spec": {"hosts": ["z", "82"]}});
    api.patch(&format!("{WIDGETS_V2}/a"), patch).await.ok();
    assert_eq!(api.get(&format!("{WIDGETS}/a")).await.ok()["spec"], json!({"host": "z:82"}));
    assert_eq!(watch.line().await, "ADDED b");
    let changed = watch.next().await.expect("an event");
    assert_eq!(changed["object"]["spec"]["hosts"], json!(["z", "82"]));
    let listed = api.get(WIDGETS_V2).await.ok();
    let hosts: Vec<&Value> =
        listed["items"].as_array().unwrap().iter().map(|one| &one["spec"]["hosts"][0]).collect();
    assert_eq!(hosts, ["z", "y"]);
    api.delete(&format!("{WIDGETS_V2}/a")).await.ok();
    let gone = watch.next().await.expect("an event");
    assert_eq!(
        (&gone["type"], &gone["object"]["apiVersion"]),
        (&"DELETED".into(), &"example.com/v2".into())
    );
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_converted_is_an_error() {
    let (address, bundle) = webhook().await;
    let running = converting(format!("https://{address}/convert"), bundle).await;
    let api = &running.api;
    api.post(WIDGETS, json!({"metadata": {"name": "bad"}, "spec": {"host": "x:1"}})).await.ok();
    assert_eq!(
        api.get(&format!("{WIDGETS_V2}/bad")).await.failure(),
        "500 InternalError: conversion webhook for example.com/v2, Kind=Widget failed: bad cannot \
         be converted"
    );
    // Metadata is the same in all versions: those who follow all kinds need no webhook.
    let admin = minik_apiserver::User::admin();
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let what = format!("GET {WIDGETS_V2}");
    let found = api.ask_as(admin, &what, None, &[("accept", accept)]).await.ok();
    assert_eq!(found["items"][0]["metadata"]["name"], "bad");
    // Its own version needs no conversion.
    assert_eq!(api.get(&format!("{WIDGETS}/bad")).await.code, 200);

    let path = format!("{DEFINITIONS}/widgets.example.com");
    let bundle =
        BASE64_STANDARD.encode(Ca::new("other", CA_VALIDITY).expect("authority").cert_pem());
    let strange =
        json!({"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": bundle}}}}});
    api.patch(&path, strange).await.ok();
    let failure = api.get(&format!("{WIDGETS_V2}/bad")).await.failure();
    assert!(failure.contains("certificate signed by unknown authority"), "{failure}");
    running.stop().await;
}
