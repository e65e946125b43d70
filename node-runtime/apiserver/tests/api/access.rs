//! Who may do what: roles, escalation, kubelets, impersonation, tokens.

use expect_test::expect;
use minik_apiserver::User;
use serde_json::{Value, json};

use crate::harness::{Api, MAPS, PODS, account, config_map, pod};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn ann() -> User {
    User::new("ann", ["dev"])
}

async fn grant(api: &Api, rules: Value) {
    let role = json!({"metadata": {"name": "r"}, "rules": rules});
    api.post(&format!("{RBAC}/namespaces/default/roles"), role).await.ok();
    let binding = json!({
        "metadata": {"name": "rb"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"}],
    });
    api.post(&format!("{RBAC}/namespaces/default/rolebindings"), binding).await.ok();
}

#[tokio::test]
async fn a_role_counts_for_the_very_next_request() {
    let api = Api::new().await;
    let get = format!("GET {MAPS}");
    expect![[r#"403 Forbidden: configmaps is forbidden: User "ann" cannot list resource "configmaps" in API group "" in the namespace "default""#]]
        .assert_eq(&api.ask_as(ann(), &get, None, &[]).await.failure());
    grant(&api, json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}])).await;
    assert_eq!(api.ask_as(ann(), &get, None, &[]).await.code, 200);
    let post = format!("POST {MAPS}");
    assert_eq!(api.ask_as(ann(), &post, Some(config_map("a")), &[]).await.code, 403);
    api.delete(&format!("{RBAC}/namespaces/default/rolebindings/rb")).await.ok();
    assert_eq!(api.ask_as(ann(), &get, None, &[]).await.code, 403);
}

