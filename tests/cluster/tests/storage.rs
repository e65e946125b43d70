//! Claims and volumes: made, bound, kept while used, removed.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use minik_reconcile::KeyOf;
use minik_testkit::{Cluster, gone, until, until_list, yaml_like};
use serde_json::json;

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

#[tokio::test]
async fn a_claim_gets_a_folder_and_gives_it_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::with_volumes(folder.path()).await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    let post = PostParams::default();
    let nodes: Api<Node> = Api::all(client.clone());
    until(&nodes, "n1", "it is there", |_| true).await;
    let here = json!({ "metadata": { "labels": { "node-role.kubernetes.io/control-plane": "" } } });
    nodes.patch("n1", &PatchParams::default(), &Patch::Merge(here)).await.expect("labelled");
    let classes: Api<StorageClass> = Api::all(client.clone());
    until(&classes, "standard", "the class is made", |_| true).await;

    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "default");
    let claim: PersistentVolumeClaim = yaml_like(json!({
        "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"],
                  "resources": { "requests": { "storage": "1Gi" } } },
    }));
    claims.create(&post, &claim).await.expect("it is made");
    let bound = until(&claims, "data", "it is bound", is_bound).await;
    let volume = bound.spec.and_then(|spec| spec.volume_name).expect("a volume");
    assert!(folder.path().join(&volume).is_dir());

    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let pod: Pod = yaml_like(json!({
        "metadata": { "name": "db" },
        "spec": { "containers": [{ "name": "main", "image": "v1" }], "volumes": [
            { "name": "data", "persistentVolumeClaim": { "claimName": "data" } }] },
    }));
    pods.create(&post, &pod).await.expect("it is made");
    until(&pods, "db", "it runs", |pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
    })
    .await;

    claims.delete("data", &DeleteParams::default()).await.expect("deletion begins");
    until(&claims, "data", "it is kept while used", |claim| claim.is_terminating()).await;
    pods.delete("db", &DeleteParams::default()).await.expect("deleted");
    gone(&claims, "data").await;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    until_list(&volumes, "the volume is gone", <[PersistentVolume]>::is_empty).await;
    assert!(!folder.path().join(&volume).exists());
    cluster.stop().await;
}

#[tokio::test]
async fn a_volume_made_by_hand_is_found_and_kept() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let post = PostParams::default();
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let volume: PersistentVolume = yaml_like(json!({
        "metadata": { "name": "disk" },
        "spec": { "capacity": { "storage": "5Gi" }, "accessModes": ["ReadWriteOnce"],
                  "storageClassName": "manual", "hostPath": { "path": "/data" } },
    }));
    volumes.create(&post, &volume).await.expect("it is made");
    let phase = |volume: &PersistentVolume, wanted: &str| {
        volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(wanted)
    };
    until(&volumes, "disk", "it is free", |volume| phase(volume, "Available")).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "default");
    let claim: PersistentVolumeClaim = yaml_like(json!({
        "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
                  "resources": { "requests": { "storage": "1Gi" } } },
    }));
    claims.create(&post, &claim).await.expect("it is made");
    until(&claims, "data", "it is bound", is_bound).await;
    until(&volumes, "disk", "so is the volume", |volume| phase(volume, "Bound")).await;
    claims.delete("data", &DeleteParams::default()).await.expect("deleted");
    gone(&claims, "data").await;
    until(&volumes, "disk", "its data is kept", |volume| phase(volume, "Released")).await;
    volumes.delete("disk", &DeleteParams::default()).await.expect("deleted");
    gone(&volumes, "disk").await;
    cluster.stop().await;
}
