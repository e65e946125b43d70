//! What the audit log says of requests.

use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use minik_apiserver::User;
use minik_config::{AuditFormat, AuditPolicy, AuditSettings, AuditTarget};
use minik_store::{Storage, Store};
use serde_json::{Value, json};

use crate::harness::{Api, MAPS, PODS, config_map, pod};

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, nonResourceURLs: ["/metrics"]}
- {level: None, users: ["quiet"]}
- {level: Metadata, resources: [{group: "", resources: [secrets, serviceaccounts]}]}
- {level: Request, verbs: [patch, deletecollection]}
- {level: RequestResponse, resources: [{group: "", resources: [configmaps]}]}
- {level: Metadata, omitStages: []}
"#;

struct Lab {
    api: Api,
    folder: tempfile::TempDir,
}

impl Lab {
    async fn new(policy: &str, format: AuditFormat) -> Lab {
        let folder = tempfile::tempdir().expect("folder");
        let target = AuditTarget::File {
            path: path(folder.path()),
            size_max: 100,
            backups_max: 0,
            age_max: 0,
        };
        let policy = AuditPolicy::from_text(policy).expect("policy");
        let storage = minik_store::Config::new(Storage::Memory);
        let store = Store::open(&storage).expect("store");
        let settings = AuditSettings { policy, target, format };
        let api = Api::configured(store, |config| config.audit = Some(settings)).await;
        let lab = Lab { api, folder };
        lab.lines().await;
        lab
    }

    /// Lines since the last call, once all that was answered is in the file.
    async fn lines(&self) -> Vec<String> {
        self.api.server.as_ref().expect("runs").flush_audit_log().await;
        let path = path(self.folder.path());
        let text = std::fs::read_to_string(&path).expect("log");
        // Lines are appended, so the file can be cut under the writer.
        std::fs::File::create(&path).expect("log");
        text.lines().map(str::to_owned).collect()
    }

