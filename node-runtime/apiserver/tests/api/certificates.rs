//! Certificate requests: who makes, grants and signs them, and what each of these may change.

use expect_test::expect;
use minik_apiserver::User;
use serde_json::{Value, json};

use crate::harness::Api;

const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn ann() -> User {
    User::new("ann", ["dev"])
}

/// A request of CN=ann, O=dev, O=ops.
pub(crate) const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIbU1JR01BZ0VBTUNveEREQUtCZ05WQkFvTUEyUmxkakVNTUFvR0ExVUVDZ3dEYjNCek1Rd3dDZ1lEVlFRRApEQU5oYm00d1dUQVRCZ2NxaGtqT1BRSUJCZ2dxaGtqT1BRTUJCd05DQUFTZHJ5VGRvc09rdEFVVFNkTGhKTDdwCmFCV1pPQmpoZFFtMzZLRnFycHhiWnQ4bUV1cEYzM042YlNNNWRFWFQ1SjZkUWRRc2FxY0NwWk1ySTRRZmhJNncKb0FBd0NnWUlLb1pJemowRUF3SURTUUF3UmdJaEFLMU1xbDVuVk9RSEZtUFVoeVJoNVNBbHRGVE5ZQ2hNQjQzQwp5S1oyRlB0SUFpRUFwamNGaXBTYUVvTlEyc2NqaWM2eFM5a2N5alNsRHlwbEdiNzgwb1RTV2ljPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
/// A request of O=system:masters.
const MASTERS_REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIak1JR0pBZ0VBTUNjeEZ6QVZCZ05WQkFvTURuTjVjM1JsYlRwdFlYTjBaWEp6TVF3d0NnWURWUVFEREFOaApibTR3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVNkcnlUZG9zT2t0QVVUU2RMaEpMN3BhQldaCk9CamhkUW0zNktGcXJweGJadDhtRXVwRjMzTjZiU001ZEVYVDVKNmRRZFFzYXFjQ3BaTXJJNFFmaEk2d29BQXcKQ2dZSUtvWkl6ajBFQXdJRFNRQXdSZ0loQVBiNERYaTVHcWZQclRTdmdnZ1JOSVJXdVNVb0hjSldKZk0zQmRpcQpXY1RaQWlFQTRlMVU5a1VRaGttSDE3M0tSVEVwR1BnRmdNYWVMODJMS3dMeTRmNklWeVU9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

