//! What goes when something goes: dependents of owners, contents of namespaces, pods of nodes.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use minik_reconcile::KeyOf;
use minik_testkit::{Cluster, deployment, gone, until, until_list, yaml_like};
use serde_json::json;
use std::time::Duration;

async fn make_deployment(client: &Client, namespace: &str, replicas: i32) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let made = deployment("web", "v1", replicas);
    deployments.create(&PostParams::default(), &made).await.expect("it is made");
    until(&deployments, "web", "all pods are up", |deployment| {
        deployment.status.as_ref().and_then(|status| status.available_replicas) == Some(replicas)
    })
    .await;
}

#[tokio::test]
async fn foreground_deletion_ends_with_the_owner() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    make_deployment(&client, "default", 2).await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    deployments.delete("web", &DeleteParams::foreground()).await.expect("deletion begins");
    gone(&deployments, "web").await;
    // Nothing to wait for: the owner goes last.
    let left = pods.list(&kube::api::ListParams::default()).await.expect("a list");
    let left: Vec<_> = left.items.iter().filter(|pod| !pod.is_terminating()).collect();
    assert!(left.is_empty(), "{left:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn orphans_stay_and_are_adopted_again() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    make_deployment(&client, "default", 2).await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), "default");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let before = until_list(&pods, "two pods", |pods| pods.len() == 2).await;

    deployments.delete("web", &DeleteParams::orphan()).await.expect("deletion begins");
    gone(&deployments, "web").await;
    until_list(&sets, "the set is nobody's", |sets| {
        sets.len() == 1 && sets[0].metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
    })
    .await;

    make_deployment(&client, "default", 2).await;
    until_list(&sets, "the set is adopted", |sets| {
        sets.len() == 1
            && sets[0].metadata.owner_references.as_ref().is_some_and(|owners| owners.len() == 1)
    })
    .await;
    let after = until_list(&pods, "two pods", |pods| pods.len() == 2).await;
    let uids = |pods: &[Pod]| -> Vec<String> {
        let mut uids: Vec<String> = pods.iter().map(|pod| pod.uid_str().to_owned()).collect();
        uids.sort();
        uids
    };
    assert_eq!(uids(&before), uids(&after), "no pod was replaced");
    cluster.stop().await;
}

#[tokio::test]
async fn what_names_an_owner_that_never_was_is_collected() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let made: ConfigMap = yaml_like(json!({ "metadata": { "name": "lost", "ownerReferences": [
        { "apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "none" }] } }));
    maps.create(&PostParams::default(), &made).await.expect("it is made");
    gone(&maps, "lost").await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_namespace_goes_with_everything_in_it() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    let post = PostParams::default();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let shop: Namespace = yaml_like(json!({ "metadata": { "name": "shop" } }));
    namespaces.create(&post, &shop).await.expect("it is made");

    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "shop");
    until(&accounts, "default", "the account is made", |_| true).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "shop");
    let ca = until(&maps, "kube-root-ca.crt", "the certificate is published", |_| true).await;
    assert_eq!(ca.data.expect("data")["ca.crt"], cluster.ca_pem);

    make_deployment(&client, "shop", 2).await;
    let held: ConfigMap = yaml_like(json!({ "metadata": {
        "name": "held", "finalizers": ["example.com/hold"] } }));
    maps.create(&post, &held).await.expect("it is made");

    namespaces.delete("shop", &DeleteParams::default()).await.expect("deletion begins");
    until(&namespaces, "shop", "it says what holds it", |namespace| {
        namespace
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|one| one.type_ == "NamespaceFinalizersRemaining" && one.status == "True")
    })
    .await;
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    maps.patch("held", &PatchParams::default(), &free).await.expect("the finalizer is removed");
    gone(&namespaces, "shop").await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
    until_list(&pods, "no pods", <[Pod]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_silent_node_is_given_up() {
    let grace = Duration::from_secs(1);
    let cluster = Cluster::with_node_grace(grace).await.expect("a cluster");
    let node = cluster.add_node("n1");
    let client = cluster.admin();
    let nodes: Api<Node> = Api::all(client.clone());
    until(&nodes, "n1", "it has its part of the pod range", |node| {
        node.spec.as_ref().is_some_and(|spec| spec.pod_cidr.as_deref() == Some("10.244.0.0/24"))
    })
    .await;
    node.silence();
    let given_up = until(&nodes, "n1", "it is unknown and tainted", |node| {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let unknown =
            conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "Unknown");
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        unknown && taints.filter(|taint| taint.key == "node.kubernetes.io/unreachable").count() == 2
    });
    given_up.await;
    cluster.stop().await;
}

#[tokio::test]
async fn pods_leave_a_node_that_is_deleted() {
    let cluster = Cluster::start().await.expect("a cluster");
    let node = cluster.add_node("n1");
    let client = cluster.admin();
    make_deployment(&client, "default", 1).await;
    node.silence();
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.delete("n1", &DeleteParams::default()).await.expect("deleted");
    let _other = cluster.add_node("n2");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    until_list(&pods, "the pod is made again elsewhere", |pods| {
        pods.len() == 1
            && pods[0].spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some("n2"))
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn objects_that_own_each_other_in_a_circle_all_go() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let mut uids = Vec::new();
    for name in ["a", "b", "c"] {
        let map: ConfigMap = yaml_like(json!({ "metadata": { "name": name } }));
        let made = maps.create(&PostParams::default(), &map).await.expect("it is made");
        uids.push(made.metadata.uid.expect("a uid"));
    }
    for (name, owner) in [("a", 2), ("b", 0), ("c", 1)] {
        let owner = json!({ "apiVersion": "v1", "kind": "ConfigMap", "controller": true,
            "name": (["a", "b", "c"][owner]), "uid": uids[owner], "blockOwnerDeletion": true });
        let patch = Patch::Merge(json!({ "metadata": { "ownerReferences": [owner] } }));
        maps.patch(name, &PatchParams::default(), &patch).await.expect("owned");
    }
    maps.delete("a", &DeleteParams::foreground()).await.expect("deletion begins");
    for name in ["a", "b", "c"] {
        gone(&maps, name).await;
    }
    cluster.stop().await;
}
