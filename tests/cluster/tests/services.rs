//! What Services and ServiceAccounts are given without being asked for.

use k8s_openapi::api::core::v1::{Endpoints, Node, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use minik_reconcile::KeyOf;
use minik_testkit::{Cluster, gone, until, until_list, yaml_like};
use serde_json::json;

#[tokio::test]
async fn endpoints_written_by_hand_are_copied() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let post = PostParams::default();
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let service: Service = yaml_like(json!({
        "metadata": { "name": "db" }, "spec": { "ports": [{ "port": 5432 }] } }));
    services.create(&post, &service).await.expect("it is made");
    let endpoints: Api<Endpoints> = Api::namespaced(client.clone(), "default");
    let by_hand: Endpoints = yaml_like(json!({ "metadata": { "name": "db" }, "subsets": [
        { "addresses": [{ "ip": "203.0.113.7" }], "ports": [{ "port": 5432 }] }] }));
    endpoints.create(&post, &by_hand).await.expect("it is made");
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    until_list(&slices, "the address is copied", |slices| {
        slices.iter().any(|slice| {
            slice.label("kubernetes.io/service-name") == Some("db")
                && slice.endpoints.iter().flatten().any(|one| one.addresses == ["203.0.113.7"])
        })
    })
    .await;
    endpoints.delete("db", &DeleteParams::default()).await.expect("deleted");
    until_list(&slices, "the copy goes too", |slices| {
        slices.iter().all(|slice| slice.label("kubernetes.io/service-name") != Some("db"))
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_load_balancer_is_a_node() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    let nodes: Api<Node> = Api::all(client.clone());
    until(&nodes, "n1", "it has an address", |node| {
        node.status.as_ref().is_some_and(|status| status.addresses.is_some())
    })
    .await;
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let service: Service = yaml_like(json!({ "metadata": { "name": "web" },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] } }));
    services.create(&PostParams::default(), &service).await.expect("it is made");
    until(&services, "web", "it has the node's address", |service| {
        let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
        ingress.iter().any(|one| one.ip.as_deref() == Some("127.0.0.1"))
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_token_secret_is_filled_and_goes_with_its_account() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let post = PostParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let robot: ServiceAccount = yaml_like(json!({ "metadata": { "name": "robot" } }));
    accounts.create(&post, &robot).await.expect("it is made");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let secret: Secret = yaml_like(json!({
        "metadata": { "name": "robot-token", "annotations": {
            "kubernetes.io/service-account.name": "robot" } },
        "type": "kubernetes.io/service-account-token",
    }));
    secrets.create(&post, &secret).await.expect("it is made");
    until(&secrets, "robot-token", "it holds a token", |secret| {
        secret.data.as_ref().is_some_and(|data| data.contains_key("token"))
    })
    .await;
    accounts.delete("robot", &DeleteParams::default()).await.expect("deleted");
    gone(&secrets, "robot-token").await;
    cluster.stop().await;
}

#[tokio::test]
async fn services_get_addresses_of_ranges_that_are_added() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let (post, delete) = (PostParams::default(), DeleteParams::default());
    let ranges: Api<ServiceCIDR> = Api::all(client.clone());
    let addresses: Api<IPAddress> = Api::all(client.clone());
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    until(&addresses, "10.96.0.1", "the address of the API has its object", |_| true).await;

    let wanted: Service = yaml_like(json!({ "metadata": { "name": "far" },
        "spec": { "clusterIP": "203.0.113.10", "ports": [{ "port": 80 }] } }));
    let refused = services.create(&post, &wanted).await.expect_err("no such range yet");
    assert!(refused.to_string().contains("does not match the current range"), "{refused}");
    let range: ServiceCIDR = yaml_like(json!({ "metadata": { "name": "more" },
        "spec": { "cidrs": ["203.0.113.0/24"] } }));
    ranges.create(&post, &range).await.expect("it is made");
    let status = |range: &ServiceCIDR| {
        let conditions = range.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().find(|one| one.type_ == "Ready").map(|one| one.status.clone())
    };
    let ready = |range: &ServiceCIDR| status(range).as_deref() == Some("True");
    until(&ranges, "more", "it is ready", ready).await;
    services.create(&post, &wanted).await.expect("now it is in a range");
    let address = until(&addresses, "203.0.113.10", "its object is made", |_| true).await;
    let parent = address.spec.parent_ref;
    assert_eq!((&*parent.resource, &*parent.name), ("services", "far"));

    ranges.delete("more", &delete).await.expect("deletion begins");
    let waits = |range: &ServiceCIDR| status(range).as_deref() == Some("False");
    until(&ranges, "more", "it waits for its address", waits).await;
    services.delete("far", &delete).await.expect("deleted");
    gone(&addresses, "203.0.113.10").await;
    gone(&ranges, "more").await;
    cluster.stop().await;
}
