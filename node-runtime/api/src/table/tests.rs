//! Rows as kubectl prints them.

use ::time::macros::datetime;
use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::kinds::kinds;

fn check(group: &str, kind: &str, mut item: Value, expected: Expect) {
    let version = if group == "autoscaling" { "v2" } else { "v1" };
    let resource = kinds().by_kind(group, version, kind).unwrap();
    object::set(&mut item, &["metadata", "creationTimestamp"], "2026-01-01T00:00:00Z");
    let table = render(
        resource,
        [&item],
        json!({"resourceVersion": "7"}),
        IncludeObject::None,
        datetime!(2026-01-01 00:05 UTC),
    );
    let text = |value: &Value| plain_text(value);
    let names = table["columnDefinitions"].as_array().unwrap().iter().map(|one| text(&one["name"]));
    let cells = table["rows"][0]["cells"].as_array().unwrap().iter().map(text);
    let lines: Vec<String> =
        names.zip(cells).map(|(name, cell)| format!("{name}={cell}")).collect();
    expected.assert_eq(&lines.join(" | "));
}

#[test]
fn every_named_cell_has_a_function() {
    for resource in kinds().all() {
        for column in &resource.columns {
            if let Cell::Named(name) = &column.cell {
                assert!(cells::function(name).is_some(), "{}: @{name}", resource.plural);
            }
        }
    }
}

fn pod(status: Value) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n1"},
        "status": status,
    })
}

#[test]
fn a_running_pod() {
    check(
        "",
        "Pod",
        pod(json!({
            "phase": "Running", "podIPs": [{"ip": "10.244.0.5"}],
            "containerStatuses": [
                {"name": "a", "ready": true, "state": {"running": {}}},
                {"name": "b", "ready": true, "restartCount": 2, "state": {"running": {}},
                 "lastState": {"terminated": {"finishedAt": "2026-01-01T00:04:00Z"}}},
            ],
        })),
        expect![
            "Name=web | Ready=2/2 | Status=Running | Restarts=2 (60s ago) | Age=5m | IP=10.244.0.5 | Node=n1 | Nominated Node=<none> | Readiness Gates=<none>"
        ],
    );
}

fn check_status(pod: Value, expected: &str) {
    let now = datetime!(2026-01-01 00:05 UTC);
    let shown =
        format!("{} {}", plain_text(&pods::ready(&pod, now)), plain_text(&pods::status(&pod, now)));
    assert_eq!(shown, expected);
}

#[test]
fn pod_status_words() {
    check_status(pod(json!({"phase": "Pending"})), "0/2 Pending");
    let waiting = |reason: &str| {
        pod(json!({"phase": "Running", "containerStatuses": [
            {"name": "a", "ready": true, "state": {"running": {}}},
            {"name": "b", "state": {"waiting": {"reason": reason}}},
        ]}))
    };
    check_status(waiting("CrashLoopBackOff"), "1/2 CrashLoopBackOff");
    check_status(waiting("ImagePullBackOff"), "1/2 ImagePullBackOff");
    let ended = |state: Value| {
        pod(
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": state}}]}),
        )
    };
    check_status(ended(json!({"exitCode": 1, "reason": "Error"})), "0/2 Error");
    check_status(ended(json!({"exitCode": 3})), "0/2 ExitCode:3");
    check_status(ended(json!({"exitCode": 137, "signal": 9})), "0/2 Signal:9");
    check_status(pod(json!({"phase": "Failed", "reason": "Evicted"})), "0/2 Evicted");
    let half_done = pod(json!({"phase": "Running", "containerStatuses": [
        {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
        {"name": "b", "ready": true, "state": {"running": {}}},
    ]}));
    check_status(half_done, "1/2 NotReady");
}

#[test]
fn pods_that_start_or_end() {
    let init = |statuses: Value| {
        let mut pod = pod(json!({"phase": "Pending", "initContainerStatuses": statuses}));
        pod["spec"]["initContainers"] = json!([{"name": "i"}, {"name": "j"}]);
        pod
    };
    check_status(
        init(
            json!([{"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]),
        ),
        "0/2 Init:1/2",
    );
    check_status(
        init(json!([{"name": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}])),
        "0/2 Init:CrashLoopBackOff",
    );
    check_status(
        init(json!([{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}])),
        "0/2 Init:Error",
    );
    let mut gone = pod(json!({"phase": "Running"}));
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    check_status(gone.clone(), "0/2 Terminating");
    gone["status"]["phase"] = "Succeeded".into();
    check_status(gone, "0/2 Succeeded");
    let gated = pod(json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}));
    check_status(gated, "0/2 SchedulingGated");
}

#[test]
fn a_sidecar_counts_as_a_container() {
    let mut pod = pod(json!({
        "phase": "Running",
        "conditions": [{"type": "Initialized", "status": "True"}],
        "initContainerStatuses": [
            {"name": "s", "ready": true, "started": true, "restartCount": 1, "state": {"running": {}}},
        ],
        "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}}],
    }));
    pod["spec"]["initContainers"] = json!([{"name": "s", "restartPolicy": "Always"}]);
    check_status(pod, "2/3 Running");
}

#[test]
fn workloads() {
    let template = json!({"spec": {"containers": [{"name": "c", "image": "nginx:1"}]}});
    check(
        "apps",
        "Deployment",
        json!({
            "metadata": {"name": "web"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2},
        }),
        expect![
            "Name=web | Ready=2/3 | Up-to-date=3 | Available=2 | Age=5m | Containers=c | Images=nginx:1 | Selector=app=web"
        ],
    );
    check(
        "batch",
        "Job",
        json!({
            "metadata": {"name": "j"},
            "spec": {"completions": 2, "template": {"spec": {}}},
            "status": {
                "succeeded": 2, "startTime": "2026-01-01T00:00:00Z",
                "completionTime": "2026-01-01T00:00:30Z",
                "conditions": [{"type": "Complete", "status": "True"}],
            },
        }),
        expect![
            "Name=j | Status=Complete | Completions=2/2 | Duration=30s | Age=5m | Containers= | Images= | Selector=<none>"
        ],
    );
}

#[test]
fn services_and_nodes() {
    check(
        "",
        "Service",
        json!({
            "metadata": {"name": "web"},
            "spec": {
                "type": "NodePort", "clusterIP": "10.96.0.7", "selector": {"b": "2", "a": "1"},
                "ports": [
                    {"port": 80, "nodePort": 30080, "protocol": "TCP"},
                    {"port": 53, "protocol": "UDP"},
                ],
            },
        }),
        expect![
            "Name=web | Type=NodePort | Cluster-IP=10.96.0.7 | External-IP=<none> | Port(s)=80:30080/TCP,53/UDP | Age=5m | Selector=a=1,b=2"
        ],
    );
    check(
        "",
        "Node",
        json!({
            "metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "192.168.39.2"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.12"},
            },
        }),
        expect![
            "Name=n1 | Status=Ready,SchedulingDisabled | Roles=control-plane | Age=5m | Version=v1.36.0 | Internal-IP=192.168.39.2 | External-IP=<none> | OS-Image=Debian | Kernel-Version=6.12 | Container-Runtime=<unknown>"
        ],
    );
}

