//! Admission webhooks on the loopback: who is asked what, and what becomes of their answers.

use std::sync::atomic::Ordering;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use expect_test::{Expect, expect};
use minik_apiserver::User;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, MAPS, PODS, config_map, pod};
use crate::hook::{HookServer, Reply};

pub(crate) const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
pub(crate) const MUTATING: &str = "mutatingwebhookconfigurations";
pub(crate) const VALIDATING: &str = "validatingwebhookconfigurations";

/// A webhook that is asked about everything that `rules` say, with more fields.
pub(crate) fn hook(name: &str, client: Value, more: Value) -> Value {
    let mut hook = json!({
        "name": name,
        "clientConfig": client,
        "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["configmaps"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    });
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hook
}

pub(crate) fn rules(resources: &[&str]) -> Value {
    json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources}])
}

/// A configuration of these webhooks, or why there is none.
pub(crate) async fn try_configure(
    api: &Api,
    plural: &str,
    name: &str,
    hooks: Vec<Value>,
) -> Answer {
    let object = json!({"metadata": {"name": name}, "webhooks": hooks});
    api.post(&format!("{GROUP}/{plural}"), object).await
}

pub(crate) async fn configure(api: &Api, plural: &str, name: &str, hooks: Vec<Value>) {
    let answer = try_configure(api, plural, name, hooks).await;
    assert!(answer.warnings().is_empty(), "{:?}", answer.warnings());
    answer.ok();
}

pub(crate) fn respond(review: &Value, response: Value) -> Reply {
    let mut full = json!({"uid": review["request"]["uid"], "allowed": true});
    full.as_object_mut().unwrap().extend(response.as_object().unwrap().clone());
    Reply::Object(json!({
        "kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": full,
    }))
}

pub(crate) fn patched(review: &Value, operations: Value) -> Reply {
    let patch = BASE64_STANDARD.encode(operations.to_string());
    respond(review, json!({"patch": patch, "patchType": "JSONPatch"}))
}

/// A server that does what the path says.
pub(crate) async fn server() -> HookServer {
    HookServer::start(|path, review| {
        let path = path.split('?').next().unwrap_or_default();
        match path.strip_prefix('/').unwrap_or_default() {
            "deny" => respond(
                review,
                json!({"allowed": false, "status": {"message": "no way", "code": 403, "reason": "Forbidden"}}),
            ),
            "silent-deny" => respond(review, json!({"allowed": false})),
            "never" => Reply::Never,
            "broken" => Reply::Code(500, "boom"),
            "missing" => Reply::Code(404, "nothing here"),
            "nonsense" => Reply::Code(200, "{{"),
            "other-uid" => respond(review, json!({"uid": "x"})),
            "warn" => respond(
                review,
                json!({"warnings": ["careful"], "auditAnnotations": {"a": "b"}}),
            ),
            path if path.starts_with("add-") => {
                let key = path.trim_start_matches("add-");
                patched(review, json!([{"op": "add", "path": format!("/data/{key}"), "value": "added"}]))
            }
            "bad-patch" => {
                patched(review, json!([{"op": "remove", "path": "/data/absent/deeper"}]))
            }
            "bad-type" => patched(review, json!([{"op": "add", "path": "/data", "value": 5}])),
            _ => respond(review, json!({})),
        }
    })
    .await
}

