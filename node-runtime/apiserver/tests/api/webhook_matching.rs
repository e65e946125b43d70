//! Which admission webhooks are asked: selectors, versions, conditions, dry runs, and who never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::expect;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::harness::{Api, MAPS, config_map};
use crate::hook::{HookServer, Reply};
use crate::webhooks::{
    GROUP, MUTATING, VALIDATING, configure, hook, patched, respond, rules, server, try_configure,
};

#[tokio::test]
async fn a_dry_run_asks_only_those_without_side_effects() {
    let (api, server) = (Api::new().await, server().await);
    configure(
        &api,
        MUTATING,
        "m",
        vec![hook("a.b.c", server.client("/see"), json!({"sideEffects": "NoneOnDryRun"}))],
    )
    .await;
    api.ask(&format!("POST {MAPS}?dryRun=All"), Some(config_map("a"))).await.ok();
    assert_eq!(server.take()[0].1["request"]["dryRun"], true);
    let refused = try_configure(
        &api,
        MUTATING,
        "n",
        vec![hook("a.b.c", server.client("/see"), json!({"sideEffects": "Some"}))],
    )
    .await;
    assert_eq!(
        refused.failure(),
        "422 Invalid: MutatingWebhookConfiguration.admissionregistration.k8s.io \"n\" is invalid: \
         webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""
    );
}

#[tokio::test]
async fn other_versions_are_matched_and_shown_as_they_are_asked_for() {
    let (api, server) = (Api::new().await, server().await);
    let hpa = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        }})
    };
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let rule = json!([{"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["*"]}]);
    let raise = HookServer::start(|_, review| {
        patched(
            review,
            json!([{"op": "replace", "path": "/spec/targetCPUUtilizationPercentage", "value": 70}]),
        )
    })
    .await;
    configure(
        &api,
        MUTATING,
        "m",
        vec![
            hook(
                "exact.b.c",
                server.client("/exact"),
                json!({"rules": rule, "matchPolicy": "Exact"}),
            ),
            hook("raise.b.c", raise.client("/"), json!({"rules": rule})),
            hook("equivalent.b.c", server.client("/equivalent"), json!({"rules": rule})),
        ],
    )
    .await;
    let made = api.post(path, hpa("a")).await.ok();
    assert_eq!(made["apiVersion"], "autoscaling/v2");
    assert_eq!(made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
    let asked = server.take();
    assert_eq!(asked.len(), 1);
    let request = &asked[0].1["request"];
    assert_eq!(request["kind"]["version"], "v1");
    assert_eq!(request["requestKind"]["version"], "v2");
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(request["object"]["spec"]["targetCPUUtilizationPercentage"], 70);
}

#[tokio::test]
async fn nobody_is_asked_about_the_configuration_of_admission() {
    let (api, server) = (Api::new().await, server().await);
    let more = json!({"rules": rules(&["*/*"])});
    configure(&api, VALIDATING, "v", vec![hook("a.b.c", server.client("/deny"), more.clone())])
        .await;
    configure(&api, MUTATING, "m", vec![hook("a.b.c", server.client("/deny"), more)]).await;
    assert_eq!(api.post(MAPS, config_map("a")).await.code, 403);
    server.take();
    api.delete(&format!("{GROUP}/{VALIDATING}/v")).await.ok();
    api.delete(&format!("{GROUP}/{MUTATING}/m")).await.ok();
    assert!(server.take().is_empty());
    api.post(MAPS, config_map("a")).await.ok();
}

#[tokio::test]
async fn selectors_say_which_objects_are_asked_about() {
    let (api, server) = (Api::new().await, server().await);
    let red = json!({"matchLabels": {"color": "red"}});
    configure(
        &api,
        VALIDATING,
        "v",
        vec![
            hook("n.b.c", server.client("/namespace"), json!({"namespaceSelector": red})),
            hook("o.b.c", server.client("/object"), json!({"objectSelector": red})),
        ],
    )
    .await;
    let space = json!({"metadata": {"name": "red", "labels": {"color": "red"}}});
    api.post("/api/v1/namespaces", space).await.ok();
    api.post("/api/v1/namespaces/red/configmaps", config_map("a")).await.ok();
    let mut map = config_map("b");
    map["metadata"]["labels"] = json!({"color": "red"});
    api.post(MAPS, map).await.ok();
    // The old state still has the label.
    api.put(&format!("{MAPS}/b"), config_map("b")).await.ok();
    api.put(&format!("{MAPS}/b"), config_map("b")).await.ok();
    let asked = server.take();
    let paths: Vec<&str> = asked.iter().map(|(path, _)| path.split('?').next().unwrap()).collect();
    assert_eq!(paths, ["/namespace", "/object", "/object"]);
    let missing = api.post("/api/v1/namespaces/gone/configmaps", config_map("a")).await;
    assert_eq!(missing.failure(), "404 NotFound: namespaces \"gone\" not found");
}

#[tokio::test]
async fn names_that_are_made_up_are_not_known_while_an_object_may_change() {
    let (api, server) = (Api::new().await, server().await);
    configure(&api, MUTATING, "m", vec![hook("a.b.c", server.client("/m"), json!({}))]).await;
    configure(&api, VALIDATING, "v", vec![hook("a.b.c", server.client("/v"), json!({}))]).await;
    let map = json!({"metadata": {"generateName": "x-"}});
    let made = api.post(MAPS, map).await.ok();
    let asked = server.take();
    let names: Vec<&Value> = asked.iter().map(|(_, review)| &review["request"]["name"]).collect();
    assert_eq!(names, [&Value::Null, &made["metadata"]["name"]]);
}

#[tokio::test]
async fn a_change_by_others_is_judged_again() {
    let api = Arc::new(Api::new().await);
    api.post(MAPS, config_map("a")).await.ok();
    let (go, asked) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (waiting, count) = (Arc::clone(&go), Arc::clone(&asked));
    let arrived = Arc::new(Notify::new());
    let here = Arc::clone(&arrived);
    let server = HookServer::start(move |_, review| {
        let Reply::Object(answer) = respond(review, json!({})) else { unreachable!() };
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            here.notify_one();
            return Reply::When(Arc::clone(&waiting), answer);
        }
        Reply::Object(answer)
    })
    .await;
    let more = json!({"objectSelector": {"matchLabels": {"slow": "yes"}}});
    configure(&api, VALIDATING, "v", vec![hook("a.b.c", server.client("/"), more)]).await;
    let slow = Arc::clone(&api);
    let patching = tokio::spawn(async move {
        slow.patch(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"slow": "yes"}}})).await
    });
    arrived.notified().await;
    // Not held up by who waits for an answer.
    api.patch(&format!("{MAPS}/a"), json!({"data": {"b": "2"}})).await.ok();
    go.notify_one();
    let patched = patching.await.expect("no panic").ok();
    assert_eq!(patched["data"]["b"], "2");
    let questions = server.take();
    assert_eq!(questions.len(), 2);
    assert_eq!(questions[0].1["request"]["oldObject"]["data"]["b"], Value::Null);
    assert_eq!(questions[1].1["request"]["oldObject"]["data"]["b"], "2");
}

