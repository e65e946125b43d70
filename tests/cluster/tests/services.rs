//! What Services and ServiceAccounts are given without being asked for.

use k8s_openapi::api::core::v1::{Endpoints, Node, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
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
