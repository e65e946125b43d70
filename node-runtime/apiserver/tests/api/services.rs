//! Cluster addresses and node ports.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::harness::Api;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": name}, "spec": spec});
    if service["spec"].get("ports").is_none() && service["spec"]["type"] != "ExternalName" {
        service["spec"]["ports"] = json!([{"port": 80}]);
    }
    service
}

#[tokio::test]
async fn every_service_gets_an_address_of_its_own() {
    let api = Api::new().await;
    let made: Vec<_> = (0..20)
        .map(|n| api.post(SERVICES, service(&format!("s{n}"), json!({"type": "NodePort"}))))
        .collect();
    let (mut addresses, mut ports) = (HashSet::new(), HashSet::new());
    for answer in futures::future::join_all(made).await {
        let service = answer.ok();
        let address = service["spec"]["clusterIP"].as_str().expect("address").to_owned();
        assert_eq!(service["spec"]["clusterIPs"], json!([address]));
        assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4"]));
        assert!(addresses.insert(address));
        let port = service["spec"]["ports"][0]["nodePort"].as_u64().expect("port");
        assert!((30000..=32767).contains(&port) && ports.insert(port));
    }
}

#[tokio::test]
async fn addresses_that_are_asked_for() {
    let api = Api::new().await;
    let dns = json!({"clusterIP": "10.96.0.10"});
    let made = api.post(SERVICES, service("dns", dns.clone())).await.ok();
    assert_eq!(made["spec"]["clusterIP"], "10.96.0.10");
    let taken = api.post(SERVICES, service("other", dns.clone())).await;
    assert_eq!(
        taken.failure(),
        "422 Invalid: Service \"other\" is invalid: spec.clusterIPs: Invalid value: \
         [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided IP is already allocated"
    );
    let kubernetes = json!({"clusterIP": "10.96.0.1"});
    assert_eq!(api.post(SERVICES, service("k", kubernetes)).await.code, 422);
    let outside = json!({"clusterIP": "192.168.0.1"});
    assert_eq!(api.post(SERVICES, service("o", outside)).await.code, 422);
    let moved = json!({"spec": {"clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11"]}});
    assert_eq!(api.patch(&format!("{SERVICES}/dns"), moved).await.code, 422);
    api.delete(&format!("{SERVICES}/dns")).await.ok();
    api.post(SERVICES, service("other", dns)).await.ok();
}

#[tokio::test]
async fn kinds_of_services() {
    let api = Api::new().await;
    let headless = api.post(SERVICES, service("h", json!({"clusterIP": "None"}))).await.ok();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let name = json!({"type": "ExternalName", "externalName": "example.com"});
    let name = api.post(SERVICES, service("e", name)).await.ok();
    assert_eq!(name["spec"].get("clusterIP"), None);

    let wanted = json!({"type": "NodePort", "ports": [
        {"name": "a", "port": 53, "protocol": "TCP", "nodePort": 30053},
        {"name": "b", "port": 53, "protocol": "UDP", "nodePort": 30053},
    ]});
    let both = api.post(SERVICES, service("n", wanted.clone())).await.ok();
    assert_eq!(both["spec"]["ports"][1]["nodePort"], 30053);
    assert_eq!(api.post(SERVICES, service("m", wanted)).await.code, 422, "port is taken");
    let plain = api.patch(&format!("{SERVICES}/n"), json!({"spec": {"type": "ClusterIP"}})).await;
    assert_eq!(plain.ok()["spec"]["ports"][0].get("nodePort"), None);
    let back = api.patch(&format!("{SERVICES}/n"), json!({"spec": {"type": "NodePort"}})).await;
    let back = back.ok();
    let port = back["spec"]["ports"][0]["nodePort"].as_u64().expect("port");
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let kept = api.patch(&format!("{SERVICES}/n"), label).await;
    assert_eq!(kept.ok()["spec"]["ports"][0]["nodePort"], port);
}

#[tokio::test]
async fn local_load_balancers_get_a_health_port() {
    let api = Api::new().await;
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
    let made = api.post(SERVICES, service("l", spec)).await.ok();
    let health = made["spec"]["healthCheckNodePort"].as_u64().expect("port");
    assert_ne!(made["spec"]["ports"][0]["nodePort"], health);
}
