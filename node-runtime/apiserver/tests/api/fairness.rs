//! Priority and fairness as clients see it.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use minik_apiserver::{Body, User};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::Service;

use crate::harness::{Api, MAPS};

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";

/// A request whose body does not end until it is let go.
struct Slow {
    answer: tokio::task::JoinHandle<Response<Body>>,
    _body: mpsc::Sender<Result<http_body::Frame<Bytes>, std::io::Error>>,
}

impl Slow {
    async fn begin(api: &Api, user: &User, path: &str) -> Slow {
        let (sender, receiver) = mpsc::channel(1);
        let frames = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|frame| (frame, receiver))
        });
        let request = Request::post(path).body(StreamBody::new(Box::pin(frames)));
        let mut service = api.service(user.clone());
        let answering = service.call(request.expect("request"));
        let answer = tokio::spawn(async move { answering.await.expect("never fails") });
        // On one thread: it has gone as far as it can.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        Slow { answer, _body: sender }
    }

    /// The code it was answered with, if it was.
    fn code(&mut self) -> Option<u16> {
        let answered = (&mut self.answer).now_or_never()?;
        Some(answered.expect("no panic").status().as_u16())
    }
}

#[tokio::test]
async fn every_answer_names_what_it_was_taken_for() {
    let api = Api::new().await;
    let admin = api.get("/api/v1/pods").await;
    let uid = |name: &str| {
        let value = admin.headers.get(name).expect(name);
        value.to_str().expect("text").to_owned()
    };
    let schema = api.get(&format!("{SCHEMAS}/exempt")).await.ok();
    assert_eq!(uid("x-kubernetes-pf-flowschema-uid"), schema["metadata"]["uid"]);
    let level = api.get(&format!("{LEVELS}/exempt")).await.ok();
    assert_eq!(uid("x-kubernetes-pf-prioritylevel-uid"), level["metadata"]["uid"]);
    let someone = User::new("someone", ["people"]);
    let refused = api.ask_as(someone, "GET /api/v1/pods", None, &[]).await;
    assert_eq!(refused.code, 403);
    let schema = api.get(&format!("{SCHEMAS}/global-default")).await.ok();
    assert_eq!(refused.headers["x-kubernetes-pf-flowschema-uid"], uid_of(&schema));
}

fn uid_of(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().expect("uid")
}

async fn bind(api: &Api, user: &str) {
    let binding = json!({
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    });
    api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.ok();
}

#[tokio::test]
async fn one_client_cannot_starve_another() {
    let api = Api::with(|config| config.requests_max = 40).await;
    let (flood, calm) = (User::new("flood", ["people"]), User::new("calm", ["people"]));
    bind(&api, "flood").await;
    bind(&api, "calm").await;

    // As much as the client gets away with: all seats of its level, and full queues.
    let mut slow: Vec<Slow> = Vec::new();
    let refused = loop {
        let mut one = Slow::begin(&api, &flood, MAPS).await;
        if one.code() == Some(429) {
            break one;
        }
        slow.push(one);
        assert!(slow.len() < 1000, "the queues of one flow are bounded");
    };
    drop(refused);
    let refused = api.ask_as(flood.clone(), &format!("GET {MAPS}"), None, &[]).await;
    assert_eq!(refused.code, 429);
    assert_eq!(refused.body, "Too many requests, please try again later.\n");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.headers["content-type"], "text/plain; charset=utf-8");

    // Another level does not even notice.
    let account = User::service_account("default", "default");
    let other = api.ask_as(account, "GET /api", None, &[]).await;
    assert_eq!(other.code, 200);

    // In the same level, the other client's turn comes when each queue of the flood had one.
    let get = format!("GET {MAPS}");
    let mut waiting = Box::pin(api.ask_as(calm, &get, None, &[]));
    assert!((&mut waiting).now_or_never().is_none(), "all seats are taken");
    let mut done = 0;
    let answer = loop {
        if let Some(answer) = (&mut waiting).now_or_never() {
            break answer;
        }
        assert!(done < 7, "a flow has six queues");
        let first = slow.swap_remove(0);
        first.answer.abort();
        let _ = first.answer.await;
        done += 1;
    };
    assert_eq!(answer.code, 200);
    assert!(slow.len() > 100, "the flood goes on: {}", slow.len());

    let table = api.get("/debug/api_priority_and_fairness/dump_requests").await;
    let table = table.body.as_str().expect("text").to_owned();
    let here = table.lines().filter(|line| line.contains(" flood,")).count();
    assert_eq!(here, slow.len(), "{table}");
}

#[tokio::test]
async fn a_request_ends_when_its_time_is_over() {
    let api = Api::new().await;
    let slow = Slow::begin(&api, &User::admin(), &format!("{MAPS}?timeout=30ms")).await;
    let answer = tokio::time::timeout(Duration::from_secs(20), slow.answer).await;
    let answer = answer.expect("in time").expect("no panic");
    assert_eq!(answer.status(), 504);
    let body = answer.into_body().collect().await.expect("body").to_bytes();
    let status: Value = serde_json::from_slice(&body).expect("a status");
    assert_eq!(status["reason"], "Timeout");
    let message = "request did not complete within the allotted timeout";
    assert!(status["message"].as_str().is_some_and(|text| text.contains(message)), "{status}");
}

#[tokio::test]
async fn built_in_objects_come_back() {
    let mut api = Api::new().await;
    api.run();
    let path = format!("{SCHEMAS}/catch-all");
    let mut changes =
        api.watch(&format!("{SCHEMAS}?watch=1&fieldSelector=metadata.name%3Dcatch-all")).await;
    assert_eq!(changes.line().await, "ADDED catch-all");
    api.patch(&path, json!({"spec": {"matchingPrecedence": 9}})).await.ok();
    loop {
        let event = changes.next().await.expect("an event");
        let spec = &event["object"]["spec"];
        if event["type"] == "MODIFIED" && spec["matchingPrecedence"] == 10000 {
            break;
        }
    }
    api.delete(&path).await.ok();
    while changes.line().await != "ADDED catch-all" {}
}

#[tokio::test]
async fn schemas_without_their_level_say_so() {
    let mut api = Api::new().await;
    api.run();
    let schema = json!({"metadata": {"name": "mine"}, "spec": {
        "priorityLevelConfiguration": {"name": "missing"},
        "rules": [{
            "subjects": [{"kind": "User", "user": {"name": "somebody"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }],
    }});
    let created = api.post(SCHEMAS, schema).await;
    assert_eq!(created.warnings(), Vec::<String>::new());
    created.ok();
    let what = format!("{SCHEMAS}?watch=1&fieldSelector=metadata.name%3Dmine");
    let mut changes = api.watch(&what).await;
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), changes.next()).await;
        let event = event.expect("in time").expect("an event");
        let condition = &event["object"]["status"]["conditions"][0];
        if condition["type"] == "Dangling" {
            assert_eq!(
                (&condition["status"], &condition["reason"]),
                (&json!("True"), &json!("NotFound"))
            );
            break;
        }
    }
}
