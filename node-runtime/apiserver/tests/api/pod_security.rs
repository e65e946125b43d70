//! Namespaces that say how much their pods may do.

use expect_test::expect;
use serde_json::json;

use crate::harness::{Answer, Api, PODS, pod};

const DEFAULT: &str = "/api/v1/namespaces/default";

async fn label(api: &Api, mode: &str, level: &str) -> Answer {
    let labels = json!({format!("pod-security.kubernetes.io/{mode}"): level});
    api.patch(DEFAULT, json!({"metadata": {"labels": labels}})).await
}

fn warnings(answer: &Answer) -> String {
    let all = answer.headers.get_all("warning").iter();
    let texts: Vec<&str> = all.filter_map(|value| value.to_str().ok()).collect();
    texts.join("\n")
}

#[tokio::test]
async fn pods_are_held_to_the_level_of_their_namespace() {
    let api = Api::new().await;
    let mut bold = pod("bold");
    bold["spec"]["hostNetwork"] = true.into();
    api.post(PODS, bold.clone()).await.ok();

    let stricter = label(&api, "enforce", "baseline").await;
    expect![[r#"
        299 - "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\""
        299 - "bold: host namespaces""#]]
    .assert_eq(&warnings(&stricter));
    stricter.ok();

    bold["metadata"]["name"] = "bolder".into();
    expect![[r#"403 Forbidden: pods "bolder" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)"#]]
        .assert_eq(&api.post(PODS, bold).await.failure());
    api.post(PODS, pod("plain")).await.ok();
}

#[tokio::test]
async fn templates_are_warned_of() {
    let api = Api::new().await;
    label(&api, "warn", "restricted").await.ok();
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]},
        },
    });
    let made = api.post("/apis/apps/v1/namespaces/default/deployments", deployment).await;
    let said = warnings(&made);
    assert!(
        said.starts_with(r#"299 - "would violate PodSecurity \"restricted:latest\": allow"#),
        "{said}"
    );
    made.ok();
}

#[tokio::test]
async fn a_label_must_name_a_level() {
    let api = Api::new().await;
    expect![[r#"422 Invalid: Namespace "default" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted"#]]
        .assert_eq(&label(&api, "enforce", "strict").await.failure());
    assert_eq!(label(&api, "enforce-version", "v1.30").await.code, 200);
    assert_eq!(label(&api, "audit-version", "1.30").await.code, 422);
}
