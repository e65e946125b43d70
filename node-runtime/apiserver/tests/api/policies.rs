//! Admission policies: what they deny, warn about and change.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::custom::Running;
use crate::harness::{Api, MAPS, PODS, config_map, pod};
use crate::hook::HookServer;
use crate::webhooks::{configure, hook};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn rule(resources: &[&str]) -> Value {
    json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources}])
}

fn policy(name: &str, spec: Value) -> Value {
    let mut full = json!({"matchConstraints": {"resourceRules": rule(&["configmaps"])}});
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": full})
}

fn binding(name: &str, policy: &str, more: Value) -> Value {
    let mut spec = json!({"policyName": policy});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": spec})
}

/// A validating policy `p` with a binding `b` of these fields.
async fn validate(api: &Api, spec: Value, more: Value) {
    let answer = api.post(&format!("{GROUP}/validatingadmissionpolicies"), policy("p", spec)).await;
    assert!(answer.warnings().is_empty(), "{:?}", answer.warnings());
    answer.ok();
    let mut fields = json!({"validationActions": ["Deny"]});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let path = format!("{GROUP}/validatingadmissionpolicybindings");
    api.post(&path, binding("b", "p", fields)).await.ok();
}

async fn forget(api: &Api) {
    for kind in [
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    ] {
        api.delete(&format!("{GROUP}/{kind}")).await.ok();
    }
}

/// A mutating policy with a binding of the same name.
async fn mutate(api: &Api, name: &str, spec: Value, more: Value) {
    let mut full = json!({"reinvocationPolicy": "Never"});
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    api.post(&format!("{GROUP}/mutatingadmissionpolicies"), policy(name, full)).await.ok();
    let path = format!("{GROUP}/mutatingadmissionpolicybindings");
    api.post(&path, binding(name, name, more)).await.ok();
}

fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn json_patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

async fn try_map(api: &Api) -> String {
    let answer = api.ask(&format!("POST {MAPS}?dryRun=All"), Some(config_map("x"))).await;
    match answer.code {
        201 => "201".to_owned(),
        _ => answer.failure(),
    }
}