#[tokio::test]
async fn a_webhook_is_told_all_about_a_request() {
    let (api, server) = (Api::new().await, server().await);
    configure(&api, VALIDATING, "v", vec![hook("a.b.c", server.client("/see"), json!({}))]).await;
    let user = User { uid: "7".to_owned(), ..User::admin() };
    let what = format!("POST {MAPS}?fieldManager=me&dryRun=All&fieldValidation=Strict");
    api.ask_as(user, &what, Some(config_map("a")), &[]).await.ok();
    let (path, mut review) = server.take().pop().expect("asked");
    assert_eq!(path, "/see?timeout=10s");
    let request = &mut review["request"];
    let object = request["object"].take();
    assert_eq!(object["metadata"]["uid"].as_str().expect("uid").len(), 36);
    assert_eq!(object["metadata"]["managedFields"][0]["manager"], "me");
    assert_eq!(request["uid"].take().as_str().expect("uid").len(), 36);
    expect![[r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":null,"kind":{"group":"","version":"v1","kind":"ConfigMap"},"resource":{"group":"","version":"v1","resource":"configmaps"},"requestKind":{"group":"","version":"v1","kind":"ConfigMap"},"requestResource":{"group":"","version":"v1","resource":"configmaps"},"name":"a","namespace":"default","operation":"CREATE","userInfo":{"username":"kubernetes-admin","uid":"7","groups":["system:masters","system:authenticated"]},"object":null,"oldObject":null,"dryRun":true,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1","dryRun":["All"],"fieldManager":"me","fieldValidation":"Strict"}}}"#]]
        .assert_eq(&review.to_string());
}