#[tokio::test]
async fn warnings_come_through_and_broken_owners_do_not() {
    let (api, server) = (Api::new().await, server().await);
    configure(&api, VALIDATING, "v", vec![hook("a.b.c", server.client("/warn"), json!({}))]).await;
    let answer = api.post(MAPS, config_map("a")).await;
    assert_eq!(answer.warnings(), ["299 - \"careful\""]);
    let breaking = HookServer::start(|_, review| {
        patched(review, json!([{"op": "remove", "path": "/metadata/managedFields/0/operation"}]))
    })
    .await;
    configure(&api, MUTATING, "m", vec![hook("a.b.c", breaking.client("/"), json!({}))]).await;
    let answer = api.ask(&format!("POST {MAPS}?fieldManager=me"), Some(config_map("b"))).await;
    assert!(
        answer.warnings()[0].contains(".metadata.managedFields was in an invalid state"),
        "{:?}",
        answer.warnings()
    );
    assert_eq!(answer.ok()["metadata"]["managedFields"][0]["manager"], "me");
}

#[tokio::test]
async fn conditions_decide_who_is_asked() {
    let (api, server) = (Api::new().await, server().await);
    let more = |policy: &str, expression: &str| json!({"failurePolicy": policy, "matchConditions": [{"name": "c", "expression": expression}]});
    let table = [
        ("object.data.a == '1'", "Fail", expect!["asked"]),
        ("object.data.a == '2'", "Fail", expect!["not asked"]),
        (
            "request.operation == 'CREATE' && request.userInfo.username == 'kubernetes-admin'",
            "Fail",
            expect!["asked"],
        ),
        (
            "!authorizer.group('').resource('configmaps').namespace('default').check('create').allowed()",
            "Fail",
            expect!["not asked"],
        ),
        ("oldObject == null", "Fail", expect!["asked"]),
        ("object.absent == 1", "Ignore", expect!["not asked"]),
        (
            "object.absent == 1",
            "Fail",
            expect![[
                r#"403 Forbidden: configmaps "x" is forbidden: expression 'object.absent == 1' resulted in error: no such key: absent"#
            ]],
        ),
    ];
    for (expression, policy, expected) in table {
        let plural = if policy == "Fail" { MUTATING } else { VALIDATING };
        configure(
            &api,
            plural,
            "v",
            vec![hook("a.b.c", server.client("/see"), more(policy, expression))],
        )
        .await;
        let answer = api.ask(&format!("POST {MAPS}?dryRun=All"), Some(config_map("x"))).await;
        let asked = if server.take().is_empty() { "not asked" } else { "asked" };
        let said = if answer.code == 201 { asked.to_owned() } else { answer.failure() };
        expected.assert_eq(&said);
        api.delete(&format!("{GROUP}/{plural}/v")).await.ok();
    }
    let bad = more("Fail", "object.data == 1");
    let said =
        try_configure(&api, VALIDATING, "v", vec![hook("a.b.c", server.client("/see"), bad)]).await;
    assert_eq!(said.code, 201, "objects are of any type");
    let bad = more("Fail", "objekt.data == ''");
    let said =
        try_configure(&api, VALIDATING, "w", vec![hook("a.b.c", server.client("/see"), bad)])
            .await
            .failure();
    assert!(said.contains("webhooks[0].matchConditions[0].expression: Invalid value: \"objekt.data == ''\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'objekt'"), "{said}");
}

