//! The whole road: from the manifest through the real kubelet to the (scripted) runtime and back.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use minik_cri::fake::Script;
use minik_testkit::{Cluster, deployment, gone, until, until_list, yaml_like};
use serde_json::json;

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn a_node_joins_and_runs_a_deployment() {
    let cluster = Cluster::start().await.expect("a cluster");
    let node = cluster.add_scripted_node("n1").expect("a node");
    let client = cluster.admin();
    let nodes: Api<Node> = Api::all(client.clone());
    until(&nodes, "n1", "it is ready", is_ready).await;
    until(&nodes, "n1", "it is not tainted", |node| {
        node.spec.as_ref().is_none_or(|spec| spec.taints.as_ref().is_none_or(Vec::is_empty))
    })
    .await;

    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let web = deployment("web", "web", 2);
    deployments.create(&PostParams::default(), &web).await.expect("it is made");
    until(&deployments, "web", "both pods are available", |deployment| {
        deployment.status.as_ref().and_then(|status| status.available_replicas) == Some(2)
    })
    .await;
    assert_eq!(node.runtime.running_count(), 2);

    deployments.delete("web", &DeleteParams::background()).await.expect("deleted");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    until_list(&pods, "no pods", <[Pod]>::is_empty).await;
    assert_eq!(node.runtime.running_count(), 0);
    cluster.stop().await;
}

#[tokio::test]
async fn a_container_that_ends_comes_back() {
    let cluster = Cluster::start().await.expect("a cluster");
    let node = cluster.add_scripted_node("n1").expect("a node");
    let client = cluster.admin();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let pod: Pod = yaml_like(json!({
        "metadata": { "name": "web" },
        "spec": { "containers": [{ "name": "main", "image": "web" }] },
    }));
    pods.create(&PostParams::default(), &pod).await.expect("it is made");
    until(&pods, "web", "it runs", |pod| phase(pod) == "Running").await;
    assert!(node.runtime.exit("web", "main", 1), "it ran");
    until(&pods, "web", "it was started again", |pod| {
        let status = pod.status.as_ref();
        let containers = status.and_then(|status| status.container_statuses.as_deref());
        containers.unwrap_or_default().iter().any(|one| one.restart_count == 1 && one.ready)
    })
    .await;
    pods.delete("web", &DeleteParams::default()).await.expect("deleted");
    gone(&pods, "web").await;
    cluster.stop().await;
}

#[tokio::test]
async fn what_a_pod_needs_may_come_later() {
    let cluster = Cluster::start().await.expect("a cluster");
    let node = cluster.add_scripted_node("n1").expect("a node");
    let ends = Script { exits: Some((Duration::ZERO, 0)), ..Script::default() };
    node.runtime.script("once", ends);
    let client = cluster.admin();
    let post = PostParams::default();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let pod: Pod = yaml_like(json!({
        "metadata": { "name": "task" },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "main", "image": "once", "env": [
                { "name": "MODE", "valueFrom": { "configMapKeyRef": {
                    "name": "settings", "key": "mode" } } },
                { "name": "TOKEN", "valueFrom": { "secretKeyRef": {
                    "name": "keys", "key": "token" } } }] }],
        },
    }));
    pods.create(&post, &pod).await.expect("it is made");
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let map: ConfigMap =
        yaml_like(json!({ "metadata": { "name": "settings" }, "data": { "mode": "fast" } }));
    maps.create(&post, &map).await.expect("it is made");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let secret: Secret =
        yaml_like(json!({ "metadata": { "name": "keys" }, "stringData": { "token": "abc" } }));
    secrets.create(&post, &secret).await.expect("it is made");
    until(&pods, "task", "it has succeeded", |pod| phase(pod) == "Succeeded").await;
    let made = node.runtime.container_config("task", "main").expect("it was made");
    let mode = made.envs.iter().find(|env| env.key == "MODE").map(|env| env.value.as_slice());
    assert_eq!(mode, Some(b"fast".as_slice()));
    cluster.stop().await;
}
