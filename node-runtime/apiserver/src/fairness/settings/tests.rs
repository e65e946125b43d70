//! Which schema takes which request.

use super::*;
use crate::route::{Action, Query, route};
use http::Method;
use serde_json::json;
use test_case::test_case;

fn settings() -> Settings {
    let mut settings = Settings::default();
    for level in builtin::suggested_levels() {
        settings.apply(&format!("{LEVELS}{}", object::name(&level)), Some(&level));
    }
    for schema in builtin::suggested_schemas() {
        settings.apply(&format!("{SCHEMAS}{}", object::name(&schema)), Some(&schema));
    }
    settings
}

/// The schema, its level and the flow of a request `METHOD URI`.
fn classify(settings: &Settings, user: &User, request: &str) -> String {
    let (method, uri) = request.split_once(' ').expect("METHOD URI");
    let method: Method = method.parse().expect("method");
    let verb = method.as_str().to_ascii_lowercase();
    let action = route(&method, uri, &Query::default());
    let what = match &action {
        Action::Page(_) => What::Page { verb: &verb, path: uri },
        Action::Resource(verb, target) => What::Resource { verb: *verb, target },
    };
    let asked = Asked { user, what };
    let plan = settings.plan();
    let schema = plan.classify(&asked);
    format!("{} {} {}", schema.name, schema.level, schema.flow(&asked)).trim_end().to_owned()
}

const LEASE: &str = "PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n";

#[test_case(&User::admin(), "GET /api/v1/pods", "exempt exempt"; "administrators")]
#[test_case(&User::new("a", ["b"]), "GET /livez/ping", "probes exempt"; "probes")]
#[test_case(&User::new("a", ["b"]), "POST /livez", "global-default global-default a"; "no probe")]
#[test_case(&User::node("n"), LEASE, "system-node-high node-high system:node:n"; "lease of a node")]
#[test_case(&User::node("n"), "PATCH /api/v1/nodes/n/status",
    "system-node-high node-high system:node:n"; "status of a node")]
#[test_case(&User::node("n"), "GET /api/v1/namespaces/a/pods/b",
    "system-nodes system system:node:n"; "kubelet")]
#[test_case(&User::new("system:kube-scheduler", ["x"]), LEASE,
    "system-leader-election leader-election system:kube-scheduler"; "election")]
#[test_case(&User::new("system:kube-scheduler", ["x"]), "GET /api/v1/namespaces/a/pods",
    "kube-scheduler workload-high a"; "scheduler")]
#[test_case(&User::service_account("kube-system", "x"), "DELETE /api/v1/namespaces/a",
    "kube-system-service-accounts workload-high a"; "system account")]
#[test_case(&User::service_account("kube-systemd", "x"), "GET /api/v1/namespaces/a/pods",
    "service-accounts workload-low system:serviceaccount:kube-systemd:x"; "account")]
#[test_case(&User::anonymous(), "GET /version",
    "global-default global-default system:anonymous"; "anybody")]
fn built_in(user: &User, request: &str, expected: &str) {
    assert_eq!(classify(&settings(), user, request), expected);
}

fn schema(name: &str, precedence: u32, rules: Value) -> Value {
    json!({"metadata": {"name": name, "uid": name}, "spec": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": precedence,
        "rules": [rules],
    }})
}

#[test_case(&["pods"], &["*"], true, "GET /api/v1/namespaces/a/pods/b", true; "resource")]
#[test_case(&["pods"], &["*"], true, "GET /api/v1/namespaces/a/pods/b/status", false; "subresource")]
#[test_case(&["pods/status"], &["*"], true, "GET /api/v1/namespaces/a/pods/b/status", true; "its name")]
#[test_case(&["*"], &["*"], false, "GET /api/v1/pods", false; "all namespaces are of the cluster")]
#[test_case(&["*"], &["b"], true, "GET /api/v1/namespaces/a/pods", false; "other namespace")]
#[test_case(&["*"], &["*"], false, "GET /api/v1/namespaces/a", true; "a namespace is in itself")]
#[test_case(&["*"], &["*"], true, "GET /apis/apps/v1/deployments", false; "other group")]
#[test_case(&["*"], &["*"], true, "POST /api/v1/namespaces/a/pods", false; "other verb")]
fn resource_rules(
    resources: &[&str],
    namespaces: &[&str],
    cluster: bool,
    request: &str,
    hit: bool,
) {
    let mut settings = settings();
    let rules = json!({
        "subjects": [{"kind": "User", "user": {"name": "*"}}],
        "resourceRules": [{
            "verbs": ["get", "list"], "apiGroups": [""], "resources": resources,
            "namespaces": namespaces, "clusterScope": cluster,
        }],
    });
    settings.apply(&format!("{SCHEMAS}mine"), Some(&schema("mine", 5, rules)));
    let found = classify(&settings, &User::new("u", ["g"]), request);
    assert_eq!(found.starts_with("mine "), hit, "{found}");
}

#[test]
fn lower_precedence_is_first_and_names_decide_among_equals() {
    let mut settings = settings();
    let all = json!({
        "subjects": [{"kind": "Group", "group": {"name": "*"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/ver*", "/apis/*"]}],
    });
    let user = User::new("u", ["g"]);
    let version = |settings: &Settings| {
        let found = classify(settings, &user, "GET /apis/apps");
        found.split(' ').next().expect("a name").to_owned()
    };
    for (name, precedence) in [("later", 9000), ("b", 50), ("a", 50)] {
        settings.apply(&format!("{SCHEMAS}{name}"), Some(&schema(name, precedence, all.clone())));
    }
    assert_eq!(version(&settings), "a");
    settings.apply(&format!("{SCHEMAS}a"), None);
    assert_eq!(version(&settings), "b");
    assert_eq!(classify(&settings, &user, "GET /version"), "global-default global-default u");
}

#[test]
fn without_any_objects_the_mandatory_ones_hold() {
    let settings = Settings::default();
    assert_eq!(classify(&settings, &User::admin(), "GET /api"), "exempt exempt");
    let found = classify(&settings, &User::new("u", ["g"]), "GET /api/v1/pods");
    assert_eq!(found, "catch-all catch-all u");
}

#[test]
fn schemas_without_their_level_are_passed_over() {
    let mut settings = settings();
    let user = User::new("u", ["g"]);
    settings.apply(&format!("{LEVELS}global-default"), None);
    assert_eq!(classify(&settings, &user, "GET /api"), "catch-all catch-all u");
}

#[test_case(json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}) => true)]
#[test_case(json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}}) => false)]
#[test_case(json!({"type": "Exempt", "exempt": {}}) => false; "only one level is exempt")]
#[test_case(json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue",
    "queuing": {"queues": 4, "handSize": 5}}}}) => false; "too large a hand")]
#[test_case(json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue",
    "queuing": {}}}}) => true; "defaults")]
fn levels_that_work(spec: Value) -> bool {
    LevelSpec::read(&json!({"metadata": {"name": "mine"}, "spec": spec})).is_some()
}
