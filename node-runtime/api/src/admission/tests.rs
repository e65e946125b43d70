//! Tables of which webhooks are asked, and what their answers mean.

use expect_test::{Expect, expect};
use minik_meta::{GroupVersionKind, GroupVersionResource, Status};
use serde_json::{Value, json};
use test_case::test_case;

use super::review::{Asked, answer, denied};
use super::{Attributes, Equivalent, Hook, Matched, Objects, Operation};

/// `OPERATION GROUP/VERSION/RESOURCE[/SUB] NAMESPACE`
fn request(line: &str) -> Attributes {
    let words: Vec<&str> = line.split(' ').collect();
    let [operation, path, namespace] = words.as_slice() else { panic!("{line}") };
    let parts: Vec<&str> = path.split('/').collect();
    Attributes {
        operation: match *operation {
            "CREATE" => Operation::Create,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            _ => Operation::Connect,
        },
        resource: GroupVersionResource::new(parts[0], parts[1], parts[2]),
        subresource: parts.get(3).copied().unwrap_or_default().to_owned(),
        kind: GroupVersionKind::new(parts[0], parts[1], "K"),
        namespace: namespace.replace('-', ""),
        name: "n".to_owned(),
    }
}

fn rule(operations: &[&str], groups: &[&str], versions: &[&str], resources: &[&str]) -> Value {
    json!({"operations": operations, "apiGroups": groups, "apiVersions": versions, "resources": resources})
}

fn hook(fields: Value) -> Hook {
    let mut webhook = json!({"name": "a.b.c"});
    webhook.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Hook::parse("config", &webhook, true)
}

fn nothing() -> Vec<Equivalent> {
    Vec::new()
}

#[test_case(rule(&["CREATE"], &[""], &["v1"], &["pods"]), "CREATE /v1/pods a", true; "exact")]
#[test_case(rule(&["CREATE"], &[""], &["v1"], &["pods"]), "UPDATE /v1/pods a", false; "operation")]
#[test_case(rule(&["*"], &[""], &["v1"], &["pods"]), "CONNECT /v1/pods a", true; "any operation")]
#[test_case(rule(&["*"], &["apps"], &["v1"], &["pods"]), "CREATE /v1/pods a", false; "group")]
#[test_case(rule(&["*"], &["*"], &["*"], &["*"]), "CREATE apps/v1/deployments a", true; "all")]
#[test_case(rule(&["*"], &["*"], &["*"], &["*"]), "UPDATE apps/v1/deployments/status a", false; "a star is no subresource")]
#[test_case(rule(&["*"], &["*"], &["*"], &["*/*"]), "UPDATE apps/v1/deployments/status a", true; "everything")]
#[test_case(rule(&["*"], &["*"], &["*"], &["*/*"]), "UPDATE apps/v1/deployments a", true; "everything has objects")]
#[test_case(rule(&["*"], &["*"], &["*"], &["pods/*"]), "CONNECT /v1/pods/exec a", true; "all of pods")]
#[test_case(rule(&["*"], &["*"], &["*"], &["pods/*"]), "CREATE /v1/pods a", true; "pods themselves")]
#[test_case(rule(&["*"], &["*"], &["*"], &["*/scale"]), "UPDATE apps/v1/deployments/scale a", true; "all scales")]
#[test_case(rule(&["*"], &["*"], &["*"], &["*/scale"]), "UPDATE apps/v1/deployments a", false; "no scale")]
#[test_case(rule(&["*"], &["*"], &["v2"], &["*"]), "UPDATE apps/v1/deployments a", false; "version")]
fn rules(rule: Value, line: &str, expected: bool) {
    let found = hook(json!({"rules": [rule]})).wants(
        &request(line),
        Objects::default(),
        || Ok(None),
        nothing,
    );
    assert_eq!(found.unwrap().is_some(), expected);
}