#[tokio::test]
async fn mistakes_in_configurations_are_told() {
    let api = Api::new().await;
    let bad = json!({
        "name": "a.b", "clientConfig": {}, "admissionReviewVersions": ["v2"], "timeoutSeconds": 31,
        "rules": [{"operations": ["*", "CREATE"], "apiGroups": ["*", "apps"], "apiVersions": [], "resources": ["pods/*", "pods/exec"]}],
    });
    let said = try_configure(&api, MUTATING, "m", vec![bad]).await.failure();
    expect![[r#"422 Invalid: MutatingWebhookConfiguration.admissionregistration.k8s.io "m" is invalid: [webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots, webhooks[0].rules[0].operations: Invalid value: ["*","CREATE"]: if '*' is present, must not specify other operations, webhooks[0].rules[0].apiGroups: Invalid value: ["*","apps"]: if '*' is present, must not specify other API groups, webhooks[0].rules[0].apiVersions: Required value, webhooks[0].rules[0].resources[1]: Invalid value: "pods/exec": if 'pods/*' is present, must not specify pods/exec, webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun, webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds, webhooks[0].clientConfig: Required value: exactly one of url or service is required, webhooks[0].admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1]"#]]
        .assert_eq(&said);
}

#[tokio::test]
async fn custom_resources_are_pruned_and_converted_for_webhooks() {
    let running = crate::custom::Running::new().await;
    let text = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {"host": text, "color": {"type": "string", "default": "red"}}});
    let versions = json!([
        crate::custom::version("v1", true, schema.clone()),
        crate::custom::version("v2", false, schema),
    ]);
    running.define(crate::custom::definition(versions)).await;
    let api = &running.api;
    let server = HookServer::start(|_, review| {
        patched(
            review,
            json!([
                {"op": "add", "path": "/spec/host", "value": "x"},
                {"op": "add", "path": "/spec/unknown", "value": 1},
            ]),
        )
    })
    .await;
    let rule = json!([{"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["widgets"]}]);
    configure(api, MUTATING, "m", vec![hook("a.b.c", server.client("/"), json!({"rules": rule}))])
        .await;
    let widget = json!({"metadata": {"name": "a"}, "spec": {}});
    let made = api.post(crate::custom::WIDGETS, widget).await.ok();
    assert_eq!(made["apiVersion"], "example.com/v1");
    assert_eq!(made["spec"], json!({"color": "red", "host": "x"}));
    let request = &server.take()[0].1["request"];
    assert_eq!(request["object"]["apiVersion"], "example.com/v2");
    assert_eq!(request["requestKind"]["version"], "v1");
    running.stop().await;
}
