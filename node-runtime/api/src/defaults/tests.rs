//! What is stored of what the user wrote.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::kinds::kinds;

fn check(group: &str, kind: &str, mut value: Value, expected: Expect) {
    let version = if group == "autoscaling" { "v2" } else { "v1" };
    let resource = kinds().by_kind(group, version, kind).unwrap();
    default(resource, &mut value);
    let once = value.clone();
    default(resource, &mut value);
    assert_eq!(value, once, "defaults applied twice");
    expected.assert_eq(&value.to_string());
}

#[test]
fn pods() {
    check(
        "",
        "Pod",
        json!({"metadata": {"name": "a"}, "spec": {"containers": [{
            "name": "c", "image": "nginx", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1000m"}},
            "livenessProbe": {"httpGet": {"port": 80}},
        }]}}),
        expect![[
            r#"{"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"nginx","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"limits":{"cpu":"1"},"requests":{"cpu":"1"}},"livenessProbe":{"httpGet":{"port":80,"path":"/","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"imagePullPolicy":"Always","terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"enableServiceLinks":true,"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"},"status":{"phase":"Pending"}}"#
        ]],
    );
}

#[test]
fn volumes() {
    check(
        "",
        "Pod",
        json!({"metadata": {}, "spec": {"containers": [], "serviceAccount": "x", "volumes": [
            {"name": "a"}, {"name": "b", "configMap": {"name": "c"}},
            {"name": "h", "hostPath": {"path": "/x"}},
            {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        ]}}),
        expect![[
            r#"{"metadata":{},"spec":{"containers":[],"serviceAccount":"x","volumes":[{"name":"a","emptyDir":{}},{"name":"b","configMap":{"name":"c","defaultMode":420}},{"name":"h","hostPath":{"path":"/x","type":""}},{"name":"p","projected":{"sources":[{"serviceAccountToken":{"path":"t","expirationSeconds":3600}}],"defaultMode":420}}],"enableServiceLinks":true,"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler","serviceAccountName":"x"},"status":{"phase":"Pending"}}"#
        ]],
    );
}

#[test]
fn deployments() {
    check(
        "apps",
        "Deployment",
        json!({"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]},
        }}}),
        expect![[
            r#"{"metadata":{"name":"a"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x:1","resources":{},"imagePullPolicy":"IfNotPresent","terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":"25%"}},"replicas":1,"revisionHistoryLimit":10,"progressDeadlineSeconds":600},"status":{}}"#
        ]],
    );
}

#[test]
fn services() {
    check(
        "",
        "Service",
        json!({"metadata": {"name": "a"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
        expect![[
            r#"{"metadata":{"name":"a"},"spec":{"type":"NodePort","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"sessionAffinity":"None","externalTrafficPolicy":"Cluster","internalTrafficPolicy":"Cluster"},"status":{"loadBalancer":{}}}"#
        ]],
    );
    check(
        "",
        "Service",
        json!({"metadata": {}, "spec": {"type": "ExternalName", "externalName": "x.y", "sessionAffinity": "ClientIP"}}),
        expect![[
            r#"{"metadata":{},"spec":{"type":"ExternalName","externalName":"x.y","sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}}},"status":{"loadBalancer":{}}}"#
        ]],
    );
}

#[test]
fn jobs() {
    check(
        "batch",
        "CronJob",
        json!({"metadata": {}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {}}}}}),
        expect![[
            r#"{"metadata":{},"spec":{"schedule":"* * * * *","jobTemplate":{"spec":{"template":{"metadata":{},"spec":{"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"}},"completions":1,"parallelism":1,"backoffLimit":6,"completionMode":"NonIndexed","suspend":false,"podReplacementPolicy":"TerminatingOrFailed"},"metadata":{}},"concurrencyPolicy":"Allow","suspend":false,"successfulJobsHistoryLimit":3,"failedJobsHistoryLimit":1},"status":{}}"#
        ]],
    );
}

#[test]
fn zero_values_are_stored_as_upstream_stores_them() {
    check(
        "",
        "PersistentVolumeClaim",
        json!({"metadata": {"namespace": "", "labels": {}}, "spec": {"storageClassName": "", "volumeName": "", "accessModes": []}}),
        expect![[
            r#"{"metadata":{},"spec":{"storageClassName":"","resources":{},"volumeMode":"Filesystem"},"status":{"phase":"Pending"}}"#
        ]],
    );
}

/// Clients that write protobuf send every field of a schema.
#[test]
fn schemas_inside_schemas_lose_their_zero_values_too() {
    let empty = json!({"type": "string", "format": "", "uniqueItems": false});
    let schema = json!({
        "items": empty, "additionalProperties": empty,
        "properties": {"a": {"items": [empty], "additionalProperties": false}},
        "dependencies": {"a": empty, "b": ["c"]},
    });
    check(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        json!({"spec": {"group": "g", "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}),
        expect![[
            r#"{"spec":{"group":"g","versions":[{"name":"v1","schema":{"openAPIV3Schema":{"items":{"type":"string"},"additionalProperties":{"type":"string"},"properties":{"a":{"items":[{"type":"string"}],"additionalProperties":false}},"dependencies":{"a":{"type":"string"},"b":["c"]}}},"served":false,"storage":false}],"names":{"kind":"","plural":""},"scope":"","conversion":{"strategy":"None"}},"metadata":{},"status":{"acceptedNames":{"kind":"","plural":""}}}"#
        ]],
    );
}

#[test]
fn quantities_become_canonical() {
    check(
        "",
        "ResourceQuota",
        json!({"metadata": {}, "spec": {"hard": {"cpu": "0.5", "memory": "1024Mi"}}}),
        expect![[r#"{"metadata":{},"spec":{"hard":{"cpu":"500m","memory":"1Gi"}},"status":{}}"#]],
    );
}

#[test]
fn bindings_and_webhooks() {
    check(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        json!({"metadata": {}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
        expect![[
            r#"{"metadata":{},"roleRef":{"kind":"Role","name":"r","apiGroup":"rbac.authorization.k8s.io"},"subjects":[{"kind":"User","name":"u","apiGroup":"rbac.authorization.k8s.io"},{"kind":"ServiceAccount","name":"s"}]}"#
        ]],
    );
    check(
        "autoscaling",
        "HorizontalPodAutoscaler",
        json!({"metadata": {}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3}}),
        expect![[
            r#"{"metadata":{},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"d"},"maxReplicas":3,"minReplicas":1,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]},"status":{"desiredReplicas":0}}"#
        ]],
    );
}
