//! An operator as people write them with `kube`: a kind of its own with rules, webhooks, a
//! controller with a finalizer, several instances of which one leads. It reaches the API over TLS,
//! with the token of a service account that may do what it needs and no more.

mod election;
mod install;
mod reconcile;
mod site;
mod webhooks;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use minik_testkit::{Cluster, gone, until, until_list};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::install::{HOME, LEASE, LEDGER};
use crate::reconcile::{FINALIZER, MANAGER};
use crate::site::{Site, SiteSpec, SiteStatus};
use crate::webhooks::Webhooks;

/// A cluster in which the operator is installed, as its administrator sees it.
struct Stage {
    cluster: Cluster,
    admin: Client,
    sites: Api<Site>,
    deployments: Api<Deployment>,
    _webhooks: Webhooks,
}

impl Stage {
    async fn set() -> Stage {
        let cluster = Cluster::start().await.expect("a cluster");
        let admin = cluster.admin();
        install::define(&admin).await;
        install::install(&admin).await;
        let webhooks = Webhooks::serve().await;
        let post = PostParams::default();
        Api::all(admin.clone()).create(&post, &webhooks.mutating()).await.expect("a webhook");
        Api::all(admin.clone()).create(&post, &webhooks.validating()).await.expect("a webhook");
        Stage {
            sites: Api::default_namespaced(admin.clone()),
            deployments: Api::default_namespaced(admin.clone()),
            cluster,
            admin,
            _webhooks: webhooks,
        }
    }

    async fn start(&self, name: &str) -> Instance {
        let client = install::operator_client(&self.cluster).await;
        let task = tokio::spawn(election::instance(client, name.to_owned()));
        Instance { name: name.to_owned(), task }
    }

    async fn create(&self, name: &str, image: &str, replicas: i32) -> Result<Site, kube::Error> {
        let spec = SiteSpec { image: image.to_owned(), replicas, host: None };
        self.sites.create(&PostParams::default(), &Site::new(name, spec)).await
    }

    async fn set_spec(&self, name: &str, spec: serde_json::Value) -> Result<Site, kube::Error> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.sites.patch(name, &PatchParams::default(), &patch).await
    }

    /// Waits until the status of a site satisfies `holds`.
    async fn reported(&self, name: &str, what: &str, holds: impl Fn(&SiteStatus) -> bool) -> Site {
        until(&self.sites, name, what, |site| site.status.as_ref().is_some_and(&holds)).await
    }

    /// Waits until the lease is held as `holds` says; by whom, and how often it went over.
    async fn leader(&self, what: &str, holds: impl Fn(&str) -> bool) -> (String, i32) {
        let leases: Api<Lease> = Api::namespaced(self.admin.clone(), HOME);
        let holder = |lease: &Lease| {
            let spec = lease.spec.clone().unwrap_or_default();
            (spec.holder_identity.unwrap_or_default(), spec.lease_transitions.unwrap_or_default())
        };
        holder(&until(&leases, LEASE, what, |lease| holds(&holder(lease).0)).await)
    }
}