    async fn events(&self) -> Vec<Value> {
        let lines = self.lines().await;
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The events in short.
    async fn check(&self, expected: Expect) {
        let lines: Vec<String> = self.events().await.iter().map(short).collect();
        expected.assert_eq(&lines.join("\n"));
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("audit.log")
}

fn short(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let object = &event["objectRef"];
    let about =
        ["resource", "subresource", "namespace", "name"].map(|key| text(&object[key])).join("/");
    let has = |key: &'static str| if event.get(key).is_some() { key } else { "-" };
    format!(
        "{} {} {} {} {about} {} {} {}",
        text(&event["stage"]),
        text(&event["level"]),
        text(&event["user"]["username"]),
        text(&event["verb"]),
        event["responseStatus"]["code"],
        has("requestObject"),
        has("responseObject"),
    )
}

#[tokio::test]
async fn rules_say_how_much_is_recorded() {
    let lab = Lab::new(POLICY, AuditFormat::Json).await;
    let api = &lab.api;
    api.post(MAPS, config_map("a")).await.ok();
    lab.check(expect!["ResponseComplete RequestResponse kubernetes-admin create configmaps/-/default/a 201 requestObject responseObject"]).await;
    api.get(MAPS).await.ok();
    lab.check(expect!["ResponseComplete RequestResponse kubernetes-admin list configmaps/-/default/- 200 - responseObject"]).await;
    api.patch(&format!("{MAPS}/a"), json!({"data": {"b": "2"}})).await.ok();
    lab.check(expect![
        "ResponseComplete Request kubernetes-admin patch configmaps/-/default/a 200 requestObject -"
    ])
    .await;
    api.get("/api/v1/namespaces/default").await.ok();
    lab.check(expect![
        "ResponseComplete Metadata kubernetes-admin get namespaces/-/default/default 200 - -"
    ])
    .await;
    api.get("/version").await.ok();
    lab.check(expect!["ResponseComplete Metadata kubernetes-admin get -/-/-/- 200 - -"]).await;
    api.get("/metrics").await;
    let quiet = User::new("quiet", ["system:masters"]);
    api.ask_as(quiet, &format!("GET {MAPS}"), None, &[]).await.ok();
    lab.check(expect![""]).await;
    api.delete(&format!("{MAPS}/nothing")).await;
    lab.check(expect!["ResponseComplete RequestResponse kubernetes-admin delete configmaps/-/default/nothing 404 - responseObject"]).await;
    let metrics = api.get("/metrics").await.ok();
    let metrics = metrics.as_str().expect("text");
    assert!(metrics.contains("apiserver_audit_error_total{plugin=\"log\"} 0"), "{metrics}");
    assert!(!metrics.contains("apiserver_audit_event_total 0"), "{metrics}");
}

#[tokio::test]
async fn an_event_has_upstreams_fields() {
    let lab = Lab::new(POLICY, AuditFormat::Json).await;
    let headers = [
        ("audit-id", "7f3a"),
        ("user-agent", "kubectl/v1.36"),
        ("x-forwarded-for", "10.0.0.1"),
        ("impersonate-user", "ann"),
    ];
    let path = format!("PUT {MAPS}/a?fieldManager=me");
    lab.api.ask_as(User::admin(), &path, Some(config_map("a")), &headers).await;
    let mut event = lab.events().await.remove(0);
    for time in ["requestReceivedTimestamp", "stageTimestamp"] {
        let text = event[time].as_str().expect("time");
        assert!(text.len() == "2026-01-01T00:00:00.000000Z".len() && text.ends_with('Z'), "{text}");
        event[time] = "NOW".into();
    }
    an_update_that_ann_may_not_do().assert_eq(&serde_json::to_string_pretty(&event).expect("JSON"));
}

fn an_update_that_ann_may_not_do() -> Expect {
    expect![[r#"
        {
          "kind": "Event",
          "apiVersion": "audit.k8s.io/v1",
          "level": "RequestResponse",
          "auditID": "7f3a",
          "stage": "ResponseComplete",
          "requestURI": "/api/v1/namespaces/default/configmaps/a?fieldManager=me",
          "verb": "update",
          "user": {
            "username": "kubernetes-admin",
            "groups": [
              "system:masters",
              "system:authenticated"
            ]
          },
          "impersonatedUser": {
            "username": "ann",
            "groups": [
              "system:authenticated"
            ]
          },
          "sourceIPs": [
            "10.0.0.1"
          ],
          "userAgent": "kubectl/v1.36",
          "objectRef": {
            "resource": "configmaps",
            "namespace": "default",
            "name": "a",
            "apiVersion": "v1"
          },
          "responseStatus": {
            "metadata": {},
            "status": "Failure",
            "message": "configmaps \"a\" is forbidden: User \"ann\" cannot update resource \"configmaps\" in API group \"\" in the namespace \"default\"",
            "reason": "Forbidden",
            "details": {
              "name": "a",
              "kind": "configmaps"
            },
            "code": 403
          },
          "responseObject": {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "configmaps \"a\" is forbidden: User \"ann\" cannot update resource \"configmaps\" in API group \"\" in the namespace \"default\"",
            "reason": "Forbidden",
            "details": {
              "name": "a",
              "kind": "configmaps"
            },
            "code": 403
          },
          "requestReceivedTimestamp": "NOW",
          "stageTimestamp": "NOW",
          "annotations": {
            "authorization.k8s.io/decision": "forbid",
            "authorization.k8s.io/reason": ""
          }
        }"#]]
}

#[tokio::test]
async fn what_the_authorizer_said_is_told() {
    let lab = Lab::new(POLICY, AuditFormat::Json).await;
    let api = &lab.api;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rule = json!({"verbs": ["list"], "apiGroups": [""], "resources": ["secrets"]});
    api.post(&format!("{rbac}/clusterroles"), json!({"metadata": {"name": "r"}, "rules": [rule]}))
        .await
        .ok();
    let binding = json!({
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "dev"}],
    });
    api.post(&format!("{rbac}/clusterrolebindings"), binding).await.ok();
    lab.events().await;
    let ann = || User::new("ann", ["dev"]);
    api.ask_as(ann(), "GET /api/v1/secrets", None, &[]).await.ok();
    api.ask_as(ann(), "DELETE /api/v1/namespaces/default/secrets/a", None, &[]).await;
    let events = lab.events().await;
    let annotations: Vec<_> = events.iter().map(|event| event["annotations"].to_string()).collect();
    expect![[r#"
        {"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"r\" to Group \"dev\""}
        {"authorization.k8s.io/decision":"forbid","authorization.k8s.io/reason":""}"#]].assert_eq(&annotations.join("\n"));
}

#[tokio::test]
async fn pod_security_is_told() {
    let lab = Lab::new(POLICY, AuditFormat::Json).await;
    let noted = |events: Vec<Value>| {
        let lines = events.iter().map(|event| {
            let all = event["annotations"].as_object().cloned().unwrap_or_default();
            let own = all.into_iter().filter(|(key, _)| key.starts_with("pod-security"));
            json!(own.collect::<serde_json::Map<_, _>>()).to_string()
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let label = |mode: &str, level: &str| {
        let labels = json!({format!("pod-security.kubernetes.io/{mode}"): level});
        json!({"metadata": {"labels": labels}})
    };
    let namespace = "/api/v1/namespaces/default";
    lab.api.post(PODS, pod("a")).await.ok();
    expect![[r#"{"pod-security.kubernetes.io/enforce-policy":"privileged:latest"}"#]]
        .assert_eq(&noted(lab.events().await));
    lab.api.patch(namespace, label("audit", "restricted")).await.ok();
    lab.events().await;
    lab.api.post(PODS, pod("b")).await.ok();
    expect![[r#"{"pod-security.kubernetes.io/audit-violations":"would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")","pod-security.kubernetes.io/enforce-policy":"privileged:latest"}"#]].assert_eq(&noted(lab.events().await));
    lab.api.patch(namespace, label("enforce", "restricted")).await.ok();
    lab.events().await;
    assert_eq!(lab.api.post(PODS, pod("c")).await.code, 403);
    expect![[r#"{"pod-security.kubernetes.io/audit-violations":"would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")","pod-security.kubernetes.io/enforce-policy":"restricted:latest"}"#]].assert_eq(&noted(lab.events().await));
}

#[tokio::test]
async fn a_watch_is_two_events() {
    let lab = Lab::new(POLICY, AuditFormat::Json).await;
    let watch = lab.api.watch(&format!("{MAPS}?watch=1")).await;
    lab.check(expect![
        "ResponseStarted RequestResponse kubernetes-admin watch configmaps/-/default/- 200 - -"
    ])
    .await;
    drop(watch);
    lab.check(expect![
        "ResponseComplete RequestResponse kubernetes-admin watch configmaps/-/default/- 200 - -"
    ])
    .await;
}

#[tokio::test]
async fn requests_can_be_recorded_as_they_come() {
    let policy = POLICY.replace("omitStages: [RequestReceived]", "");
    let lab = Lab::new(&policy, AuditFormat::Json).await;
    lab.api.get(MAPS).await.ok();
    lab.check(expect![[r#"
        RequestReceived RequestResponse kubernetes-admin list configmaps/-/default/- null - -
        ResponseComplete RequestResponse kubernetes-admin list configmaps/-/default/- 200 - responseObject"#]]).await;
}

#[tokio::test]
async fn the_form_of_a_line() {
    let lab = Lab::new(POLICY, AuditFormat::Legacy).await;
    lab.api.ask_as(User::admin(), "GET /version", None, &[("audit-id", "7f3a")]).await.ok();
    let line = lab.lines().await.remove(0);
    let (_, line) = line.split_once(' ').expect("time");
    expect![[r#"AUDIT: id="7f3a" stage="ResponseComplete" ip="<unknown>" method="get" user="kubernetes-admin" groups="\"system:masters\",\"system:authenticated\"" as="<self>" asgroups="<lookup>" user-agent="kubernetes-admin" namespace="<none>" uri="/version" response="200""#]].assert_eq(line);
}
