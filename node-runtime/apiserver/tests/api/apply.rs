//! Server-side apply over the wire, and who owns what after every kind of write.

use bytes::Bytes;
use expect_test::{Expect, expect};
use http_body_util::BodyExt;
use minik_apiserver::User;
use minik_store::{Storage, Store};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, MAPS, PODS, config_map, pod};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// Applies YAML to `path` with the options in `query`.
async fn apply_as(api: &Api, user: User, path: &str, query: &str, yaml: &str) -> Answer {
    let what = format!("PATCH {path}?{query}");
    let headers = [("content-type", "application/apply-patch+yaml")];
    let response = api.raw(user, &what, Bytes::from(yaml.to_owned()), &headers).await;
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.expect("body").to_bytes();
    let body = serde_json::from_slice(&bytes).expect("json");
    Answer { code: head.status.as_u16(), headers: head.headers, body }
}

async fn apply(api: &Api, path: &str, query: &str, yaml: &str) -> Answer {
    apply_as(api, User::admin(), path, query, yaml).await
}

fn map_yaml(data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {data}\n")
}

fn deployment_yaml(spec: &str) -> String {
    format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {spec}\n")
}

const WHOLE: &str = "{replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: \
                     {labels: {app: web}}, spec: {containers: [{name: c, image: x, ports: \
                     [{containerPort: 80}]}]}}}";

/// `manager operation version [via subresource]: fields`, one owner a line, without times: owners of
/// the same operation are by time, then by name, and a second may end between two requests.
fn owners(object: &Value) -> String {
    let mut entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    for same in entries.chunk_by_mut(|a, b| a["operation"] == b["operation"]) {
        same.sort_by_key(|entry| entry["manager"].to_string());
    }
    let lines = entries.iter().map(|entry| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        assert_eq!(text("fieldsType"), "FieldsV1");
        let via = match text("subresource") {
            "" => String::new(),
            subresource => format!(" via {subresource}"),
        };
        let (who, how) = (text("manager"), text("operation"));
        format!("{who} {how} {}{via}: {}\n", text("apiVersion"), entry["fieldsV1"])
    });
    lines.collect()
}

fn check(object: &Value, expected: Expect) {
    expected.assert_eq(&owners(object));
}