#[tokio::test]
async fn certificate_requests_name_who_made_them() {
    let api = Api::new().await;
    let path = PATH;
    let role = json!({"metadata": {"name": "csr"}, "rules": [
        {"verbs": ["create"], "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"]},
        {"verbs": ["update", "get"], "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"]},
    ]});
    api.post(&format!("{RBAC}/clusterroles"), role).await.ok();
    let binding = json!({
        "metadata": {"name": "csr"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "csr"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"}],
    });
    api.post(&format!("{RBAC}/clusterrolebindings"), binding).await.ok();
    let request = json!({"metadata": {"name": "r"}, "spec": {
        "request": REQUEST, "username": "root",
        "signerName": "example.com/s", "usages": ["client auth"],
    }});
    let made = api.ask_as(ann(), &format!("POST {path}"), Some(request), &[]).await.ok();
    assert_eq!(made["spec"]["username"], "ann");
    let mut approved = made.clone();
    approved["status"] =
        json!({"conditions": [{"type": "Approved", "status": "True", "reason": "x"}]});
    approved["metadata"]["annotations"] = json!({"by": "hand"});
    let put = format!("PUT {path}/r/approval");
    let refused = api.ask_as(ann(), &put, Some(approved.clone()), &[]).await;
    assert_eq!(refused.code, 403, "ann may not approve for this signer");
    let done = api.ask_as(User::admin(), &put, Some(approved), &[]).await.ok();
    assert_eq!(done["status"]["conditions"][0]["type"], "Approved");
    assert_eq!(done["metadata"]["annotations"]["by"], "hand");
    // Its certificate is set by those who may sign.
    let mut signed = done.clone();
    signed["status"]["conditions"] =
        json!([done["status"]["conditions"][0], {"type": "Failed", "status": "True"}]);
    let status = format!("PUT {path}/r/status");
    let role = json!({"metadata": {"name": "signer"}, "rules": [
        {"verbs": ["update"], "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/status"]},
    ]});
    api.post(&format!("{RBAC}/clusterroles"), role).await.ok();
    let mut binding = json!({
        "metadata": {"name": "signer"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "signer"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"}],
    });
    api.post(&format!("{RBAC}/clusterrolebindings"), binding.take()).await.ok();
    expect![[r#"403 Forbidden: certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to sign requests with signerName "example.com/s""#]]
        .assert_eq(&api.ask_as(ann(), &status, Some(signed.clone()), &[]).await.failure());
    let failed = api.ask_as(User::admin(), &status, Some(signed), &[]).await.ok();
    assert_eq!(failed["status"]["conditions"][1]["type"], "Failed");
    let powerful = json!({"metadata": {"name": "m"}, "spec": {
        "request": MASTERS_REQUEST, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
    }});
    expect![[r#"403 Forbidden: certificatesigningrequests.certificates.k8s.io "m" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"#]]
        .assert_eq(&api.post(path, powerful).await.failure());
}

const CERTIFICATE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJiekNDQVJXZ0F3SUJBZ0lVWFUxRWw3ZHlpZUhZZFNMbDVaN1JwbkE4ak1Bd0NnWUlLb1pJemowRUF3SXcKRERFS01BZ0dBMVVFQXd3QllUQWdGdzB5TmpFeE1qUXdNRFU0TWpaYUdBOHlNVEkyTVRBek1UQXdOVGd5TmxvdwpEREVLTUFnR0ExVUVBd3dCWVRCWk1CTUdCeXFHU000OUFnRUdDQ3FHU000OUF3RUhBMElBQkoydkpOMml3NlMwCkJSTkowdUVrdnVsb0ZaazRHT0YxQ2Jmb29XcXVuRnRtM3lZUzZrWGZjM3B0SXpsMFJkUGtucDFCMUN4cXB3S2wKa3lzamhCK0VqckNqVXpCUk1CMEdBMVVkRGdRV0JCUS9icThjZloyeW1nOGgzNnF4eXhHdnhrcnZsakFmQmdOVgpIU01FR0RBV2dCUS9icThjZloyeW1nOGgzNnF4eXhHdnhrcnZsakFQQmdOVkhSTUJBZjhFQlRBREFRSC9NQW9HCkNDcUdTTTQ5QkFNQ0EwZ0FNRVVDSVFDYkNOQzl0QUlmZlE4K2w0a3B3U1FYbFJBNWdKY21pWGFJL0xaaXNUMm0KSWdJZ016SStwZERSZkxCdFUvUDIzbEVQbzl3elFYZm1EdmZkckZSMjdiTTVrUTQ9Ci0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

#[tokio::test]
async fn each_part_is_written_by_its_own_path() {
    let api = Api::new().await;
    let made = json!({"metadata": {"generateName": "r-"}, "spec": {"request": REQUEST,
        "signerName": "example.com/s", "usages": ["digital signature", "server auth"]}});
    for _ in 0..2 {
        api.post(PATH, made.clone()).await.ok();
    }
    let name = api.post(PATH, made).await.ok()["metadata"]["name"].clone();
    let one = format!("{PATH}/{}", name.as_str().expect("a name"));
    let of_signer = format!("{PATH}?fieldSelector=spec.signerName=example.com/s");
    let count = async || api.get(&of_signer).await.ok()["items"].as_array().map_or(0, Vec::len);
    assert_eq!(count().await, 3);

    let noted = |key: &str| json!({"metadata": {"annotations": {key: "true"}}});
    let mut patch = noted("main");
    patch["spec"] = json!({"signerName": "example.com/other"});
    patch["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    let patched = api.patch(&one, patch).await.ok();
    assert_eq!(patched["spec"]["signerName"], "example.com/s", "it stays what it was");
    assert_eq!(patched["status"], json!({}), "nobody grants it here");

    let approval = format!("{one}/approval");
    let mut patch = noted("approval");
    patch["status"] = json!({"conditions": [{"type": "Other", "status": "True", "reason": "e"}],
        "certificate": CERTIFICATE});
    let mut patched = api.patch(&approval, patch).await.ok();
    assert_eq!(patched["metadata"]["annotations"]["approval"], "true");
    assert_eq!(patched["status"].get("certificate"), None, "that is for signers");
    let conditions = patched["status"]["conditions"].as_array_mut().expect("conditions");
    // As programs in Go send what they leave out.
    conditions.push(json!({"type": "Approved", "status": "True", "lastUpdateTime": null}));
    let put = async |path: &str, body: Value| api.ask(&format!("PUT {path}"), Some(body)).await;
    let approved = put(&approval, patched).await.ok();
    assert_eq!(approved["status"]["conditions"][1]["type"], "Approved");
    assert!(approved["status"]["conditions"][1]["lastUpdateTime"].is_string());

    let status = format!("{one}/status");
    let mut patch = noted("status");
    patch["status"] = json!({"certificate": CERTIFICATE});
    let mut signed = api.patch(&status, patch).await.ok();
    assert_eq!(signed["metadata"]["annotations"]["status"], "true");
    assert_eq!(signed["status"]["certificate"], CERTIFICATE);
    let conditions = signed["status"]["conditions"].as_array_mut().expect("conditions");
    conditions.push(json!({"type": "More", "status": "True", "reason": "e"}));
    let mut told = put(&status, signed).await.ok();
    assert_eq!(told["status"]["conditions"].as_array().map(Vec::len), Some(3));
    told["status"]["conditions"] = json!([]);
    expect![[r#"Forbidden: updates may not remove a condition of type "Approved""#]].assert_eq(
        put(&status, told).await.failure().rsplit("conditions: ").next().unwrap_or_default(),
    );

    api.delete(&one).await.ok();
    assert_eq!(count().await, 2);
    api.delete(&of_signer).await.ok();
    assert_eq!(count().await, 0);
}
