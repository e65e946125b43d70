//! From objects to the text that nft reads.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::diff::diff;
use crate::nft::render;

fn service(spec: Value) -> Arc<Service> {
    let mut service = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]},
    });
    merge(&mut service, spec);
    Arc::new(serde_json::from_value(service).expect("a service"))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A slice of `web` with endpoints `address@node` or `address@node!conditions`.
fn slice(endpoints: &[&str]) -> Arc<EndpointSlice> {
    let endpoint = |text: &&str| {
        let (text, conditions) = text.split_once('!').unwrap_or((text, "ready"));
        let (address, node) = text.split_once('@').expect("address@node");
        let has = |condition| conditions.split(',').any(|it| it == condition);
        let serving = has("ready") || has("serving");
        json!({
            "addresses": [address], "nodeName": node,
            "conditions": {"ready": has("ready"), "serving": serving, "terminating": has("terminating")},
        })
    };
    let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
    let slice = json!({
        "metadata": {"name": "web-x", "namespace": "default", "labels": {SLICE_LABEL: "web"}},
        "addressType": "IPv4", "ports": [{"port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
    });
    Arc::new(serde_json::from_value(slice).expect("a slice"))
}

const SLICE_LABEL: &str = "kubernetes.io/service-name";

fn want(spec: Value, endpoints: &[&str]) -> Desired {
    desired(&[service(spec)], &[slice(endpoints)], &Place { node: "one".into(), pods: None })
}

fn check(spec: Value, endpoints: &[&str], golden: Expect) {
    golden.assert_eq(&render(&diff(&Desired::default(), &want(spec, endpoints))));
}

#[test]
fn a_cluster_ip_leads_to_its_endpoints() {
    check(
        json!({}),
        &["10.244.0.5@one", "10.244.1.5@two", "10.244.0.6@one!"],
        expect![[r#"
            add chain ip minik svc-3b92a164-default/web/tcp/80
            add rule ip minik svc-3b92a164-default/web/tcp/80 meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.5 . 8080, 1 : 10.244.1.5 . 8080 }
            add element ip minik addresses { 10.96.0.7 . tcp . 80 : goto svc-3b92a164-default/web/tcp/80 }
            add element ip minik hairpins { 10.244.0.5 . 10.244.0.5 }
        "#]],
    );
}

#[test]
fn a_service_without_endpoints_refuses() {
    check(
        json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}}),
        &["10.244.0.5@one!"],
        expect![[r#"
            add element ip minik closed_addresses { 10.96.0.7 . tcp . 80 : goto refuse }
            add element ip minik closed_node_ports { tcp . 30080 : goto refuse }
        "#]],
    );
}

#[test]
fn terminating_endpoints_serve_while_there_are_no_others() {
    check(
        json!({}),
        &["10.244.0.5@one!serving,terminating", "10.244.0.6@one!terminating"],
        expect![[r#"
            add chain ip minik svc-3b92a164-default/web/tcp/80
            add rule ip minik svc-3b92a164-default/web/tcp/80 meta l4proto tcp dnat to 10.244.0.5:8080
            add element ip minik addresses { 10.96.0.7 . tcp . 80 : goto svc-3b92a164-default/web/tcp/80 }
            add element ip minik hairpins { 10.244.0.5 . 10.244.0.5 }
        "#]],
    );
}

#[test]
fn outside_traffic_has_the_same_road_unless_the_service_says_otherwise() {
    let spec = json!({
        "spec": {
            "type": "LoadBalancer",
            "externalIPs": ["192.0.2.1"],
            "ports": [{"port": 80, "nodePort": 30080}],
        },
        "status": {"loadBalancer": {"ingress": [
            {"ip": "192.0.2.2", "ipMode": "VIP"},
            {"ip": "192.0.2.3", "ipMode": "Proxy"},
        ]}},
    });
    check(
        spec.clone(),
        &["10.244.1.5@two"],
        expect![[r#"
            add chain ip minik svc-3b92a164-default/web/tcp/80
            add rule ip minik svc-3b92a164-default/web/tcp/80 meta l4proto tcp dnat to 10.244.1.5:8080
            add element ip minik addresses { 10.96.0.7 . tcp . 80 : goto svc-3b92a164-default/web/tcp/80 }
            add element ip minik addresses { 192.0.2.1 . tcp . 80 : goto svc-3b92a164-default/web/tcp/80 }
            add element ip minik addresses { 192.0.2.2 . tcp . 80 : goto svc-3b92a164-default/web/tcp/80 }
            add element ip minik node_ports { tcp . 30080 : goto svc-3b92a164-default/web/tcp/80 }
        "#]],
    );
    let mut local = spec.clone();
    merge(&mut local, json!({"spec": {"externalTrafficPolicy": "Local"}}));
    check(
        local,
        &["10.244.1.5@two"],
        expect![[r#"
            add chain ip minik ext-3b92a164-default/web/tcp/80
            add chain ip minik lb-3b92a164-default/web/tcp/80
            add chain ip minik svc-3b92a164-default/web/tcp/80
            add rule ip minik ext-3b92a164-default/web/tcp/80 ip saddr @pods goto svc-3b92a164-default/web/tcp/80
            add rule ip minik ext-3b92a164-default/web/tcp/80 fib saddr type local goto svc-3b92a164-default/web/tcp/80
            add rule ip minik lb-3b92a164-default/web/tcp/80 ip saddr @pods goto svc-3b92a164-default/web/tcp/80
            add rule ip minik lb-3b92a164-default/web/tcp/80 fib saddr type local goto svc-3b92a164-default/web/tcp/80
            add rule ip minik svc-3b92a164-default/web/tcp/80 meta l4proto tcp dnat to 10.244.1.5:8080
            add element ip minik addresses { 10.96.0.7 . tcp . 80 : goto svc-3b92a164-default/web/tcp/80 }
            add element ip minik addresses { 192.0.2.1 . tcp . 80 : goto ext-3b92a164-default/web/tcp/80 }
            add element ip minik addresses { 192.0.2.2 . tcp . 80 : goto lb-3b92a164-default/web/tcp/80 }
            add element ip minik node_ports { tcp . 30080 : goto ext-3b92a164-default/web/tcp/80 }
            add element ip minik closed_addresses { 192.0.2.1 . tcp . 80 : drop }
            add element ip minik closed_addresses { 192.0.2.2 . tcp . 80 : drop }
            add element ip minik closed_node_ports { tcp . 30080 : drop }
        "#]],
    );
    let mut ranges = spec;
    merge(&mut ranges, json!({"spec": {"loadBalancerSourceRanges": ["198.51.100.0/24"]}}));
    check(
        ranges,
        &["10.244.1.5@two"],
        expect![[r#"
            add chain ip minik lb-3b92a164-default/web/tcp/80
            add chain ip minik svc-3b92a164-default/web/tcp/80
            add rule ip minik lb-3b92a164-default/web/tcp/80 ip saddr != { 198.51.100.0/24 } drop
            add rule ip minik lb-3b92a164-default/web/tcp/80 goto svc-3b92a164-default/web/tcp/80
            add rule ip minik svc-3b92a164-default/web/tcp/80 meta l4proto tcp dnat to 10.244.1.5:8080
            add element ip minik addresses { 10.96.0.7 . tcp . 80 : goto svc-3b92a164-default/web/tcp/80 }
            add element ip minik addresses { 192.0.2.1 . tcp . 80 : goto svc-3b92a164-default/web/tcp/80 }
            add element ip minik addresses { 192.0.2.2 . tcp . 80 : goto lb-3b92a164-default/web/tcp/80 }
            add element ip minik node_ports { tcp . 30080 : goto svc-3b92a164-default/web/tcp/80 }
        "#]],
    );
}

#[test]
fn a_local_service_leads_only_to_this_node() {
    let spec = json!({"spec": {"internalTrafficPolicy": "Local"}});
    check(
        spec.clone(),
        &["10.244.0.5@one", "10.244.1.5@two"],
        expect![[r#"
            add chain ip minik loc-3b92a164-default/web/tcp/80
            add chain ip minik svc-3b92a164-default/web/tcp/80
            add rule ip minik loc-3b92a164-default/web/tcp/80 meta l4proto tcp dnat to 10.244.0.5:8080
            add rule ip minik svc-3b92a164-default/web/tcp/80 meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.5 . 8080, 1 : 10.244.1.5 . 8080 }
            add element ip minik addresses { 10.96.0.7 . tcp . 80 : goto loc-3b92a164-default/web/tcp/80 }
            add element ip minik hairpins { 10.244.0.5 . 10.244.0.5 }
        "#]],
    );
    check(
        spec,
        &["10.244.1.5@two"],
        expect![[r#"
            add chain ip minik svc-3b92a164-default/web/tcp/80
            add rule ip minik svc-3b92a164-default/web/tcp/80 meta l4proto tcp dnat to 10.244.1.5:8080
            add element ip minik closed_addresses { 10.96.0.7 . tcp . 80 : drop }
        "#]],
    );
}

#[test]
fn affinity_has_a_chain_and_a_set_for_each_endpoint() {
    check(
        json!({"spec": {
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        }}),
        &["10.244.1.5@two", "10.244.1.6@two"],
        expect![[r#"
            add set ip minik ep-1f7bd8ae-default/web/tcp/80/10.244.1.6/8080 { type ipv4_addr; flags dynamic,timeout; timeout 60s; size 65535; }
            add set ip minik ep-2769e322-default/web/tcp/80/10.244.1.5/8080 { type ipv4_addr; flags dynamic,timeout; timeout 60s; size 65535; }
            add chain ip minik ep-1f7bd8ae-default/web/tcp/80/10.244.1.6/8080
            add chain ip minik ep-2769e322-default/web/tcp/80/10.244.1.5/8080
            add chain ip minik svc-3b92a164-default/web/tcp/80
            add rule ip minik ep-1f7bd8ae-default/web/tcp/80/10.244.1.6/8080 update @ep-1f7bd8ae-default/web/tcp/80/10.244.1.6/8080 { ip saddr timeout 60s }
            add rule ip minik ep-1f7bd8ae-default/web/tcp/80/10.244.1.6/8080 meta l4proto tcp dnat to 10.244.1.6:8080
            add rule ip minik ep-2769e322-default/web/tcp/80/10.244.1.5/8080 update @ep-2769e322-default/web/tcp/80/10.244.1.5/8080 { ip saddr timeout 60s }
            add rule ip minik ep-2769e322-default/web/tcp/80/10.244.1.5/8080 meta l4proto tcp dnat to 10.244.1.5:8080
            add rule ip minik svc-3b92a164-default/web/tcp/80 ip saddr @ep-2769e322-default/web/tcp/80/10.244.1.5/8080 goto ep-2769e322-default/web/tcp/80/10.244.1.5/8080
            add rule ip minik svc-3b92a164-default/web/tcp/80 ip saddr @ep-1f7bd8ae-default/web/tcp/80/10.244.1.6/8080 goto ep-1f7bd8ae-default/web/tcp/80/10.244.1.6/8080
            add rule ip minik svc-3b92a164-default/web/tcp/80 numgen random mod 2 vmap { 0 : goto ep-2769e322-default/web/tcp/80/10.244.1.5/8080, 1 : goto ep-1f7bd8ae-default/web/tcp/80/10.244.1.6/8080 }
            add element ip minik addresses { 10.96.0.7 . tcp . 80 : goto svc-3b92a164-default/web/tcp/80 }
        "#]],
    );
}

#[test]
fn other_services_are_left_alone() {
    for spec in [
        json!({"spec": {"clusterIP": "None"}}),
        json!({"spec": {"type": "ExternalName", "externalName": "example.org", "clusterIP": ""}}),
        json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": "other"}}}),
        json!({"spec": {"clusterIP": "fd00::1"}}),
    ] {
        check(spec, &["10.244.1.5@two"], expect![""]);
    }
}

#[test]
fn a_change_touches_only_what_it_concerns() {
    let check = |old: &Desired, new: &Desired, golden: Expect| {
        golden.assert_eq(&render(&diff(old, new)));
    };
    let one = want(json!({}), &["10.244.1.5@two"]);
    let two = want(json!({}), &["10.244.1.5@two", "10.244.1.6@two"]);
    let none = want(json!({}), &[]);
    let sticky = want(json!({"spec": {"sessionAffinity": "ClientIP"}}), &["10.244.1.5@two"]);
    check(&one, &one, expect![""]);
    check(
        &one,
        &two,
        expect![[r#"
            flush chain ip minik svc-3b92a164-default/web/tcp/80
            add rule ip minik svc-3b92a164-default/web/tcp/80 meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.1.5 . 8080, 1 : 10.244.1.6 . 8080 }
        "#]],
    );
    check(
        &one,
        &none,
        expect![[r#"
            delete element ip minik addresses { 10.96.0.7 . tcp . 80 }
            add element ip minik closed_addresses { 10.96.0.7 . tcp . 80 : goto refuse }
            flush chain ip minik svc-3b92a164-default/web/tcp/80
            delete chain ip minik svc-3b92a164-default/web/tcp/80
        "#]],
    );
    check(
        &sticky,
        &one,
        expect![[r#"
            flush chain ip minik svc-3b92a164-default/web/tcp/80
            add rule ip minik svc-3b92a164-default/web/tcp/80 meta l4proto tcp dnat to 10.244.1.5:8080
            flush chain ip minik ep-2769e322-default/web/tcp/80/10.244.1.5/8080
            delete chain ip minik ep-2769e322-default/web/tcp/80/10.244.1.5/8080
            delete set ip minik ep-2769e322-default/web/tcp/80/10.244.1.5/8080
        "#]],
    );
}

#[test]
fn long_names_are_cut_but_stay_different() {
    let name = |end: &str| chain_name("svc", &format!("{}{end}", "n/".repeat(80)));
    assert_eq!(name("a").len(), CHAIN_NAME_BYTES_MAX);
    assert_ne!(name("a"), name("b"));
}
