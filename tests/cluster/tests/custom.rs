//! Custom resources as the controllers see them: collected, counted, gone with their namespace.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use minik_testkit::{Cluster, gone, until, yaml_like};
use serde_json::json;

/// Makes the kind `Widget` and waits until it is served.
async fn define_widgets(client: &Client) -> ApiResource {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition: CustomResourceDefinition = yaml_like(json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    }));
    definitions.create(&PostParams::default(), &definition).await.expect("it is made");
    until(&definitions, "widgets.example.com", "it is established", |definition| {
        let conditions = definition.status.iter().flat_map(|status| status.conditions.iter());
        conditions.flatten().any(|one| one.type_ == "Established" && one.status == "True")
    })
    .await;
    ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Widget"))
}

fn widget(kind: &ApiResource, name: &str) -> DynamicObject {
    DynamicObject::new(name, kind)
}

/// A quota of one widget.
async fn make_quota(client: &Client) -> Api<ResourceQuota> {
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), "default");
    let hard = BTreeMap::from([("count/widgets.example.com", "1")]);
    let quota: ResourceQuota =
        yaml_like(json!({"metadata": {"name": "few"}, "spec": {"hard": hard}}));
    quotas.create(&PostParams::default(), &quota).await.expect("it is made");
    quotas
}

async fn used(quotas: &Api<ResourceQuota>, count: &str) {
    until(quotas, "few", &format!("{count} widgets are counted"), |quota| {
        let used = quota.status.as_ref().and_then(|status| status.used.as_ref());
        used.and_then(|used| used.get("count/widgets.example.com"))
            .is_some_and(|used| used.0 == count)
    })
    .await;
}

#[tokio::test]
async fn owners_and_dependents_of_any_kind() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let kind = define_widgets(&client).await;
    let post = PostParams::default();
    let widgets: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &kind);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let owner = widgets.create(&post, &widget(&kind, "owner")).await.expect("it is made");
    let owned: ConfigMap = yaml_like(json!({"metadata": {"name": "owned", "ownerReferences": [
        {"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner", "uid": owner.metadata.uid}]}}));
    maps.create(&post, &owned).await.expect("it is made");
    widgets.delete("owner", &DeleteParams::background()).await.expect("deletion begins");
    gone(&maps, "owned").await;
    cluster.stop().await;
}

#[tokio::test]
async fn quotas_count_them() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let kind = define_widgets(&client).await;
    let post = PostParams::default();
    let quotas = make_quota(&client).await;
    used(&quotas, "0").await;
    let widgets: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &kind);
    widgets.create(&post, &widget(&kind, "a")).await.expect("it is made");
    used(&quotas, "1").await;
    let refused = widgets.create(&post, &widget(&kind, "b")).await.expect_err("one too many");
    assert!(refused.to_string().contains("exceeded quota: few"), "{refused}");
    widgets.delete("a", &DeleteParams::default()).await.expect("it goes");
    used(&quotas, "0").await;
    cluster.stop().await;
}

#[tokio::test]
async fn they_go_with_their_namespace() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let kind = define_widgets(&client).await;
    let post = PostParams::default();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let shop: Namespace = yaml_like(json!({"metadata": {"name": "shop"}}));
    namespaces.create(&post, &shop).await.expect("it is made");
    let widgets: Api<DynamicObject> = Api::namespaced_with(client.clone(), "shop", &kind);
    widgets.create(&post, &widget(&kind, "a")).await.expect("it is made");
    namespaces.delete("shop", &DeleteParams::default()).await.expect("deletion begins");
    gone(&namespaces, "shop").await;
    assert!(widgets.list(&ListParams::default()).await.expect("a list").items.is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn a_kind_goes_and_comes_again() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let quotas = make_quota(&client).await;
    for round in ["first", "second"] {
        let kind = define_widgets(&client).await;
        let widgets: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &kind);
        let post = PostParams::default();
        let owner = widgets.create(&post, &widget(&kind, round)).await.expect("it is made");
        let owned: ConfigMap = yaml_like(json!({"metadata": {"name": round, "ownerReferences": [
            {"apiVersion": "example.com/v1", "kind": "Widget", "name": round, "uid": owner.metadata.uid}]}}));
        maps.create(&post, &owned).await.expect("it is made");
        // Counted is seen: the controllers follow the kind.
        used(&quotas, "1").await;
        let name = "widgets.example.com";
        definitions.delete(name, &DeleteParams::default()).await.expect("deletion begins");
        gone(&definitions, name).await;
        // What belonged to its objects goes as they went.
        gone(&maps, round).await;
    }
    cluster.stop().await;
}