#[tokio::test]
async fn the_first_apply_creates_and_the_same_again_is_no_write() {
    let api = Api::new().await;
    let path = format!("{DEPLOYMENTS}/web");
    let made = apply(&api, &path, "fieldManager=me", &deployment_yaml(WHOLE)).await;
    assert_eq!(made.code, 201);
    let made = made.ok();
    check(
        &made,
        expect![[r#"
        me Apply apps/v1: {"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}
    "#]],
    );
    assert_eq!(made["spec"]["strategy"]["type"], "RollingUpdate", "defaults are there");
    assert_eq!(made["metadata"]["generation"], 1);
    assert!(made["metadata"]["managedFields"][0]["time"].is_string());
    let again = apply(&api, &path, "fieldManager=me&force=true", &deployment_yaml(WHOLE)).await;
    assert_eq!(again.code, 200);
    assert_eq!(again.ok(), made);
    assert_eq!(api.get(&path).await.ok(), made);

    let more = WHOLE.replace("replicas: 2", "replicas: 3");
    let changed = apply(&api, &path, "fieldManager=me", &deployment_yaml(&more)).await.ok();
    assert_eq!(changed["spec"]["replicas"], 3);
    assert_eq!(changed["metadata"]["generation"], 2);
    let less = WHOLE.replace("replicas: 2, ", "");
    let changed = apply(&api, &path, "fieldManager=me", &deployment_yaml(&less)).await.ok();
    assert_eq!(changed["spec"]["replicas"], 1, "the default again");
}

#[tokio::test]
async fn options_are_checked() {
    let api = Api::new().await;
    let path = format!("{MAPS}/a");
    let yaml = map_yaml("{k: v}");
    let refused = async |query: &str, yaml: &str, expected: Expect| {
        let answer = apply(&api, &path, query, yaml).await;
        expected.assert_eq(&answer.failure());
    };
    refused("", &yaml, expect![[r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#]]).await;
    refused("fieldManager=a%09b", &yaml, expect![[r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "a\tb": invalid character U+0009 (at position 1)"#]]).await;
    refused("fieldManager=m&dryRun=Some", &yaml, expect![[r#"400 BadRequest: Invalid value: ["Some"]: dryRun: Unsupported value: "Some": supported values: "All""#]]).await;
    refused(
        "fieldManager=m",
        "{",
        expect!["400 BadRequest: error decoding YAML: unclosed bracket '{' at line 1, column 1"],
    )
    .await;
    refused("fieldManager=m", "", expect!["400 BadRequest: invalid object type: /, Kind="]).await;
    refused(
        "fieldManager=m",
        "apiVersion: v1\nkind: Secret\n",
        expect!["400 BadRequest: invalid object type: /v1, Kind=Secret"],
    )
    .await;
    refused(
        "fieldManager=m&fieldValidation=Strict",
        &yaml.replace("k: v", "k: v, k: w"),
        expect![[r#"
            400 BadRequest: error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:
              line 4: key "k" already set in map"#]],
    )
    .await;
    refused(
        "fieldManager=m",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
        expect![
            "400 BadRequest: the name of the object (b) does not match the name on the URL (a)"
        ],
    )
    .await;
    refused(
        "fieldManager=m",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, managedFields: []}\n",
        expect!["400 BadRequest: metadata.managedFields must be nil"],
    )
    .await;
    refused("fieldManager=m", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndataa: {}\n", expect!["500 : failed to create typed patch object (/a; /v1, Kind=ConfigMap): .dataa: field not declared in schema"]).await;
    refused("fieldManager=m", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, uid: u}\n", expect![[r#"409 Conflict: Operation cannot be fulfilled on configmaps "a": uid mismatch: the provided object specified uid u, and no existing object was found"#]]).await;
    assert_eq!(api.get(&path).await.code, 404, "nothing was created");

    let warned = apply(&api, &path, "fieldManager=m", &yaml.replace("k: v", "k: v, k: w")).await;
    expect![[r#"["299 - \"error converting YAML to JSON: yaml: unmarshal errors:   line 4: key \\\"k\\\" already set in map\""]"#]]
        .assert_eq(&format!("{:?}", warned.warnings()));
    let forced = api.patch(&format!("{path}?force=true"), json!({})).await;
    expect![[r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch"#]]
        .assert_eq(&forced.failure());
    let what = format!("PATCH {path}");
    let unknown = [("content-type", "text/plain")];
    let answer = api.ask_as(User::admin(), &what, Some(json!({})), &unknown).await;
    expect!["415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"]
        .assert_eq(&answer.failure());
}

#[tokio::test]
async fn conflicts_name_managers_and_fields() {
    let api = Api::new().await;
    let path = format!("{DEPLOYMENTS}/web");
    apply(&api, &path, "fieldManager=me", &deployment_yaml(WHOLE)).await.ok();
    api.put(&format!("{path}/scale?fieldManager=scaler"), json!({"spec": {"replicas": 5}}))
        .await
        .ok();
    let before = api.get(&path).await.ok();
    let answer = apply(&api, &path, "fieldManager=me", &deployment_yaml(WHOLE)).await;
    expect![[r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Apply failed with 1 conflict: conflict with \"scaler\" with subresource \"scale\" using apps/v1: .spec.replicas","reason":"Conflict","details":{"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"scaler\" with subresource \"scale\" using apps/v1","field":".spec.replicas"}]},"code":409}"#]]
        .assert_eq(&answer.body.to_string());
    assert_eq!(api.get(&path).await.ok(), before);
    let other = WHOLE.replace("image: x", "image: z").replace("replicas: 2", "replicas: 9");
    let answer = apply(&api, &path, "fieldManager=other", &deployment_yaml(&other)).await;
    expect![[r#"
        409 Conflict: Apply failed with 2 conflicts: conflicts with "me":
        - .spec.template.spec.containers[name="c"].image
        conflicts with "scaler" with subresource "scale" using apps/v1:
        - .spec.replicas"#]]
    .assert_eq(&answer.failure());
    let forced =
        apply(&api, &path, "fieldManager=other&force=true", &deployment_yaml(&other)).await.ok();
    assert_eq!(forced["spec"]["replicas"], 9);
    check(
        &forced,
        expect![[r#"
        me Apply apps/v1: {"f:spec":{"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}
        other Apply apps/v1: {"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}
    "#]],
    );
}

#[tokio::test]
async fn versions_and_dry_runs() {
    let api = Api::new().await;
    let path = format!("{MAPS}/a");
    let dry = apply(&api, &path, "fieldManager=m&dryRun=All", &map_yaml("{k: v}")).await;
    assert_eq!((dry.code, dry.ok()["data"]["k"].clone()), (201, "v".into()));
    assert_eq!(api.get(&path).await.code, 404);

    let made = apply(&api, &path, "fieldManager=m", &map_yaml("{k: v}")).await.ok();
    let dry = apply(&api, &path, "fieldManager=m&dryRun=All", &map_yaml("{k: w}")).await.ok();
    assert_eq!(dry["data"]["k"], "w");
    assert_eq!(api.get(&path).await.ok(), made);

    let at = |version: &str| {
        let named = format!("name: a, resourceVersion: \"{version}\"");
        map_yaml("{k: w}").replace("name: a", &named)
    };
    let version = made["metadata"]["resourceVersion"].as_str().expect("version").to_owned();
    let moved = apply(&api, &path, "fieldManager=m", &at(&version)).await.ok();
    assert_eq!(moved["data"]["k"], "w");
    let stale = apply(&api, &path, "fieldManager=m", &at(&version).replace("k: w", "k: x")).await;
    expect![[r#"409 Conflict: Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#]]
        .assert_eq(&stale.failure());
    let other = map_yaml("{k: w}").replace("name: a", "name: a, uid: other");
    assert_eq!(apply(&api, &path, "fieldManager=m", &other).await.code, 409);
}

#[tokio::test]
async fn every_write_has_an_owner() {
    let api = Api::new().await;
    let path = format!("{MAPS}/a");
    let ask = async |what: &str, body: Value, headers: &[(&str, &str)]| {
        api.ask_as(User::admin(), what, Some(body), headers).await.ok()
    };
    let agent = |agent| [("user-agent", agent)];
    ask(&format!("POST {MAPS}"), config_map("a"), &agent("maker/v1 (linux)")).await;
    let mut object = api.get(&path).await.ok();
    object["data"]["b"] = "2".into();
    ask(&format!("PUT {path}?fieldManager=putter"), object.clone(), &agent("x/1")).await;
    for (kind, body) in [
        ("application/merge-patch+json", json!({"data": {"c": "3"}})),
        ("application/json-patch+json", json!([{"op": "add", "path": "/data/d", "value": "4"}])),
        ("application/strategic-merge-patch+json", json!({"data": {"e": "5"}})),
    ] {
        let name = kind.trim_start_matches("application/").split('+').next().unwrap_or_default();
        let what = format!("PATCH {path}?fieldManager={name}");
        ask(&what, body, &[("content-type", kind)]).await;
    }
    let object = ask(&format!("PATCH {path}"), json!({"immutable": true}), &[]).await;
    check(
        &object,
        expect![[r#"
        json-patch Update v1: {"f:data":{"f:d":{}}}
        kubernetes-admin Update v1: {"f:immutable":{}}
        maker Update v1: {"f:data":{".":{},"f:a":{}}}
        merge-patch Update v1: {"f:data":{"f:c":{}}}
        putter Update v1: {"f:data":{"f:b":{}}}
        strategic-merge-patch Update v1: {"f:data":{"f:e":{}}}
    "#]],
    );
    let same = ask(&format!("PUT {path}?fieldManager=late"), object.clone(), &[]).await;
    assert_eq!(same, object, "nothing changes hands without a change");
    let mut bare = object.clone();
    bare["metadata"].as_object_mut().expect("metadata").remove("managedFields");
    let same = ask(&format!("PUT {path}"), bare, &[]).await;
    assert_eq!(same, object, "who does not know of owners does not remove them");
    let cleared =
        ask(&format!("PATCH {path}"), json!({"metadata": {"managedFields": [{}]}}), &[]).await;
    assert!(cleared["metadata"].get("managedFields").is_none());
}

#[tokio::test]
async fn owners_of_pods_and_their_parts() {
    let api = Api::new().await;
    api.post(&format!("{PODS}?fieldManager=maker"), pod("p")).await.ok();
    let path = format!("{PODS}/p");
    let node = json!({"target": {"kind": "Node", "name": "n1"}});
    api.post(&format!("{path}/binding?fieldManager=scheduler"), node).await.ok();
    let status = json!({"status": {"phase": "Running"}});
    let kubelet = format!("PATCH {path}/status?fieldManager=kubelet");
    api.ask(&kubelet, Some(status)).await.ok();
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "x"}]}});
    let headers = [("content-type", "application/strategic-merge-patch+json")];
    let what = format!("PATCH {path}/ephemeralcontainers?fieldManager=debugger");
    api.ask_as(User::admin(), &what, Some(debug), &headers).await.ok();
    let object = api.get(&path).await.ok();
    assert_eq!(object["spec"]["nodeName"], "n1");
    check(
        &object,
        expect![[r#"
        debugger Update v1 via ephemeralcontainers: {"f:spec":{"f:ephemeralContainers":{".":{},"k:{\"name\":\"d\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}}}}
        kubelet Update v1 via status: {"f:status":{"f:phase":{}}}
        maker Update v1: {"f:spec":{"f:containers":{".":{},"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}
    "#]],
    );
}

#[tokio::test]
async fn a_status_is_applied_apart() {
    let api = Api::new().await;
    let path = format!("{DEPLOYMENTS}/web");
    let status = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nstatus: {replicas: \
                  2, conditions: [{type: Ok, status: 'True'}]}\n";
    let missing = apply(&api, &format!("{path}/status"), "fieldManager=s", status).await;
    expect![[r#"404 NotFound: deployments.apps "web" not found"#]].assert_eq(&missing.failure());
    apply(&api, &path, "fieldManager=me", &deployment_yaml(WHOLE)).await.ok();
    let done = apply(&api, &format!("{path}/status"), "fieldManager=s", status).await.ok();
    assert_eq!(done["status"]["replicas"], 2);
    assert_eq!(done["metadata"]["generation"], 1);
    let conflict = apply(
        &api,
        &format!("{path}/status"),
        "fieldManager=t",
        &status.replace("replicas: 2", "replicas: 3"),
    )
    .await;
    expect![[r#"409 Conflict: Apply failed with 1 conflict: conflict with "s" with subresource "status": .status.replicas"#]]
        .assert_eq(&conflict.failure());
    let again = apply(&api, &path, "fieldManager=me", &deployment_yaml(WHOLE)).await.ok();
    assert_eq!(again, done, "the status stays when the rest is applied");
}

#[tokio::test]
async fn a_scale_is_applied() {
    let api = Api::new().await;
    let path = format!("{DEPLOYMENTS}/web");
    let spec = WHOLE.replace("replicas: 2, ", "");
    apply(&api, &path, "fieldManager=me", &deployment_yaml(&spec)).await.ok();
    let scale =
        "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: web}\nspec: {replicas: 4}\n";
    let first = apply(&api, &format!("{path}/scale"), "fieldManager=s", scale).await;
    expect![[r#"409 Conflict: Apply failed with 1 conflict: conflict with "before-first-apply" with subresource "scale" using autoscaling/v1: .spec.replicas"#]]
        .assert_eq(&first.failure());
    let query = "fieldManager=s&force=true";
    let scaled = apply(&api, &format!("{path}/scale"), query, scale).await.ok();
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&"Scale".into(), &4.into()));
    assert!(scaled["metadata"].get("managedFields").is_none());
    let object = api.get(&path).await.ok();
    let of_scaler = owners(&object);
    let of_scaler = of_scaler.lines().find(|line| line.starts_with("s ")).unwrap_or_default();
    expect![[r#"s Apply apps/v1 via scale: {"f:spec":{"f:replicas":{}}}"#]].assert_eq(of_scaler);
    let other = apply(
        &api,
        &format!("{path}/scale"),
        "fieldManager=t",
        &scale.replace("replicas: 4", "replicas: 5"),
    )
    .await;
    expect![[r#"409 Conflict: Apply failed with 1 conflict: conflict with "s" with subresource "scale": .spec.replicas"#]]
        .assert_eq(&other.failure());
}

#[tokio::test]
async fn finalizing_and_approving_are_owned() {
    let api = Api::new().await;
    let space = json!({"metadata": {"name": "s"}});
    let mut space = api.post("/api/v1/namespaces?fieldManager=maker", space).await.ok();
    space["spec"]["finalizers"] = json!(["kubernetes", "x.io/more"]);
    let done = api.put("/api/v1/namespaces/s/finalize?fieldManager=end", space).await.ok();
    check(
        &done,
        expect![[r#"
        end Update v1 via finalize: {"f:spec":{"f:finalizers":{}}}
        maker Update v1: {"f:metadata":{"f:labels":{".":{},"f:kubernetes.io/metadata.name":{}}}}
    "#]],
    );
}

#[tokio::test]
async fn creating_by_apply_takes_the_right_to_create() {
    let api = Api::new().await;
    let role = json!({"metadata": {"name": "patcher"}, "rules": [
        {"verbs": ["patch"], "apiGroups": [""], "resources": ["configmaps"]}]});
    api.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await.ok();
    let binding = json!({"metadata": {"name": "patcher"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "patcher"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "joe"}]});
    api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.ok();
    let joe = User::new("joe", [""]);
    let path = format!("{MAPS}/a");
    let refused = apply_as(&api, joe.clone(), &path, "fieldManager=m", &map_yaml("{k: v}")).await;
    expect![[r#"403 Forbidden: configmaps "a" is forbidden: User "joe" cannot create resource "configmaps" in API group "" in the namespace "default""#]]
        .assert_eq(&refused.failure());
    api.post(MAPS, config_map("a")).await.ok();
    apply_as(&api, joe, &path, "fieldManager=m", &map_yaml("{k: v}")).await.ok();
}

#[tokio::test]
async fn objects_of_the_server_itself_can_be_applied() {
    let api = Api::new().await;
    let path = "/api/v1/namespaces/default";
    let yaml = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {x: z}}\n";
    let done = apply(&api, path, "fieldManager=m", yaml).await.ok();
    assert_eq!(done["metadata"]["labels"]["x"], "z");
    let owners = owners(&done);
    assert!(
        owners.contains("m Apply v1: {\"f:metadata\":{\"f:labels\":{\"f:x\":{}}}}"),
        "{owners}"
    );
}

#[tokio::test]
async fn many_appliers_at_once_all_get_through() {
    let api = Api::new().await;
    let path = format!("{MAPS}/a");
    let one = async |at: usize| {
        let query = format!("fieldManager=m{at}");
        apply(&api, &path, &query, &map_yaml(&format!("{{k{at}: v}}"))).await.ok()
    };
    tokio::join!(one(1), one(2), one(3), one(4), one(5));
    let object = api.get(&path).await.ok();
    assert_eq!(object["data"].as_object().map(serde_json::Map::len), Some(5));
    assert_eq!(object["metadata"]["managedFields"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn an_object_that_is_too_large_goes_without_owners() {
    let mut storage = minik_store::Config::new(Storage::Memory);
    storage.value_bytes_max = 64 << 10;
    let api = Api::on(Store::open(&storage).expect("store")).await;
    // Each key is there once in the data and once more, longer, among the owned fields.
    let data = |from: usize| -> serde_json::Map<String, Value> {
        (from..from + 2_800).map(|at| (format!("{at:06}"), "".into())).collect()
    };
    let made = api.post(MAPS, json!({"metadata": {"name": "a"}, "data": data(0)})).await.ok();
    assert!(made["metadata"].get("managedFields").is_none());
    api.post(MAPS, config_map("b")).await.ok();
    let path = format!("{MAPS}/b");
    let grown = api.patch(&path, json!({"data": data(100_000)})).await.ok();
    assert!(grown["metadata"].get("managedFields").is_none());
    assert_eq!(api.get(&path).await.ok(), grown);
    let yaml = map_yaml(&Value::Object(data(0)).to_string()).replace("name: a", "name: c");
    let applied = apply(&api, &format!("{MAPS}/c"), "fieldManager=m", &yaml).await;
    assert_eq!(applied.code, 413, "an apply cannot do without");
}