#[test_case("Namespaced", "CREATE /v1/pods a", true)]
#[test_case("Namespaced", "CREATE /v1/nodes -", false)]
#[test_case("Namespaced", "CREATE /v1/namespaces a", false)]
#[test_case("Cluster", "CREATE /v1/pods a", false)]
#[test_case("Cluster", "CREATE /v1/nodes -", true)]
#[test_case("Cluster", "CREATE /v1/namespaces a", true)]
#[test_case("*", "CREATE /v1/namespaces a", true)]
fn scopes(scope: &str, line: &str, expected: bool) {
    let mut rule = rule(&["*"], &["*"], &["*"], &["*"]);
    rule["scope"] = scope.into();
    let found = hook(json!({"rules": [rule]})).wants(
        &request(line),
        Objects::default(),
        || Ok(None),
        nothing,
    );
    assert_eq!(found.unwrap().is_some(), expected);
}

#[test_case("CREATE /v1/pods red", Ok(true))]
#[test_case("CREATE /v1/pods blue", Ok(false))]
#[test_case("CREATE /v1/pods gone", Err(404); "a namespace that is missing")]
#[test_case("CREATE /v1/nodes -", Ok(true); "cluster-scoped objects are in no namespace")]
#[test_case("CREATE /v1/namespaces blue", Ok(true); "a new namespace by its own labels")]
#[test_case("DELETE /v1/namespaces blue", Ok(false); "a namespace that goes by what is stored")]
#[test_case("CREATE apps/v1/x gone", Ok(false); "not its business")]
fn namespaces(line: &str, expected: Result<bool, u16>) {
    let request = request(line);
    let hook = hook(json!({
        "rules": [rule(&["*"], &[""], &["*"], &["*"])],
        "namespaceSelector": {"matchLabels": {"color": "red"}},
    }));
    let new = json!({"metadata": {"labels": {"color": "red"}}});
    let objects = Objects { new: Some(&new), old: None };
    let labels = || match request.namespace.as_str() {
        "gone" => Err(Status::not_found_path()),
        color => Ok(json!({"color": color}).as_object().cloned()),
    };
    let found = hook.wants(&request, objects, labels, nothing);
    assert_eq!(found.map(|one| one.is_some()).map_err(|status| status.code), expected);
}

#[test_case(json!({"metadata": {"labels": {"a": "b"}}}), json!({"metadata": {}}), true; "new")]
#[test_case(json!({"metadata": {}}), json!({"metadata": {"labels": {"a": "b"}}}), true; "old")]
#[test_case(json!({"metadata": {}}), json!({"metadata": {}}), false; "neither")]
#[test_case(json!({"stdin": true}), Value::Null, false; "no metadata")]
fn objects(new: Value, old: Value, expected: bool) {
    let hook = hook(json!({
        "rules": [rule(&["*"], &["*"], &["*"], &["*"])],
        "objectSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
    }));
    let objects = Objects { new: Some(&new), old: (!old.is_null()).then_some(&old) };
    let found = hook.wants(&request("UPDATE /v1/pods a"), objects, || Ok(None), nothing);
    assert_eq!(found.unwrap().is_some(), expected);
}

#[test]
fn the_absence_of_a_label_is_no_label_of_options() {
    let hook = hook(json!({
        "rules": [rule(&["*"], &["*"], &["*"], &["*/*"])],
        "objectSelector": {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]},
    }));
    let options = json!({"kind": "PodExecOptions", "stdin": true});
    let objects = Objects { new: Some(&options), old: None };
    let found = hook.wants(&request("CONNECT /v1/pods/exec a"), objects, || Ok(None), nothing);
    assert_eq!(found.unwrap(), None);
}