/// A running instance of the operator. Dropping it ends it without a word, as a crash would.
struct Instance {
    name: String,
    task: JoinHandle<()>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn said(error: &kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("not an answer of the server: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_makes_what_a_site_needs_and_takes_it_away() {
    let stage = Stage::set().await;
    let _node = stage.cluster.add_node("n1");
    let operator = stage.start("alone").await;
    let made = stage.create("shop", "web:1", 2).await.expect("it is made");
    assert_eq!(made.spec.host.as_deref(), Some("shop.example.com"), "by the webhook");

    let site = stage
        .reported("shop", "its pods are ready", |status| {
            status.phase == "Ready" && status.replicas == 2
        })
        .await;
    let status = site.status.clone().unwrap_or_default();
    assert_eq!(
        (status.said_by.as_str(), status.selector.as_str()),
        (operator.name.as_str(), "site=shop")
    );
    assert_eq!(Some(status.observed_generation), site.metadata.generation);
    assert_eq!(site.metadata.generation, Some(1), "neither status nor finalizer count");
    assert_eq!(site.finalizers(), [FINALIZER]);
    assert_owned(&stage, &site).await;

    // What somebody else changed is taken back.
    let five = Patch::Merge(json!({ "spec": { "replicas": 5 } }));
    stage.deployments.patch("shop", &PatchParams::default(), &five).await.expect("it is changed");
    until(&stage.deployments, "shop", "it has two replicas again", |deployment| {
        deployment.spec.as_ref().is_some_and(|spec| spec.replicas == Some(2))
    })
    .await;
    scales(&stage).await;

    stage.sites.delete("shop", &DeleteParams::background()).await.expect("deletion begins");
    gone(&stage.sites, "shop").await;
    let ledger: Api<ConfigMap> = Api::namespaced(stage.admin.clone(), HOME);
    let pages = ledger.get(LEDGER).await.expect("the ledger").data.unwrap_or_default();
    assert!(pages.is_empty(), "the finalizer ran before the site went: {pages:?}");
    gone(&stage.deployments, "shop").await;
    gone(&Api::<Service>::default_namespaced(stage.admin.clone()), "shop").await;
    let pods: Api<Pod> = Api::default_namespaced(stage.admin.clone());
    until_list(&pods, "no pod is left", <[Pod]>::is_empty).await;
    drop(operator);
    stage.cluster.stop().await;
}

/// The children belong to the site, and to the operator what it said of them.
async fn assert_owned(stage: &Stage, site: &Site) {
    let deployment = stage.deployments.get("shop").await.expect("a deployment");
    let services: Api<Service> = Api::default_namespaced(stage.admin.clone());
    let service = services.get("shop").await.expect("a service");
    for meta in [&deployment.metadata, &service.metadata] {
        let owners = meta.owner_references.clone().unwrap_or_default();
        assert_eq!(owners.len(), 1);
        assert_eq!(Some(&owners[0].uid), site.metadata.uid.as_ref());
        assert_eq!(owners[0].controller, Some(true));
        let managers = meta.managed_fields.clone().unwrap_or_default();
        let ours =
            managers.iter().filter(|entry| entry.manager.as_deref() == Some(MANAGER)).count();
        assert_eq!(ours, 1, "{managers:?}");
    }
    let ledger: Api<ConfigMap> = Api::namespaced(stage.admin.clone(), HOME);
    let pages = ledger.get(LEDGER).await.expect("the ledger").data.unwrap_or_default();
    assert_eq!(pages.get("shop").map(String::as_str), Some("shop.example.com"));
}

/// The subresource `scale` of the kind leads to more pods.
async fn scales(stage: &Stage) {
    let three = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    stage.sites.patch_scale("shop", &PatchParams::default(), &three).await.expect("it is scaled");
    stage.reported("shop", "three pods are ready", |status| status.replicas == 3).await;
    let scale = stage.sites.get_scale("shop").await.expect("a scale");
    let status = scale.status.expect("its status");
    assert_eq!((status.replicas, status.selector.as_deref()), (3, Some("site=shop")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_refused() {
    let stage = Stage::set().await;
    let refused = stage.create("shop", "web:latest", 1).await.expect_err("by the webhook");
    let denied = "admission webhook \"rules.sites.shop.example.com\" denied the request: the newest image is not a version";
    assert_eq!(said(&refused), (400, denied.to_owned()), "the webhook names no code");
    let (code, message) = said(&stage.create("shop", "web:1", 11).await.expect_err("too many"));
    assert_eq!(code, 422);
    assert!(
        message.contains("spec.replicas: Invalid value: 11: a site has up to ten replicas"),
        "{message}"
    );
    let long = "a-name-that-is-really-too-long";
    let (code, message) = said(&stage.create(long, "web:1", 1).await.expect_err("too long"));
    assert_eq!(code, 422);
    assert!(message.contains("the name is too long"), "{message}");

    stage.create("shop", "web:1", 1).await.expect("nothing is wrong with it");
    let refused = stage.set_spec("shop", json!({ "host": "elsewhere.example.com" })).await;
    let (code, message) = said(&refused.expect_err("it does not move"));
    assert_eq!(code, 422);
    assert!(
        message
            .contains("spec.host: Invalid value: \"elsewhere.example.com\": a site does not move"),
        "{message}"
    );
    let refused = stage.set_spec("shop", json!({ "image": "web:latest" })).await;
    assert_eq!(said(&refused.expect_err("by the webhook")).1, denied);

    let by_image = ListParams::default().fields("spec.image=web:1");
    assert_eq!(stage.sites.list(&by_image).await.expect("a list").items.len(), 1);
    let by_image = ListParams::default().fields("spec.image=web:2");
    assert!(stage.sites.list(&by_image).await.expect("a list").items.is_empty());
    stage.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_works_and_another_takes_over() {
    let stage = Stage::set().await;
    let mut instances = [Some(stage.start("a").await), Some(stage.start("b").await)];
    let (first, term) = stage.leader("somebody leads", |holder| !holder.is_empty()).await;
    assert_eq!(term, 1);
    stage.create("shop", "web:1", 0).await.expect("it is made");
    stage.reported("shop", "the leader speaks", |status| status.said_by == first).await;

    let led = instances.iter_mut().find(|one| one.as_ref().is_some_and(|one| one.name == first));
    drop(led.and_then(Option::take).expect("one of the two"));
    let (second, term) = stage
        .leader("the other one takes over", |holder| !holder.is_empty() && holder != first)
        .await;
    assert_eq!(term, 2);
    stage.set_spec("shop", json!({ "image": "web:2" })).await.expect("it is changed");
    stage.reported("shop", "the new leader speaks", |status| status.said_by == second).await;
    until(&stage.deployments, "shop", "it has the new image", |deployment| {
        let spec = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        spec.is_some_and(|spec| spec.containers[0].image.as_deref() == Some("web:2"))
    })
    .await;
    drop(instances);
    stage.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_may_do_no_more_than_it_needs() {
    let stage = Stage::set().await;
    let client = install::operator_client(&stage.cluster).await;
    stage.create("shop", "web:1", 0).await.expect("it is made");
    let sites: Api<Site> = Api::all(client.clone());
    assert_eq!(sites.list(&ListParams::default()).await.expect("a list").items.len(), 1);
    let who = "system:serviceaccount:operators:site-operator";

    let secrets: Api<Secret> = Api::all(client.clone());
    let refused = secrets.list(&ListParams::default()).await.expect_err("none of its business");
    let expected = format!(
        "secrets is forbidden: User \"{who}\" cannot list resource \"secrets\" in API group \"\" at the cluster scope"
    );
    assert_eq!(said(&refused), (403, expected));

    let sites: Api<Site> = Api::default_namespaced(client.clone());
    let refused = sites.delete("shop", &DeleteParams::default()).await.expect_err("not its own");
    assert_eq!(said(&refused).0, 403);

    let leases: Api<Lease> = Api::namespaced(client, HOME);
    let refused = leases.list(&ListParams::default()).await.expect_err("only one of them");
    assert_eq!(said(&refused).0, 403);
    let own = ListParams::default().fields(&format!("metadata.name={LEASE}"));
    assert_eq!(leases.list(&own).await.expect("by its name").items.len(), 1);
    stage.cluster.stop().await;
}
