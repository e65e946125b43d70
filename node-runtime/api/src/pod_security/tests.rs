//! Pods, and what each level says of them.

use serde_json::json;
use test_case::test_case;

use super::*;

fn said(level: Level, spec: &str) -> String {
    let spec: Value = serde_yaml::from_str(spec).expect("YAML");
    describe(&violations(level, &Value::Null, &spec))
}

const GOOD: &str = "
securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
volumes: [{name: v, emptyDir: {}}, {name: c, configMap: {name: x}}]
containers:
- name: c
  ports: [{containerPort: 80}]
  securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}
";

#[test_case(Level::Privileged, "{hostPID: true, containers: [{name: c}]}", ""; "anything")]
#[test_case(Level::Restricted, GOOD, ""; "best practice")]
#[test_case(Level::Baseline, "{containers: [{name: c}]}", ""; "a plain pod")]
#[test_case(
    Level::Restricted, "{containers: [{name: c}]}",
    r#"allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#;
    "a plain pod is not best practice"
)]
#[test_case(
    Level::Baseline,
    "{hostNetwork: true, hostIPC: true, containers: [{name: c, ports: [{containerPort: 80, hostPort: 80}]}]}",
    r#"host namespaces (hostNetwork=true, hostIPC=true), hostPort (container "c" uses hostPort 80)"#;
    "namespaces and ports of the host"
)]
#[test_case(
    Level::Baseline,
    "{containers: [{name: a, securityContext: {privileged: true}}], initContainers: [{name: b, securityContext: {privileged: true}}]}",
    r#"privileged (containers "b", "a" must not set securityContext.privileged=true)"#;
    "privileged, also at the start"
)]
#[test_case(
    Level::Baseline,
    "{containers: [{name: c, securityContext: {capabilities: {add: [SYS_ADMIN, CHOWN, NET_RAW]}}}]}",
    r#"non-default capabilities (container "c" must not include "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add)"#;
    "capabilities beyond the usual"
)]
#[test_case(
    Level::Baseline, "{volumes: [{name: a, hostPath: {path: /}}, {name: b, hostPath: {path: /}}], containers: []}",
    r#"hostPath volumes (volumes "a", "b")"#; "folders of the host"
)]
#[test_case(
    Level::Restricted,
    "{volumes: [{name: a, hostPath: {path: /}}], securityContext: {runAsNonRoot: true, seccompProfile: {type: Localhost}}, containers: []}",
    r#"restricted volume types (volume "a" uses restricted volume type "hostPath")"#; "one rule takes the place of another"
)]
#[test_case(
    Level::Baseline, "{securityContext: {sysctls: [{name: kernel.msgmax}, {name: net.ipv4.tcp_syncookies}]}, containers: []}",
    "forbidden sysctl (kernel.msgmax)"; "settings of the kernel"
)]
#[test_case(
    Level::Baseline, "{securityContext: {seLinuxOptions: {type: spc_t, user: u}}, containers: [{name: c}]}",
    r#"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)"#; "labels"
)]
#[test_case(
    Level::Baseline, "{containers: [{name: c, livenessProbe: {httpGet: {host: 10.0.0.1}}}]}",
    r#"probe or lifecycle host (container "c" uses probe or lifecycle host "10.0.0.1")"#; "probes of other hosts"
)]
#[test_case(
    Level::Baseline,
    "{securityContext: {seccompProfile: {type: Unconfined}}, containers: [{name: c, securityContext: {procMount: Unmasked}}]}",
    r#"procMount (container "c" must not set securityContext.procMount to "Unmasked"), seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")"#;
    "masks"
)]
fn levels(level: Level, spec: &str, expected: &str) {
    assert_eq!(said(level, spec), expected);
}

#[test]
fn a_container_may_say_what_the_pod_does_not() {
    let spec = GOOD.replace("runAsNonRoot: true, ", "").replace(
        "{allowPrivilegeEscalation",
        "{runAsNonRoot: true, runAsUser: 0, allowPrivilegeEscalation",
    );
    assert_eq!(
        said(Level::Restricted, &spec),
        r#"runAsUser=0 (container "c" must not set runAsUser=0)"#
    );
}

#[test]
fn app_armor_by_field_and_by_annotation() {
    let metadata = json!({"annotations": {
        "container.apparmor.security.beta.kubernetes.io/c": "unconfined", "other": "x",
    }});
    let found = violations(Level::Baseline, &metadata, &json!({"containers": [{"name": "c"}]}));
    assert_eq!(
        describe(&found),
        "forbidden AppArmor profile (annotation \
         container.apparmor.security.beta.kubernetes.io/c=\"unconfined\")"
    );
}

#[test]
fn namespaces_say_what_they_want() {
    let namespace = json!({"metadata": {"labels": {
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/enforce-version": "v1.30",
        "pod-security.kubernetes.io/warn": "strict",
        "pod-security.kubernetes.io/warn-version": "1.30",
    }}});
    assert_eq!(Policy::of(&namespace, Mode::Enforce).to_string(), "baseline:v1.30");
    assert_eq!(Policy::of(&namespace, Mode::Audit).to_string(), "privileged:latest");
    assert_eq!(Policy::of(&namespace, Mode::Warn).to_string(), "privileged:latest");
    let wrong: Vec<String> = wrong_labels(&namespace).into_iter().map(|one| one.1).collect();
    assert_eq!(wrong, ["strict", "1.30"]);
}

#[test]
fn templates_of_every_workload() {
    let template = json!({"spec": {"containers": []}});
    let object =
        json!({"spec": {"template": template, "jobTemplate": {"spec": {"template": template}}}});
    for (group, kind) in [("apps", "Deployment"), ("batch", "Job"), ("batch", "CronJob")] {
        assert!(pod_of(group, kind, &object).is_some(), "{kind}");
    }
    assert!(pod_of("", "Service", &object).is_none());
}