/// `OPERATION resource[/sub] Kind namespace/name old new` of each question.
fn lines(server: &HookServer) -> String {
    let asked = server.take();
    let lines = asked.iter().map(|(_, review)| {
        let request = &review["request"];
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        let sub = text("subResource");
        let has = |key: &str, sign: &'static str| if request[key].is_null() { "" } else { sign };
        format!(
            "{} {}{}{sub} {} {}/{} {}{}",
            text("operation"),
            request["resource"]["resource"].as_str().unwrap_or_default(),
            if sub.is_empty() { "" } else { "/" },
            request["kind"]["kind"].as_str().unwrap_or_default(),
            text("namespace"),
            text("name"),
            has("oldObject", "-"),
            has("object", "+"),
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

async fn everything_is_asked(api: &Api) -> HookServer {
    let server = server().await;
    let more = json!({"rules": rules(&["*/*"])});
    configure(api, VALIDATING, "v", vec![hook("a.b.c", server.client("/see"), more)]).await;
    server
}

#[tokio::test]
async fn webhooks_are_asked_about_every_verb() {
    let api = Api::new().await;
    let server = everything_is_asked(&api).await;
    let check = |expected: Expect| expected.assert_eq(&lines(&server));
    api.post(MAPS, config_map("a")).await.ok();
    api.put(&format!("{MAPS}/a"), config_map("a")).await.ok();
    api.patch(&format!("{MAPS}/a"), json!({"data": {"b": "2"}})).await.ok();
    let apply = [("content-type", "application/apply-patch+yaml")];
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}});
    for _ in 0..2 {
        let what = format!("PATCH {MAPS}/b?fieldManager=me");
        api.ask_as(User::admin(), &what, Some(body.clone()), &apply).await.ok();
    }
    api.get(&format!("{MAPS}/a")).await.ok();
    api.delete(&format!("{MAPS}/a")).await.ok();
    api.delete(MAPS).await.ok();
    check(expect![[r#"
        CREATE configmaps ConfigMap default/a +
        UPDATE configmaps ConfigMap default/a -+
        UPDATE configmaps ConfigMap default/a -+
        CREATE configmaps ConfigMap default/b +
        UPDATE configmaps ConfigMap default/b -+
        DELETE configmaps ConfigMap default/a -
        DELETE configmaps ConfigMap default/ -"#]]);
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.ok();
    api.patch("/api/v1/namespaces/n", json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    api.delete("/api/v1/namespaces/n").await.ok();
    let generated = json!({"metadata": {"generateName": "g-"}});
    let name = api.post("/api/v1/namespaces", generated).await.ok()["metadata"]["name"].clone();
    let name = name.as_str().expect("name").to_owned();
    expect![[r#"
        CREATE namespaces Namespace n/n +
        UPDATE namespaces Namespace n/n -+
        DELETE namespaces Namespace n/n -
        CREATE namespaces Namespace G/G +"#]]
    .assert_eq(&lines(&server).replace(&name, "G"));
}

#[tokio::test]
async fn webhooks_are_asked_about_every_subresource() {
    let api = Api::new().await;
    let server = everything_is_asked(&api).await;
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}},
    }});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    api.post(deployments, deployment).await.ok();
    api.patch(&format!("{deployments}/d/scale"), json!({"spec": {"replicas": 3}})).await.ok();
    api.patch(&format!("{deployments}/d/status"), json!({"status": {"replicas": 3}})).await.ok();
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await.ok();
    api.post(PODS, pod("a")).await.ok();
    api.post(PODS, pod("b")).await.ok();
    let target = json!({"target": {"kind": "Node", "name": "n1"}});
    api.post(&format!("{PODS}/a/binding"), target).await.ok();
    let ephemeral = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "x"}]}});
    api.patch(&format!("{PODS}/a/ephemeralcontainers"), ephemeral).await.ok();
    let eviction = json!({"metadata": {"name": "b"}});
    api.post(&format!("{PODS}/b/eviction"), eviction).await.ok();
    let token = json!({"spec": {}});
    api.post("/api/v1/namespaces/default/serviceaccounts/default/token", token).await.ok();
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review).await.ok();
    // Nobody listens there; what counts is that the webhook was asked first.
    api.ask(&format!("POST {PODS}/a/exec?command=sh&command=-c&stdin=true"), None).await;
    api.ask(&format!("POST {PODS}/a/portforward?ports=80"), None).await;
    api.get(&format!("{PODS}/a/proxy/x/y")).await;
    let exec = server.asked.lock().expect("no holder panics").iter().rev().nth(2).cloned();
    expect![[r#"{"kind":"PodExecOptions","apiVersion":"v1","stdin":true,"command":["sh","-c"]}"#]]
        .assert_eq(&exec.expect("asked").1["request"]["object"].to_string());
    expect![[r#"
        CREATE deployments Deployment default/d +
        UPDATE deployments/scale Scale default/d -+
        UPDATE deployments/status Deployment default/d -+
        CREATE nodes Node /n1 +
        CREATE pods Pod default/a +
        CREATE pods Pod default/b +
        CREATE pods/binding Binding default/a +
        UPDATE pods/ephemeralcontainers Pod default/a -+
        CREATE pods/eviction Eviction default/b +
        CREATE serviceaccounts/token TokenRequest default/default +
        CREATE selfsubjectaccessreviews SelfSubjectAccessReview / +
        CONNECT pods/exec PodExecOptions default/a +
        CONNECT pods/portforward PodPortForwardOptions default/a +
        CONNECT pods/proxy PodProxyOptions default/a +"#]]
    .assert_eq(&lines(&server));
}

#[tokio::test]
async fn denials_and_failures_are_told() {
    let (api, server) = (Api::new().await, server().await);
    let table = [
        (
            "deny",
            "Fail",
            expect![[r#"403 Forbidden: admission webhook "a.b.c" denied the request: no way"#]],
        ),
        (
            "silent-deny",
            "Ignore",
            expect![[r#"400 : admission webhook "a.b.c" denied the request without explanation"#]],
        ),
        (
            "broken",
            "Fail",
            expect![[
                r#"500 InternalError: Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: an error on the server ("boom") has prevented the request from succeeding"#
            ]],
        ),
        ("broken", "Ignore", expect!["201"]),
        (
            "missing",
            "Fail",
            expect![[
                r#"500 InternalError: Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: the server could not find the requested resource"#
            ]],
        ),
        (
            "nonsense",
            "Fail",
            expect![[
                r#"500 InternalError: Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: couldn't get version/kind; json parse error: key must be a string at line 1 column 2"#
            ]],
        ),
        (
            "never",
            "Fail",
            expect![[
                r#"500 InternalError: Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: Post "https://ADDRESS/never?timeout=1s": context deadline exceeded"#
            ]],
        ),
        ("never", "Ignore", expect!["201"]),
        (
            "add-x",
            "Fail",
            expect![[
                r#"500 InternalError: Internal error occurred: failed calling webhook "a.b.c": received invalid webhook response: validating webhook may not return response.patch"#
            ]],
        ),
    ];
    for (index, (path, policy, expected)) in table.into_iter().enumerate() {
        let more = json!({"failurePolicy": policy, "timeoutSeconds": 1});
        configure(
            &api,
            VALIDATING,
            "v",
            vec![hook("a.b.c", server.client(&format!("/{path}")), more)],
        )
        .await;
        let answer = api.post(MAPS, config_map(&format!("m{index}"))).await;
        let said = if answer.code == 201 { "201".to_owned() } else { answer.failure() };
        expected.assert_eq(&said.replace(&server.address.to_string(), "ADDRESS"));
        api.delete(&format!("{GROUP}/{VALIDATING}/v")).await.ok();
    }
}

#[tokio::test]
async fn webhooks_that_cannot_be_reached() {
    let (api, server) = (Api::new().await, server().await);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = closed.local_addr().expect("address").port();
    drop(closed);
    let stranger = HookServer::start(|_, review| respond(review, json!({}))).await;
    let service = |name: &str| json!({"service": {"name": name, "namespace": "default", "port": 9443}, "caBundle": server.bundle});
    let table = [
        (
            json!({"url": format!("https://127.0.0.1:{port}/x"), "caBundle": server.bundle}),
            format!(
                "Post \"https://127.0.0.1:{port}/x?timeout=10s\": dial tcp 127.0.0.1:{port}: connect: connection refused"
            ),
        ),
        (
            json!({"url": format!("https://{}/x", stranger.address), "caBundle": server.bundle}),
            format!(
                "Post \"https://{}/x?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                stranger.address
            ),
        ),
        (service("nobody"), "service \"nobody\" not found".to_owned()),
        (service("headless"), "cannot route to service with ClusterIP \"None\"".to_owned()),
        (
            json!({"url": "https://127.0.0.1:1/x", "caBundle": "bm90IHBlbQ=="}),
            "unable to load root certificates".to_owned(),
        ),
    ];
    let headless = json!({"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "selector": {"a": "b"}}});
    api.post("/api/v1/namespaces/default/services", headless).await.ok();
    for (client, expected) in table {
        configure(&api, MUTATING, "m", vec![hook("a.b.c", client, json!({}))]).await;
        let failure = api.post(MAPS, config_map("x")).await.failure();
        let start = "500 InternalError: Internal error occurred: failed calling webhook \"a.b.c\": failed to call webhook: ";
        assert!(failure.starts_with(&format!("{start}{expected}")), "{failure}");
        api.delete(&format!("{GROUP}/{MUTATING}/m")).await.ok();
    }
}

#[tokio::test]
async fn a_service_is_asked_under_its_name_and_connections_are_kept() {
    let (api, server) = (Api::new().await, server().await);
    let service = json!({"metadata": {"name": "hook"}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    api.post("/api/v1/namespaces/default/services", service).await.ok();
    let reference = json!({"name": "hook", "namespace": "default", "path": "/add-x", "port": server.address.port()});
    let client = json!({"service": reference, "caBundle": server.bundle});
    configure(&api, MUTATING, "m", vec![hook("a.b.c", client, json!({}))]).await;
    for index in 0..5 {
        let made = api.post(MAPS, config_map(&format!("m{index}"))).await.ok();
        assert_eq!(made["data"]["x"], "added");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "one connection for all questions");
}

#[tokio::test]
async fn changes_become_part_of_the_object() {
    let (api, server) = (Api::new().await, server().await);
    let side_car = HookServer::start(|_, review| {
        let container = json!({"name": "car", "image": "y", "unknown": 1});
        patched(review, json!([{"op": "add", "path": "/spec/containers/-", "value": container}]))
    })
    .await;
    let on_create = json!({"rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
    configure(
        &api,
        MUTATING,
        "m",
        vec![
            hook("a.b.c", server.client("/add-x"), json!({})),
            hook("b.b.c", side_car.client("/"), on_create),
        ],
    )
    .await;
    let made = api.post(PODS, pod("a")).await.ok();
    let car = &made["spec"]["containers"][1];
    assert_eq!(car["terminationMessagePath"], "/dev/termination-log", "defaults follow");
    assert_eq!(car["volumeMounts"][0]["readOnly"], true, "and the plug-ins see it, too");
    assert_eq!(car["unknown"], Value::Null);
    api.post(MAPS, config_map("a")).await.ok();
    let update = json!({"metadata": {"name": "a"}, "data": {"a": "2"}});
    let updated = api.put(&format!("{MAPS}/a"), update).await.ok();
    assert_eq!(updated["data"], json!({"a": "2", "x": "added"}));
    let dry = api.ask(&format!("PUT {MAPS}/a?dryRun=All"), Some(config_map("a"))).await.ok();
    assert_eq!(dry["data"], json!({"a": "1", "x": "added"}));
    assert_eq!(api.get(&format!("{MAPS}/a")).await.ok(), updated, "a dry run changes nothing");
}

#[tokio::test]
async fn patches_that_cannot_be_applied_fail() {
    let (api, server) = (Api::new().await, server().await);
    for path in ["bad-patch", "bad-type"] {
        configure(
            &api,
            MUTATING,
            "m",
            vec![hook("a.b.c", server.client(&format!("/{path}")), json!({}))],
        )
        .await;
        let answer = api.post(MAPS, config_map("a")).await;
        assert_eq!(
            (answer.code, answer.body["reason"].as_str()),
            (500, Some("InternalError")),
            "{}",
            answer.body
        );
        api.delete(&format!("{GROUP}/{MUTATING}/m")).await.ok();
    }
    api.post(MAPS, config_map("a")).await.ok();
    configure(&api, MUTATING, "m", vec![hook("a.b.c", server.client("/add-x"), json!({}))]).await;
    assert_eq!(
        api.delete(&format!("{MAPS}/a")).await.failure(),
        "500 InternalError: Internal error occurred: admission webhook \"a.b.c\" attempted to modify \
         the object, which is not supported for this operation"
    );
}

#[tokio::test]
async fn a_scale_is_what_is_changed_of_a_scale() {
    let api = Api::new().await;
    let server = HookServer::start(|_, review| {
        patched(review, json!([{"op": "replace", "path": "/spec/replicas", "value": 7}]))
    })
    .await;
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}},
    }});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    api.post(deployments, deployment).await.ok();
    let more = json!({"rules": rules(&["*/scale"])});
    configure(&api, MUTATING, "m", vec![hook("a.b.c", server.client("/"), more)]).await;
    let scale =
        api.patch(&format!("{deployments}/d/scale"), json!({"spec": {"replicas": 3}})).await;
    assert_eq!(scale.ok()["spec"]["replicas"], 7);
    let stored = api.get(&format!("{deployments}/d")).await.ok();
    assert_eq!(
        (&stored["spec"]["replicas"], stored["metadata"]["generation"].as_i64()),
        (&json!(7), Some(2))
    );
}

#[tokio::test]
async fn those_who_were_asked_before_a_change_may_look_again() {
    let (api, server) = (Api::new().await, server().await);
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    configure(&api, MUTATING, "b", vec![hook("late.b.c", server.client("/add-y"), again.clone())])
        .await;
    configure(
        &api,
        MUTATING,
        "a",
        vec![
            hook("first.b.c", server.client("/see-first"), again),
            hook("once.b.c", server.client("/see-once"), json!({})),
        ],
    )
    .await;
    api.post(MAPS, config_map("a")).await.ok();
    let asked: Vec<(String, bool)> = server
        .take()
        .into_iter()
        .map(|(path, review)| (path, review["request"]["object"]["data"]["y"] == "added"))
        .collect();
    let asked: Vec<(&str, bool)> =
        asked.iter().map(|(path, seen)| (path.split('?').next().unwrap(), *seen)).collect();
    let expected =
        [("/see-first", false), ("/see-once", false), ("/add-y", false), ("/see-first", true)];
    assert_eq!(asked, expected);
}
