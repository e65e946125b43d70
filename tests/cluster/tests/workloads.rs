//! Deployments from the manifest to endpoints: made, changed, taken back, scaled, deleted.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use minik_reconcile::KeyOf;
use minik_testkit::{Cluster, deployment, service, until, until_list};
use serde_json::json;

fn here<K>(client: &Client) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client.clone(), "default")
}

fn image_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_deref()).unwrap_or_default()
}

fn is_rolled_out(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == wanted
        && status.available_replicas == wanted
        && status.replicas == wanted
}

async fn merge(client: &Client, name: &str, fields: serde_json::Value) {
    let deployments: Api<Deployment> = here(client);
    let patch = Patch::Strategic(&fields);
    deployments.patch(name, &PatchParams::default(), &patch).await.expect("the patch is taken");
}

fn with_image(image: &str) -> serde_json::Value {
    json!({ "spec": { "template": { "spec": {
        "containers": [{ "name": "main", "image": image }] } } } })
}

async fn rolled_out(client: &Client, replicas: i32, image: &str) {
    let post = PostParams::default();
    let deployments: Api<Deployment> = here(client);
    deployments.create(&post, &deployment("web", image, replicas)).await.expect("it is made");
    until(&deployments, "web", "the rollout is complete", is_rolled_out).await;
}

#[tokio::test]
async fn a_deployment_gets_pods_and_its_service_their_addresses() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    let services: Api<Service> = here(&client);
    services.create(&PostParams::default(), &service("web")).await.expect("it is made");
    rolled_out(&client, 2, "v1").await;

    let slices: Api<EndpointSlice> = here(&client);
    let slices = until_list(&slices, "a slice holds both pods", |slices| {
        slices.iter().any(|slice| {
            slice.label("kubernetes.io/service-name") == Some("web")
                && slice.endpoints.as_ref().is_some_and(|list| list.len() == 2)
        })
    });
    let slices = slices.await;
    let slice = slices.iter().find(|one| one.label("kubernetes.io/service-name") == Some("web"));
    let ports = slice.and_then(|slice| slice.ports.clone()).expect("ports");
    assert_eq!(ports[0].port, Some(8080), "the name is looked up in the pod");

    let endpoints: Api<Endpoints> = here(&client);
    until(&endpoints, "web", "both addresses are listed", |endpoints| {
        let subsets = endpoints.subsets.as_deref().unwrap_or_default();
        subsets.iter().flat_map(|subset| subset.addresses.iter().flatten()).count() == 2
    })
    .await;

    let pods: Api<Pod> = here(&client);
    let pods = until_list(&pods, "two pods", |pods| pods.len() == 2).await;
    assert!(pods.iter().all(|pod| {
        pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some("n1"))
    }));
    cluster.stop().await;
}

#[tokio::test]
async fn a_rollout_replaces_the_pods_and_undo_brings_them_back() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    rolled_out(&client, 3, "v1").await;
    let deployments: Api<Deployment> = here(&client);
    let pods: Api<Pod> = here(&client);

    merge(&client, "web", with_image("v2")).await;
    until(&deployments, "web", "v2 is rolled out", is_rolled_out).await;
    until_list(&pods, "only v2 runs", |pods| {
        pods.len() == 3 && pods.iter().all(|pod| image_of(pod) == "v2")
    })
    .await;

    merge(&client, "web", with_image("v1")).await;
    let back = until(&deployments, "web", "v1 is back", is_rolled_out).await;
    assert_eq!(back.annotation("deployment.kubernetes.io/revision"), Some("3"));
    until_list(&pods, "only v1 runs", |pods| {
        pods.len() == 3 && pods.iter().all(|pod| image_of(pod) == "v1")
    })
    .await;
    let sets: Api<ReplicaSet> = here(&client);
    until_list(&sets, "one set for each template", |sets| sets.len() == 2).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_broken_rollout_keeps_the_old_pods() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    rolled_out(&client, 4, "v1").await;
    merge(&client, "web", with_image("bad")).await;
    let pods: Api<Pod> = here(&client);
    until_list(&pods, "the limits are used up", |pods| {
        let old = pods.iter().filter(|pod| image_of(pod) == "v1" && !pod.is_terminating()).count();
        let new = pods.iter().filter(|pod| image_of(pod) == "bad").count();
        (old, new) == (3, 2)
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn scaling_and_deleting() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    rolled_out(&client, 1, "v1").await;
    let deployments: Api<Deployment> = here(&client);
    let pods: Api<Pod> = here(&client);
    let scale = |replicas: i32| json!({ "spec": { "replicas": replicas } });

    let params = PatchParams::default();
    deployments.patch_scale("web", &params, &Patch::Merge(&scale(5))).await.expect("scaled up");
    until_list(&pods, "five pods", |pods| pods.len() == 5).await;
    deployments.patch_scale("web", &params, &Patch::Merge(&scale(2))).await.expect("scaled down");
    until_list(&pods, "two pods", |pods| pods.len() == 2).await;

    deployments.delete("web", &DeleteParams::background()).await.expect("deleted");
    until_list(&pods, "no pods", <[Pod]>::is_empty).await;
    let sets: Api<ReplicaSet> = here(&client);
    until_list(&sets, "no sets", <[ReplicaSet]>::is_empty).await;
    cluster.stop().await;
}