#[tokio::test]
async fn nobody_grants_more_than_they_hold() {
    let api = Api::new().await;
    grant(
        &api,
        json!([
            {"verbs": ["*"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
        ]),
    )
    .await;
    let post = format!("POST {RBAC}/namespaces/default/roles");
    let role = |name: &str, resource: &str| {
        let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]);
        Some(json!({"metadata": {"name": name}, "rules": rules}))
    };
    // The star verb above includes `escalate` for roles, so it is taken away first.
    let verbs = json!([{"op": "replace", "path": "/rules/0/verbs", "value": ["create", "get"]}]);
    let patch = format!("PATCH {RBAC}/namespaces/default/roles/r");
    let headers = [("content-type", "application/json-patch+json")];
    api.ask_as(User::admin(), &patch, Some(verbs), &headers).await.ok();

    api.ask_as(ann(), &post, role("held", "pods"), &[]).await.ok();
    let refused = api.ask_as(ann(), &post, role("more", "secrets"), &[]).await;
    expect![[r#"
        403 Forbidden: roles.rbac.authorization.k8s.io "more" is forbidden: user "ann" (groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#]]
    .assert_eq(&refused.failure());
    let binding = json!({
        "metadata": {"name": "up"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"}],
    });
    let post = format!("POST {RBAC}/namespaces/default/rolebindings");
    assert_eq!(api.ask_as(ann(), &post, Some(binding), &[]).await.code, 403);
}

#[tokio::test]
async fn a_kubelet_sees_what_its_pods_use() {
    let api = Api::new().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["mine", "other"] {
        api.post(secrets, account(name)).await.ok();
    }
    let mut user_of_secret = pod("a");
    user_of_secret["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "mine"}}]);
    api.post(PODS, user_of_secret).await.ok();
    let get = async |name: &str| {
        let what = format!("GET {secrets}/{name}");
        api.ask_as(User::node("n1"), &what, None, &[]).await
    };
    assert_eq!(get("mine").await.code, 403, "not bound to the node yet");
    let target = json!({"target": {"kind": "Node", "name": "n1"}});
    api.post(&format!("{PODS}/a/binding"), target).await.ok();
    assert_eq!(get("mine").await.code, 200);
    let refused = get("other").await.failure();
    assert!(refused.ends_with("no relationship found between node 'n1' and this object"));
    let node = json!({"metadata": {"name": "n2"}});
    let other = api.ask_as(User::node("n1"), "POST /api/v1/nodes", Some(node), &[]).await;
    assert_eq!(other.code, 403, "another node's object");
}

#[tokio::test]
async fn acting_as_somebody_else_must_be_allowed() {
    let api = Api::new().await;
    let get = format!("GET {MAPS}");
    let headers = [("impersonate-user", "ann"), ("impersonate-group", "dev")];
    let as_ann = api.ask_as(User::admin(), &get, None, &headers).await;
    assert!(as_ann.failure().contains(r#"User "ann" cannot list"#));
    let refused = api.ask_as(ann(), &get, None, &[("impersonate-user", "bob")]).await;
    expect![[r#"403 Forbidden: users "bob" is forbidden: User "ann" cannot impersonate resource "users" in API group "" at the cluster scope"#]]
        .assert_eq(&refused.failure());
}

#[tokio::test]
async fn tokens_live_as_long_as_what_they_are_bound_to() {
    let api = Api::new().await;
    let made = api.post(PODS, pod("a")).await.ok();
    let bound = json!({"spec": {"boundObjectRef": {
        "apiVersion": "v1", "kind": "Pod", "name": "a", "uid": made["metadata"]["uid"],
    }}});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let token = api.post(path, bound).await.ok()["status"]["token"].clone();
    let review = async |spec: Value| {
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        api.post(path, json!({"spec": spec})).await.ok()["status"].clone()
    };
    let good = review(json!({"token": token})).await;
    assert_eq!(good["authenticated"], true);
    assert_eq!(good["user"]["username"], "system:serviceaccount:default:default");
    assert_eq!(good["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["a"]));
    let audience = review(json!({"token": token, "audiences": ["vault"]})).await;
    assert_eq!(audience["authenticated"], Value::Null);
    let forged = format!("{}x", token.as_str().expect("token"));
    assert_eq!(review(json!({"token": forged})).await["authenticated"], Value::Null);
    api.delete(&format!("{PODS}/a?gracePeriodSeconds=0")).await.ok();
    let gone = review(json!({"token": token})).await;
    assert_eq!(gone["error"], "service account token has been invalidated");
    let refused = async |body: Value| api.post(path, body).await.failure();
    expect![[r#"422 Invalid: TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes"#]]
        .assert_eq(&refused(json!({"spec": {"expirationSeconds": 60}})).await);
    expect![[r#"422 Invalid: TokenRequest.authentication.k8s.io "default" is invalid: metadata.name: Invalid value: "robot": must match the service account name if specified"#]]
        .assert_eq(&refused(json!({"metadata": {"name": "robot"}})).await);
    let other = refused(json!({"metadata": {"uid": "u"}})).await;
    assert!(
        other.starts_with("409 Conflict: Operation cannot be fulfilled on TokenRequest"),
        "{other}"
    );
    let to = |kind: &str| json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": "a"}}});
    expect!["400 BadRequest: cannot bind token to object of type /v1, Kind=Service"]
        .assert_eq(&refused(to("Service")).await);
    expect![[r#"404 NotFound: secrets "a" not found"#]].assert_eq(&refused(to("Secret")).await);
}

#[tokio::test]
async fn questions_about_rights() {
    let api = Api::new().await;
    let ask = async |kind: &str, spec: Value, user: User| {
        let what = format!("POST /apis/authorization.k8s.io/v1/{kind}");
        api.ask_as(user, &what, Some(json!({"spec": spec})), &[]).await.ok()["status"].clone()
    };
    let attributes = json!({"verb": "list", "resource": "pods", "namespace": "default"});
    let mine = json!({"resourceAttributes": attributes});
    assert_eq!(ask("selfsubjectaccessreviews", mine.clone(), ann()).await["allowed"], false);
    assert_eq!(ask("selfsubjectaccessreviews", mine, User::admin()).await["allowed"], true);
    let theirs = json!({"resourceAttributes": attributes, "user": "system:kube-scheduler"});
    assert_eq!(ask("subjectaccessreviews", theirs, User::admin()).await["allowed"], true);
    let rules = ask("selfsubjectrulesreviews", json!({"namespace": "default"}), ann()).await;
    assert!(rules["nonResourceRules"].as_array().is_some_and(|rules| !rules.is_empty()));
}

#[tokio::test]
async fn budgets_hold_evictions_back() {
    let api = Api::new().await;
    let mut body = pod("a");
    body["metadata"]["labels"] = json!({"app": "a"});
    api.post(PODS, body).await.ok();
    api.patch(&format!("{PODS}/a/status"), json!({"status": {"phase": "Running"}})).await.ok();
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    });
    api.post(budgets, budget).await.ok();
    let eviction = json!({"metadata": {"name": "a"}});
    let refused = api.post(&format!("{PODS}/a/eviction"), eviction.clone()).await;
    expect![
        "429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget."
    ]
    .assert_eq(&refused.failure());
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1,
        "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    api.patch(&format!("{budgets}/b/status"), status).await.ok();
    assert_eq!(api.post(&format!("{PODS}/a/eviction"), eviction).await.code, 201);
    assert_eq!(api.get(&format!("{PODS}/a")).await.code, 404);
}

#[tokio::test]
async fn quotas_and_limits_hold_namespaces_in_bounds() {
    let api = Api::new().await;
    let quota =
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2", "requests.cpu": "1"}}});
    api.post("/api/v1/namespaces/default/resourcequotas", quota).await.ok();
    expect![[
        r#"403 Forbidden: pods "a" is forbidden: failed quota: q: must specify requests.cpu for: c"#
    ]]
    .assert_eq(&api.post(PODS, pod("a")).await.failure());
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "600m"}, "max": {"cpu": "700m"}},
    ]}});
    api.post("/api/v1/namespaces/default/limitranges", range).await.ok();
    let made = api.post(PODS, pod("a")).await.ok();
    assert_eq!(made["spec"]["containers"][0]["resources"]["requests"]["cpu"], "600m");
    expect![[r#"403 Forbidden: pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"#]]
        .assert_eq(&api.post(PODS, pod("b")).await.failure());
    let small = |name: &str, cpu: &str| {
        let mut body = pod(name);
        body["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": cpu}});
        body
    };
    expect![[r#"403 Forbidden: pods "c" is forbidden: maximum cpu usage per Container is 700m, but limit is 800m"#]]
        .assert_eq(&api.post(PODS, small("c", "800m")).await.failure());
    let many = ["d", "e", "f"].map(|name| api.post(PODS, small(name, "10m")));
    let codes = futures::future::join_all(many).await;
    let made = codes.iter().filter(|answer| answer.code == 201).count();
    assert_eq!(made, 1, "one pod is left, however many ask at once");
}

#[tokio::test]
async fn a_kubelet_asks_for_its_own_pods_and_for_itself_only() {
    let api = Api::new().await;
    let mut one = pod("a");
    one["spec"]["nodeName"] = "n1".into();
    one["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "audience": "vault"}}]}}]);
    let made = api.post(PODS, one).await.ok();
    let bound = |changes: Value, audiences: Value| {
        let mut reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "a",
            "uid": made["metadata"]["uid"]});
        for (key, value) in changes.as_object().into_iter().flatten() {
            reference[key] = value.clone();
        }
        json!({"spec": {"boundObjectRef": reference, "audiences": audiences}})
    };
    let ask = async |user: User, body: Value| {
        let what = "POST /api/v1/namespaces/default/serviceaccounts/default/token";
        api.ask_as(user, what, Some(body), &[]).await
    };
    ask(User::node("n1"), bound(json!({}), json!([]))).await.ok();
    ask(User::node("n1"), bound(json!({}), json!(["vault"]))).await.ok();
    let refused = async |body: Value| ask(User::node("n1"), body).await.failure();
    expect![[r#"403 Forbidden: serviceaccounts "default" is forbidden: node requested token not bound to a pod"#]]
        .assert_eq(&refused(json!({"spec": {}})).await);
    expect![[r#"403 Forbidden: serviceaccounts "default" is forbidden: node requested token with a pod binding without a uid"#]]
        .assert_eq(&refused(bound(json!({"uid": ""}), json!([]))).await);
    expect![[r#"403 Forbidden: serviceaccounts "default" is forbidden: audience "bank" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience"#]]
        .assert_eq(&refused(bound(json!({}), json!(["bank"]))).await);
    assert_eq!(ask(User::node("n2"), bound(json!({}), json!([]))).await.code, 403);
    // A request for the certificate of somebody else.
    let request = json!({"metadata": {"name": "r"}, "spec": {"request": crate::certificates::REQUEST,
        "signerName": "kubernetes.io/kube-apiserver-client-kubelet", "usages": ["client auth"]}});
    let what = "POST /apis/certificates.k8s.io/v1/certificatesigningrequests";
    let answer = api.ask_as(User::node("n1"), what, Some(request), &[]).await;
    expect![[r#"403 Forbidden: certificatesigningrequests.certificates.k8s.io "r" is forbidden: can only create a node CSR with CN=system:node:n1"#]]
        .assert_eq(&answer.failure());
}