#[test_case("Equivalent", Some("v1"); "the version that is named")]
#[test_case("Exact", None; "only what is named")]
fn versions(policy: &str, expected: Option<&str>) {
    let hook = hook(json!({
        "rules": [rule(&["*"], &["autoscaling"], &["v1"], &["hpas"])], "matchPolicy": policy,
    }));
    let equivalents = || {
        let of = |version: &str| Equivalent {
            resource: GroupVersionResource::new("autoscaling", version, "hpas"),
            kind: Some(GroupVersionKind::new("autoscaling", version, "HPA")),
        };
        vec![of("v2"), of("v1")]
    };
    let found = hook.wants(
        &request("CREATE autoscaling/v2/hpas a"),
        Objects::default(),
        || Ok(None),
        equivalents,
    );
    let found = found.unwrap();
    assert_eq!(found.as_ref().map(|one| one.kind.version.as_str()), expected);
    assert_eq!(found.as_ref().map(|one| one.resource.version.as_str()), expected);
}

fn told(review: Value, mutating: bool, expected: Expect) {
    let matched = Matched {
        resource: GroupVersionResource::new("", "v1", "pods"),
        kind: GroupVersionKind::new("", "v1", "Pod"),
    };
    let version = if review["apiVersion"] == "admission.k8s.io/v1beta1" { "v1beta1" } else { "v1" };
    let asked = Asked {
        uid: "u",
        version,
        matched: &matched,
        objects: Objects::default(),
        user: &Value::Null,
        options: &Value::Null,
        dry_run: false,
    };
    let said = match answer(&review, &asked, mutating) {
        Ok(answer) => format!(
            "{} {}",
            if answer.allowed { "yes" } else { "no" },
            String::from_utf8(answer.patch).unwrap()
        ),
        Err(why) => why,
    };
    expected.assert_eq(said.trim_end());
}

#[test]
fn answers() {
    let review = |response: Value| json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
    told(review(json!({"uid": "u", "allowed": true})), true, expect!["yes"]);
    told(review(json!({"uid": "u"})), false, expect!["no"]);
    told(review(Value::Null), true, expect!["webhook response was absent"]);
    told(
        review(json!({"uid": "x", "allowed": true})),
        true,
        expect![[r#"expected response.uid="u", got "x""#]],
    );
    told(
        json!({"response": {"uid": "u", "allowed": true}}),
        true,
        expect![
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got , Kind="
        ],
    );
    let patched = json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"});
    told(review(patched.clone()), true, expect!["yes []"]);
    told(review(patched), false, expect!["validating webhook may not return response.patch"]);
    let numbers = json!({"uid": "u", "allowed": true, "patch": [91, 93], "patchType": "JSONPatch"});
    told(review(numbers), true, expect!["yes []"]);
    let wrong = json!({"uid": "u", "allowed": true, "patch": [256], "patchType": "JSONPatch"});
    told(review(wrong), true, expect!["response.patch: neither base64 nor bytes"]);
    told(
        review(json!({"uid": "u", "allowed": true, "patch": "W10="})),
        true,
        expect!["webhook returned response.patch but not response.patchType"],
    );
    told(
        review(json!({"uid": "u", "allowed": true, "patchType": "JSONPatch"})),
        true,
        expect!["webhook returned response.patchType but not response.patch"],
    );
    let old = json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "response": {"allowed": true, "patch": "W10="}});
    told(old, true, expect!["yes []"]);
}

#[test]
fn denials() {
    let say = |result: Option<Value>, expected: Expect| {
        expected.assert_eq(&denied("a.b.c", result.as_ref()).to_value().to_string());
    };
    say(
        None,
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"a.b.c\" denied the request without explanation","code":400}"#
        ]],
    );
    say(
        Some(json!({"message": "no", "code": 200, "status": "Success"})),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"a.b.c\" denied the request: no","code":400}"#
        ]],
    );
    say(
        Some(
            json!({"reason": "Odd", "code": 418, "details": {"name": "x", "retryAfterSeconds": 3}}),
        ),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"a.b.c\" denied the request: Odd","reason":"Odd","details":{"name":"x","retryAfterSeconds":3},"code":418}"#
        ]],
    );
    assert_eq!(
        denied("a.b.c", Some(&json!({"details": {"retryAfterSeconds": 3}})))
            .details
            .unwrap()
            .retry_after_seconds,
        3
    );
}