#[test]
fn configuration_and_events() {
    check(
        "",
        "ConfigMap",
        json!({"metadata": {"name": "c"}, "data": {"a": "", "b": ""}, "binaryData": {"c": ""}}),
        expect!["Name=c | Data=3 | Age=5m"],
    );
    check(
        "",
        "Event",
        json!({
            "metadata": {"name": "e.1"}, "type": "Warning", "reason": "BackOff",
            "involvedObject": {"kind": "Pod", "name": "web"}, "message": "no luck \n",
            "source": {"component": "kubelet", "host": "n1"}, "count": 4,
            "firstTimestamp": "2026-01-01T00:01:00Z", "lastTimestamp": "2026-01-01T00:04:30Z",
        }),
        expect![
            "Last Seen=30s | Type=Warning | Reason=BackOff | Object=pod/web | Subobject= | Source=kubelet, n1 | Message=no luck | First Seen=4m | Count=4 | Name=e.1"
        ],
    );
    check(
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        json!({
            "metadata": {"name": "admins"},
            "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [
                {"kind": "Group", "name": "system:masters"},
                {"kind": "ServiceAccount", "namespace": "a", "name": "b"},
            ],
        }),
        expect![
            "Name=admins | Role=ClusterRole/cluster-admin | Age=5m | Users= | Groups=system:masters | ServiceAccounts=a/b"
        ],
    );
    check(
        "autoscaling",
        "HorizontalPodAutoscaler",
        json!({
            "metadata": {"name": "h"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 5,
                "metrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
            },
        }),
        expect![
            "Name=h | Reference=Deployment/web | Targets=cpu: <unknown>/80% | MinPods=<unset> | MaxPods=5 | Replicas=0 | Age=5m"
        ],
    );
}

#[test]
fn objects_in_rows() {
    let resource = kinds().by_kind("", "v1", "ConfigMap").unwrap();
    let item = json!({"metadata": {"name": "c"}, "data": {"a": "b"}});
    let now = datetime!(2026-01-01 00:00 UTC);
    let object = |include| row(resource, &item, include, now).get("object").cloned();
    assert_eq!(object(IncludeObject::None), None);
    assert_eq!(object(IncludeObject::Object), Some(item.clone()));
    assert_eq!(
        object(IncludeObject::Metadata),
        Some(json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": "c"},
        }))
    );
    let first = render_event(resource, &item, true, IncludeObject::None, now);
    let next = render_event(resource, &item, false, IncludeObject::None, now);
    assert!(first["columnDefinitions"].is_array() && next["columnDefinitions"].is_null());
}