#[tokio::test]
async fn what_is_not_so_is_denied() {
    let api = Api::new().await;
    let denies = |validation: Value| json!({"validations": [validation]});
    let table = [
        (denies(json!({"expression": "object.data.a == '1'"})), expect!["201"]),
        (
            denies(json!({"expression": "object.data.a == '2'"})),
            expect![[
                r#"422 Invalid: configmaps "x" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: object.data.a == '2'"#
            ]],
        ),
        (
            denies(json!({"expression": "false", "message": "no maps", "reason": "Forbidden"})),
            expect![[
                r#"403 Forbidden: configmaps "x" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no maps"#
            ]],
        ),
        (
            denies(
                json!({"expression": "namespaceObject.metadata.name == 'other'", "messageExpression": "'not in ' + namespaceObject.metadata.name"}),
            ),
            expect![[
                r#"422 Invalid: configmaps "x" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not in default"#
            ]],
        ),
        (
            denies(
                json!({"expression": "request.dryRun && request.name == 'x' && oldObject == null"}),
            ),
            expect!["201"],
        ),
        (
            denies(json!({"expression": "authorizer.requestResource.check('create').allowed()"})),
            expect!["201"],
        ),
        (
            denies(
                json!({"expression": "authorizer.serviceAccount('default', 'default').group('').resource('configmaps').namespace('default').check('create').allowed()"}),
            ),
            expect![[
                r#"422 Invalid: configmaps "x" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: authorizer.serviceAccount('default', 'default').group('').resource('configmaps').namespace('default').check('create').allowed()"#
            ]],
        ),
        (
            denies(json!({"expression": "object.nope == 1"})),
            expect![[
                r#"422 Invalid: configmaps "x" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: expression 'object.nope == 1' resulted in error: no such key: nope"#
            ]],
        ),
        (
            json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.nope == 1"}]}),
            expect!["201"],
        ),
        (
            json!({"matchConditions": [{"name": "c", "expression": "object.data.a == '2'"}], "validations": [{"expression": "false"}]}),
            expect!["201"],
        ),
        (
            json!({"variables": [{"name": "a", "expression": "object.data.a"}, {"name": "b", "expression": "variables.a + '!'"}], "validations": [{"expression": "variables.b == '1!'"}]}),
            expect!["201"],
        ),
        (
            json!({"matchConstraints": {"resourceRules": rule(&["*"]), "excludeResourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["configmaps"], "resourceNames": ["x"]}]}, "validations": [{"expression": "false"}]}),
            expect!["201"],
        ),
    ];
    for (spec, expected) in table {
        validate(&api, spec, json!({})).await;
        expected.assert_eq(&try_map(&api).await);
        forget(&api).await;
    }
}

#[tokio::test]
async fn bindings_say_what_happens_and_where() {
    let api = Api::new().await;
    let never = || json!({"validations": [{"expression": "false", "message": "never"}]});
    validate(&api, never(), json!({"validationActions": ["Warn", "Audit"]})).await;
    let answer = api.post(MAPS, config_map("a")).await;
    assert_eq!(
        answer.warnings(),
        ["299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': never\""]
    );
    answer.ok();
    forget(&api).await;

    let elsewhere = json!({"matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}});
    validate(&api, never(), elsewhere).await;
    assert_eq!(try_map(&api).await, "201");
    let there = api.post("/api/v1/namespaces/kube-system/configmaps", config_map("a")).await;
    assert_eq!(there.code, 422);
    forget(&api).await;

    // Deletions and connections, too; reviews never.
    let all = json!({"matchConstraints": {"resourceRules": rule(&["*/*"])}, "validations": [
        {"expression": "request.operation != 'DELETE' || oldObject.metadata.name != 'a'", "message": "a stays"},
        {"expression": "request.operation != 'CONNECT' || object.stdin != true", "message": "hands off"},
        {"expression": "request.resource.group != 'authorization.k8s.io'", "message": "no reviews"},
    ]});
    api.post(PODS, pod("a")).await.ok();
    validate(&api, all, json!({})).await;
    let said = api.delete(&format!("{MAPS}/a")).await.failure();
    assert!(said.ends_with("denied request: a stays"), "{said}");
    let said = api.ask(&format!("POST {PODS}/a/exec?stdin=1&command=sh"), None).await.failure();
    assert!(said.ends_with("denied request: hands off"), "{said}");
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review).await.ok();
    // And a policy can always be removed.
    forget(&api).await;
    api.delete(&format!("{MAPS}/a")).await.ok();
}

#[tokio::test]
async fn parameters_come_from_any_object() {
    let api = Api::new().await;
    let spec = |failure: &str| {
        json!({
            "failurePolicy": failure,
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": {"resourceRules": rule(&["secrets"])},
            "validations": [{"expression": "object.metadata.name.startsWith(params.data.prefix)",
                             "messageExpression": "'must start with ' + params.data.prefix"}],
        })
    };
    for (name, prefix, label) in [("one", "a", "x"), ("two", "ab", "x")] {
        let mut map = json!({"metadata": {"name": name, "labels": {"set": label}}, "data": {}});
        map["data"]["prefix"] = prefix.into();
        api.post(MAPS, map).await.ok();
    }
    let table = [
        (json!({"name": "one", "parameterNotFoundAction": "Deny"}), "abc", expect!["201"]),
        (
            json!({"name": "one", "namespace": "default", "parameterNotFoundAction": "Deny"}),
            "b",
            expect!["must start with a"],
        ),
        (
            json!({"selector": {"matchLabels": {"set": "x"}}, "parameterNotFoundAction": "Deny"}),
            "ac",
            expect!["must start with ab"],
        ),
        (json!({"selector": {}, "parameterNotFoundAction": "Deny"}), "abc", expect!["201"]),
        (json!({"name": "none", "parameterNotFoundAction": "Allow"}), "b", expect!["201"]),
        (
            json!({"name": "none", "parameterNotFoundAction": "Deny"}),
            "b",
            expect![
                "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
            ],
        ),
        (
            json!({"name": "one", "namespace": "gone", "parameterNotFoundAction": "Deny"}),
            "b",
            expect![
                "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
            ],
        ),
    ];
    for (reference, name, expected) in table {
        validate(&api, spec("Fail"), json!({"paramRef": reference})).await;
        let secret = json!({"metadata": {"name": name}});
        let answer =
            api.ask("POST /api/v1/namespaces/default/secrets?dryRun=All", Some(secret)).await;
        let said = if answer.code == 201 { "201".to_owned() } else { answer.failure() };
        expected.assert_eq(said.rsplit("denied request: ").next().unwrap());
        forget(&api).await;
    }
    // A kind nobody serves.
    let mut unknown = spec("Fail");
    unknown["paramKind"] = json!({"apiVersion": "example.com/v1", "kind": "Nothing"});
    let reference = json!({"name": "one", "parameterNotFoundAction": "Deny"});
    validate(&api, unknown, json!({"paramRef": reference})).await;
    let said = api
        .post("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "a"}}))
        .await
        .failure();
    expect![[r#"422 Invalid: secrets "a" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Nothing'"#]]
        .assert_eq(&said);
}

#[tokio::test]
async fn custom_resources_are_parameters_and_objects() {
    let running = Running::new().await;
    let schema = json!({"type": "object", "properties": {"max": {"type": "integer"}, "n": {"type": "integer"}}});
    let versions = json!([crate::custom::version("v1", true, schema)]);
    running.define(crate::custom::definition(versions)).await;
    let api = &running.api;
    api.post(crate::custom::WIDGETS, json!({"metadata": {"name": "limits"}, "spec": {"max": 3}}))
        .await
        .ok();
    let spec = json!({
        "paramKind": {"apiVersion": "example.com/v1", "kind": "Widget"},
        "matchConstraints": {"resourceRules": rule(&["widgets"])},
        "validations": [{"expression": "!has(object.spec.n) || object.spec.n <= params.spec.max"}],
    });
    let reference = json!({"name": "limits", "parameterNotFoundAction": "Deny"});
    validate(api, spec, json!({"paramRef": reference})).await;
    let widget = |n: i64| json!({"metadata": {"name": "w"}, "spec": {"n": n}});
    assert_eq!(api.post(crate::custom::WIDGETS, widget(4)).await.code, 422);
    api.post(crate::custom::WIDGETS, widget(3)).await.ok();
    running.stop().await;
}

#[tokio::test]
async fn mistakes_in_policies_are_told() {
    let api = Api::new().await;
    let refused = async |plural: &str, spec: Value| {
        api.post(&format!("{GROUP}/{plural}"), policy("p", spec)).await.failure()
    };
    let said = refused("validatingadmissionpolicies", json!({
        "variables": [{"name": "1a", "expression": "1"}],
        "validations": [{"expression": "objekt.a"}, {"expression": "1"}, {"expression": "true", "messageExpression": "1", "reason": "Odd"}],
    })).await;
    expect![[r#"
        422 Invalid: ValidatingAdmissionPolicy.admissionregistration.k8s.io "p" is invalid: [spec.variables[0].name: Invalid value: "1a": name is not a valid CEL identifier, spec.validations[2].reason: Unsupported value: "Odd": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge", spec.validations[0].expression: Invalid value: "objekt.a": compilation failed: ERROR: <input>:1:1: undeclared reference to 'objekt' (in container '')
         | objekt.a
         | ^, spec.validations[1].expression: Invalid value: "1": must evaluate to bool but got int, spec.validations[2].messageExpression: Invalid value: "1": must evaluate to string but got int]"#]].assert_eq(&said);
    let said = refused(
        "mutatingadmissionpolicies",
        json!({
            "mutations": [{"patchType": "JSONPatch"}, apply("1"), {"patchType": "Odd"}],
        }),
    )
    .await;
    expect![[r#"422 Invalid: MutatingAdmissionPolicy.admissionregistration.k8s.io "p" is invalid: [spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch, spec.mutations[2].patchType: Unsupported value: "Odd": supported values: "ApplyConfiguration", "JSONPatch", spec.reinvocationPolicy: Required value, spec.mutations[1].applyConfiguration.expression: Invalid value: "1": must evaluate to Object but got int]"#]].assert_eq(&said);
    let path = format!("{GROUP}/validatingadmissionpolicybindings");
    let said = api.post(&path, binding("b", "p", json!({"paramRef": {"name": "a", "selector": {}}, "validationActions": ["Deny", "Warn"]}))).await.failure();
    expect![[r#"422 Invalid: ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io "b" is invalid: [spec.paramRef.name: Forbidden: name and selector are mutually exclusive, spec.paramRef.selector: Forbidden: name and selector are mutually exclusive, spec.paramRef.parameterNotFoundAction: Required value, spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)]"#]].assert_eq(&said);
}

#[tokio::test]
async fn what_does_not_fit_the_kinds_is_told_in_the_status() {
    let running = Running::new().await;
    let api = &running.api;
    let path = format!("{GROUP}/validatingadmissionpolicies");
    let mut events = api.watch(&format!("{path}?watch=1")).await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments", "replicasets"]}]);
    let spec = json!({"matchConstraints": {"resourceRules": rules}, "validations": [
        {"expression": "object.spec.replicas > 1"},
        {"expression": "object.spec.replicas > '1'"},
        {"expression": "object.spec.paused == true"},
    ]});
    api.post(&path, policy("p", spec)).await.ok();
    let status = loop {
        let event = events.next().await.expect("the watch goes on");
        let status = event["object"]["status"].clone();
        if status["observedGeneration"] == 1 {
            break status;
        }
    };
    let warnings =
        status["typeChecking"]["expressionWarnings"].as_array().expect("warnings").clone();
    let lines: Vec<String> = warnings
        .iter()
        .map(|one| {
            format!("{}: {}", one["fieldRef"].as_str().unwrap(), one["warning"].as_str().unwrap())
        })
        .collect();
    expect![[r#"
        spec.validations[1].expression: apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'
         | object.spec.replicas > '1'
         | .....................^

        apps/v1, Kind=ReplicaSet: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'
         | object.spec.replicas > '1'
         | .....................^

        spec.validations[2].expression: apps/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'paused'
         | object.spec.paused == true
         | ...........^
    "#]].assert_eq(&lines.join("\n"));
    running.stop().await;
}

/// What a mutating policy makes of an object, or why it does not.
async fn changed(api: &Api, spec: Value, object: Value, expected: Expect) {
    mutate(api, "m", spec, json!({})).await;
    let path = if object["spec"].is_null() { MAPS } else { PODS };
    let answer = api.ask(&format!("POST {path}?dryRun=All"), Some(object)).await;
    let said = match answer.code {
        201 => json!({
            "labels": answer.body["metadata"]["labels"], "data": answer.body["data"],
            "containers": answer.body["spec"]["containers"].as_array().map(|list| list.iter().map(|one| one["name"].clone()).collect::<Vec<_>>()),
        }).to_string(),
        _ => answer.failure(),
    };
    expected.assert_eq(&said);
    forget(api).await;
}

#[tokio::test]
async fn configurations_are_merged() {
    let api = Api::new().await;
    let label =
        apply("Object{metadata: Object.metadata{labels: {'made-by': request.userInfo.username}}}");
    changed(
        &api,
        json!({"mutations": [label]}),
        config_map("x"),
        expect![[
            r#"{"labels":{"made-by":"kubernetes-admin"},"data":{"a":"1"},"containers":null}"#
        ]],
    )
    .await;
    let pods = json!({"resourceRules": rule(&["pods"])});
    let side_car = apply(
        "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'car', image: 'y'}]}}",
    );
    changed(
        &api,
        json!({"matchConstraints": pods, "mutations": [side_car]}),
        pod("x"),
        expect![[r#"{"labels":null,"data":null,"containers":["c","car"]}"#]],
    )
    .await;
    let atomic = apply("Object{spec: Object.spec{nodeSelector: {'a': 'b'}}}");
    changed(&api, json!({"matchConstraints": pods, "mutations": [atomic]}), pod("x"), expect![[r#"403 Invalid: policy 'm' with binding 'm' denied request: error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.nodeSelector"#]]).await;
    let unknown = apply("Object{data: Object.data{a: 1}}");
    changed(&api, json!({"mutations": [unknown]}), config_map("x"), expect![[r#"403 Invalid: policy 'm' with binding 'm' denied request: error applying patch: failed to convert patch object to typed object: .data.a: expected string, got &value.valueUnstructured{Value:1}"#]]).await;
    let broken = apply("Object{data: {'a': string(object.nope)}}");
    changed(&api, json!({"mutations": [broken]}), config_map("x"), expect!["403 Invalid: policy 'm' with binding 'm' denied request: expression 'Object{data: {'a': string(object.nope)}}' resulted in error: no such key: nope"]).await;
    changed(
        &api,
        json!({"failurePolicy": "Ignore", "mutations": [broken]}),
        config_map("x"),
        expect![[r#"{"labels":null,"data":{"a":"1"},"containers":null}"#]],
    )
    .await;
}

#[tokio::test]
async fn operations_are_applied() {
    let api = Api::new().await;
    let patch = json_patch(
        "[JSONPatch{op: 'test', path: '/data/a', value: '1'}, JSONPatch{op: 'add', path: '/data/b', value: 'added'}]",
    );
    changed(
        &api,
        json!({"mutations": [patch]}),
        config_map("x"),
        expect![[r#"{"labels":null,"data":{"a":"1","b":"added"},"containers":null}"#]],
    )
    .await;
    let tested = json_patch(
        "[JSONPatch{op: 'test', path: '/data/a', value: '2'}, JSONPatch{op: 'remove', path: '/data'}]",
    );
    changed(
        &api,
        json!({"mutations": [tested]}),
        config_map("x"),
        expect![[r#"{"labels":null,"data":{"a":"1"},"containers":null}"#]],
    )
    .await;
    let missing = json_patch("[JSONPatch{op: 'remove', path: '/nope/x'}]");
    changed(&api, json!({"mutations": [missing]}), config_map("x"), expect!["403 Invalid: policy 'm' with binding 'm' denied request: JSONPath: operation does not apply: doc is missing path: /nope/x: missing value"]).await;
    let condition = json!({"matchConditions": [{"name": "c", "expression": "object.data.a == '2'"}], "mutations": [patch]});
    changed(
        &api,
        condition,
        config_map("x"),
        expect![[r#"{"labels":null,"data":{"a":"1"},"containers":null}"#]],
    )
    .await;
}

#[tokio::test]
async fn policies_come_before_webhooks_and_may_look_again() {
    let api = Api::new().await;
    let count = "Object{data: {'asked': has(object.data.asked) ? object.data.asked + '!' : '1', 'saw': has(object.data.b) ? 'b' : 'nothing'}}";
    mutate(
        &api,
        "first",
        json!({"reinvocationPolicy": "IfNeeded", "mutations": [apply(count)]}),
        json!({}),
    )
    .await;
    mutate(&api, "second", json!({"mutations": [apply("Object{data: {'once': has(object.data.once) ? 'twice' : 'yes'}}")]}), json!({})).await;
    let server = HookServer::start(|_, review| {
        let data = &review["request"]["object"]["data"];
        assert!(data["once"].is_string(), "policies were first");
        crate::webhooks::patched(review, json!([{"op": "add", "path": "/data/b", "value": "hook"}]))
    })
    .await;
    configure(
        &api,
        crate::webhooks::MUTATING,
        "m",
        vec![hook("a.b.c", server.client("/"), json!({}))],
    )
    .await;
    let made = api.post(MAPS, config_map("x")).await.ok();
    expect![[r#"{"a":"1","asked":"1!","saw":"b","once":"yes","b":"hook"}"#]]
        .assert_eq(&made["data"].to_string());
    let made = api.patch(&format!("{MAPS}/x"), json!({"data": {"a": "2"}})).await.ok();
    assert_eq!(made["data"]["once"], "twice");
}
