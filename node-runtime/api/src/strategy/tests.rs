//! What is stored, and when the generation counts.

use expect_test::{Expect, expect};
use serde_json::json;
use test_case::test_case;

use super::*;
use crate::kinds::kinds;

fn resource(group: &str, kind: &str) -> &'static Resource {
    kinds().by_kind(group, "v1", kind).unwrap()
}

fn check_create(group: &str, kind: &str, mut new: Value, expected: Expect) {
    prepare_create(resource(group, kind), &mut new);
    expected.assert_eq(&new.to_string());
}

fn check_update(group: &str, kind: &str, mut new: Value, old: Value, expected: Expect) {
    prepare_update(resource(group, kind), &mut new, &old);
    expected.assert_eq(&new.to_string());
}

#[test]
fn create_resets_what_users_do_not_own() {
    check_create(
        "apps",
        "Deployment",
        json!({"metadata": {"generation": 9, "deletionTimestamp": "x"}, "spec": {}, "status": {"replicas": 3}}),
        expect![[r#"{"metadata":{"generation":1},"spec":{},"status":{}}"#]],
    );
    check_create(
        "",
        "Pod",
        json!({"metadata": {}, "spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Running"}}),
        expect![[
            r#"{"metadata":{"generation":1},"spec":{"containers":[{"name":"a"}]},"status":{"phase":"Pending","qosClass":"BestEffort"}}"#
        ]],
    );
    check_create(
        "",
        "Namespace",
        json!({"metadata": {"name": "a"}}),
        expect![[
            r#"{"metadata":{"name":"a"},"status":{"phase":"Active"},"spec":{"finalizers":["kubernetes"]}}"#
        ]],
    );
    check_create(
        "",
        "Node",
        json!({"metadata": {"name": "a"}, "status": {"capacity": {"cpu": "1"}}}),
        expect![[r#"{"metadata":{"name":"a"},"status":{"capacity":{"cpu":"1"}}}"#]],
    );
}

#[test]
fn jobs_select_by_uid() {
    check_create(
        "batch",
        "Job",
        json!({"metadata": {"name": "j", "uid": "u"}, "spec": {}}),
        expect![[
            r#"{"metadata":{"name":"j","uid":"u","generation":1},"spec":{"template":{"metadata":{"labels":{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","controller-uid":"u","job-name":"j"}}},"selector":{"matchLabels":{"batch.kubernetes.io/controller-uid":"u"}}},"status":{}}"#
        ]],
    );
}

#[test]
fn updates_count_changes_of_the_spec() {
    let old = || json!({"metadata": {"generation": 4, "uid": "u"}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
    check_update(
        "apps",
        "Deployment",
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1}, "status": {"replicas": 9}}),
        old(),
        expect![[
            r#"{"metadata":{"labels":{"a":"b"},"uid":"u","generation":4},"spec":{"replicas":1},"status":{"replicas":1}}"#
        ]],
    );
    check_update(
        "apps",
        "Deployment",
        json!({"metadata": {}, "spec": {"replicas": 2}}),
        old(),
        expect![[
            r#"{"metadata":{"uid":"u","generation":5},"spec":{"replicas":2},"status":{"replicas":1}}"#
        ]],
    );
    check_update(
        "apps",
        "Deployment",
        json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"replicas": 1}}),
        old(),
        expect![[
            r#"{"metadata":{"annotations":{"a":"b"},"uid":"u","generation":5},"spec":{"replicas":1},"status":{"replicas":1}}"#
        ]],
    );
}

#[test]
fn status_updates_take_only_the_status() {
    let mut new = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"replicas": 9}, "status": {"replicas": 2}});
    let old = json!({"kind": "Deployment", "metadata": {"generation": 4}, "spec": {"replicas": 1}, "status": {}});
    prepare_status_update(resource("apps", "Deployment"), &mut new, &old);
    expect![[r#"{"kind":"Deployment","metadata":{"generation":4},"spec":{"replicas":1},"status":{"replicas":2}}"#]]
        .assert_eq(&new.to_string());
}

#[test]
fn services_keep_addresses_and_node_ports() {
    let old = json!({"metadata": {}, "spec": {
        "type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
        "externalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}],
    }});
    check_update(
        "",
        "Service",
        json!({"metadata": {}, "spec": {"type": "NodePort", "ports": [
            {"port": 443, "protocol": "TCP"}, {"port": 80, "protocol": "TCP"}]}}),
        old.clone(),
        expect![[
            r#"{"metadata":{},"spec":{"type":"NodePort","ports":[{"port":443,"protocol":"TCP"},{"port":80,"protocol":"TCP","nodePort":30001}],"clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9"]},"status":{"loadBalancer":{}}}"#
        ]],
    );
    let mut to_cluster_ip = old.clone();
    to_cluster_ip["spec"]["type"] = "ClusterIP".into();
    check_update(
        "",
        "Service",
        to_cluster_ip,
        old,
        expect![[
            r#"{"metadata":{},"spec":{"type":"ClusterIP","clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9"],"ports":[{"port":80,"protocol":"TCP"}]},"status":{"loadBalancer":{}}}"#
        ]],
    );
}

#[test_case(json!({}), "BestEffort")]
#[test_case(json!({"requests": {"cpu": "1"}}), "Burstable")]
#[test_case(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"; "requests follow limits")]
#[test_case(json!({"requests": {"cpu": "1000m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed")]
#[test_case(json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}), "Burstable")]
#[test_case(json!({"limits": {"cpu": "1"}}), "Burstable"; "one limit is not enough")]
fn qos(resources: Value, expected: &str) {
    let pod = json!({"spec": {"containers": [{"resources": resources}]}});
    assert_eq!(qos_class(&pod), expected);
}
