//! Cases as kubectl makes them, on real kinds.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::kinds::kinds;

fn check_kind(group: &str, kind: &str, mut target: Value, patch: Value, expected: Expect) {
    let resource = kinds().by_kind(group, "v1", kind).unwrap();
    let before = target.clone();
    match apply(&resource.schema, &mut target, &patch) {
        Ok(()) => expected.assert_eq(&target.to_string()),
        Err(status) => {
            assert_eq!(target, before);
            expected.assert_eq(&format!("{}: {}", status.code, status.message));
        }
    }
}

/// Patches the spec of a pod.
fn check(target: Value, patch: Value, expected: Expect) {
    check_kind("", "Pod", json!({"spec": target}), json!({"spec": patch}), expected);
}

#[test]
fn lists_with_a_key_merge() {
    check(
        json!({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}),
        json!({"containers": [{"name": "b", "image": "z"}, {"name": "c", "image": "n"}]}),
        expect![[
            r#"{"spec":{"containers":[{"name":"a","image":"x"},{"name":"b","image":"z"},{"name":"c","image":"n"}]}}"#
        ]],
    );
}

#[test]
fn null_deletes() {
    check(
        json!({"nodeName": "n", "containers": [{"name": "a", "image": "x", "tty": true}]}),
        json!({"nodeName": null, "hostname": null, "containers": [{"name": "a", "tty": null}]}),
        expect![[r#"{"spec":{"containers":[{"name":"a","image":"x"}]}}"#]],
    );
}

#[test]
fn atomic_lists_are_replaced() {
    check(
        json!({"containers": [{"name": "a", "args": ["1", "2"]}]}),
        json!({"containers": [{"name": "a", "args": ["3"]}]}),
        expect![[r#"{"spec":{"containers":[{"name":"a","args":["3"]}]}}"#]],
    );
}

#[test]
fn items_are_deleted_by_key() {
    check(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"$patch": "delete", "name": "a"}]}),
        expect![[r#"{"spec":{"containers":[{"name":"b"}]}}"#]],
    );
    check(
        json!({"containers": [{"name": "a"}]}),
        json!({"containers": [{"$patch": "delete"}]}),
        expect!["400: map: {} does not contain declared merge key: name"],
    );
}

#[test]
fn whole_lists_and_objects_are_replaced_on_demand() {
    check(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
        expect![[r#"{"spec":{"containers":[{"name":"c"}]}}"#]],
    );
    check(
        json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}}),
        json!({"securityContext": {"$patch": "replace", "runAsUser": 3}}),
        expect![[r#"{"spec":{"securityContext":{"runAsUser":3}}}"#]],
    );
    check(
        json!({"securityContext": {"runAsUser": 1}}),
        json!({"securityContext": {"$patch": "delete"}}),
        expect![[r#"{"spec":{"securityContext":{}}}"#]],
    );
    check(
        json!({"securityContext": {"runAsUser": 1}}),
        json!({"securityContext": {"$patch": "vanish"}}),
        expect![[r#"400: unknown patch type "vanish" found in: object"#]],
    );
}

#[test]
fn order_of_elements() {
    // b and a change places; x, which only the server has, stays where it was relative to them.
    check(
        json!({"containers": [{"name": "a"}, {"name": "x"}, {"name": "b"}]}),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
        expect![[r#"{"spec":{"containers":[{"name":"x"},{"name":"b"},{"name":"a"}]}}"#]],
    );
    check(
        json!({"containers": [{"name": "a", "image": "1"}, {"name": "b"}]}),
        json!({
            "$setElementOrder/containers": [{"name": "a"}, {"name": "c"}],
            "containers": [{"name": "a", "image": "2"}, {"name": "c"}, {"$patch": "delete", "name": "b"}],
        }),
        expect![[r#"{"spec":{"containers":[{"name":"a","image":"2"},{"name":"c"}]}}"#]],
    );
    check(
        json!({}),
        json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a", "tty": null}]}),
        expect![[r#"{"spec":{"containers":[{"name":"a"}]}}"#]],
    );
    check(
        json!({"containers": [{"name": "a"}]}),
        json!({"$setElementOrder/containers": [{"name": "z"}], "containers": [{"name": "a"}]}),
        expect![[r#"
            400: The order in patch list:
            [{"name":"a"}]
             doesn't match $setElementOrder list:
            [{"name":"z"}]
        "#]],
    );
}

#[test]
fn lists_of_scalars() {
    let target = || json!({"metadata": {"finalizers": ["a", "b"]}});
    check_kind(
        "",
        "Pod",
        target(),
        json!({"metadata": {"finalizers": ["c", "a"]}}),
        expect![[r#"{"metadata":{"finalizers":["c","a","b"]}}"#]],
    );
    check_kind(
        "",
        "Pod",
        target(),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "z"]}}),
        expect![[r#"{"metadata":{"finalizers":["b"]}}"#]],
    );
    check_kind(
        "",
        "Pod",
        target(),
        json!({"metadata": {
            "$deleteFromPrimitiveList/finalizers": ["a"],
            "$setElementOrder/finalizers": ["c", "b"],
            "finalizers": ["c"],
        }}),
        expect![[r#"{"metadata":{"finalizers":["c","b"]}}"#]],
    );
}

#[test]
fn retained_keys() {
    check_kind(
        "apps",
        "Deployment",
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        expect![[r#"{"spec":{"strategy":{"type":"Recreate"}}}"#]],
    );
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
        expect![[r#"{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/x"}}]}}"#]],
    );
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {"path": "/x"}}]}),
        expect!["400: $retainKeys does not contain the patched key hostPath"],
    );
}

#[test]
fn maps_merge_key_by_key() {
    check_kind(
        "",
        "ConfigMap",
        json!({"data": {"a": "1", "b": "2"}, "metadata": {"labels": {"x": "y"}}}),
        json!({"data": {"a": null, "c": "3"}, "metadata": {"labels": {"z": "w"}}}),
        expect![[r#"{"data":{"b":"2","c":"3"},"metadata":{"labels":{"x":"y","z":"w"}}}"#]],
    );
}

#[test]
fn ports_of_services_and_containers() {
    check_kind(
        "",
        "Service",
        json!({"spec": {"ports": [{"port": 80, "nodePort": 30080, "name": "http"}]}}),
        json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}),
        expect![[
            r#"{"spec":{"ports":[{"port":80,"nodePort":30080,"name":"http","targetPort":8080}]}}"#
        ]],
    );
    check(
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}),
        json!({"containers": [{"name": "a", "ports": [{"port": 1}]}]}),
        expect![[r#"400: map: {"port":1} does not contain declared merge key: containerPort"#]],
    );
}

#[test]
fn the_three_way_patch_of_kubectl_apply() {
    // Last applied: images x:1, env A and B. Now: image x:2, env A only. Live: scaled to 3, a
    // sidecar and defaults added by others.
    check_kind(
        "apps",
        "Deployment",
        json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "1"}}, "spec": {
            "replicas": 3,
            "template": {"spec": {"containers": [
                {"name": "sidecar", "image": "s"},
                {"name": "web", "image": "x:1", "imagePullPolicy": "IfNotPresent",
                 "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            ]}},
        }}),
        json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}, "spec": {
            "template": {"spec": {
                "$setElementOrder/containers": [{"name": "web"}],
                "containers": [{
                    "name": "web", "image": "x:2",
                    "$setElementOrder/env": [{"name": "A"}],
                    "env": [{"$patch": "delete", "name": "B"}],
                }],
            }},
        }}),
        expect![[
            r#"{"metadata":{"annotations":{"deployment.kubernetes.io/revision":"1","kubectl.kubernetes.io/last-applied-configuration":"{}"}},"spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"sidecar","image":"s"},{"name":"web","image":"x:2","imagePullPolicy":"IfNotPresent","env":[{"name":"A","value":"1"}]}]}}}}"#
        ]],
    );
}
