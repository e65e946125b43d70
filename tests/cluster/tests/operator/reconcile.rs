//! The controller: a Deployment and a Service for each site, its status, and a page in the ledger
//! that only the finalizer takes out.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use crate::install::{HOME, LEDGER};
use crate::site::Site;

/// What keeps a site until its page is out of the ledger.
pub(crate) const FINALIZER: &str = "shop.example.com/ledger";
/// Under which name the operator owns fields.
pub(crate) const MANAGER: &str = "site-operator";

/// What a step of the operator can fail with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Finalizer(#[from] Box<kube::runtime::finalizer::Error<kube::Error>>),
}

struct Operator {
    client: Client,
    instance: String,
}

/// Works until it is dropped.
pub(crate) async fn run(client: Client, instance: String) {
    let everything = watcher::Config::default();
    let operator = Arc::new(Operator { client: client.clone(), instance });
    Controller::new(Api::<Site>::all(client.clone()), everything.clone())
        .owns(Api::<Deployment>::all(client.clone()), everything.clone())
        .owns(Api::<Service>::all(client), everything)
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(200)), operator)
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn reconcile(site: Arc<Site>, operator: Arc<Operator>) -> Result<Action, Failure> {
    let namespace = site.namespace().unwrap_or_default();
    let sites: Api<Site> = Api::namespaced(operator.client.clone(), &namespace);
    let done = finalizer(&sites, FINALIZER, site, |event| async {
        match event {
            Event::Apply(site) => operator.apply(&namespace, &site).await,
            Event::Cleanup(site) => operator.write_ledger(&site, Value::Null).await,
        }
    });
    Ok(done.await.map_err(Box::new)?)
}

impl Operator {
    async fn apply(&self, namespace: &str, site: &Site) -> Result<Action, kube::Error> {
        let name = site.name_any();
        let (client, as_me) = (self.client.clone(), PatchParams::apply(MANAGER).force());
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let deployment =
            deployments.patch(&name, &as_me, &Patch::Apply(deployment_of(site))).await?;
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        services.patch(&name, &as_me, &Patch::Apply(service_of(site))).await?;
        self.write_ledger(site, json!(site.spec.host)).await?;
        let sites: Api<Site> = Api::namespaced(client, namespace);
        let status = self.status_of(site, &deployment);
        sites.patch_status(&name, &as_me, &Patch::Apply(status)).await?;
        Ok(Action::await_change())
    }

    fn status_of(&self, site: &Site, deployment: &Deployment) -> Value {
        let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas);
        let ready = ready.unwrap_or_default();
        let phase = if ready == site.spec.replicas { "Ready" } else { "Pending" };
        json!({
            "apiVersion": Site::api_version(&()), "kind": Site::kind(&()),
            "status": { "phase": phase, "replicas": ready, "saidBy": self.instance,
                "selector": format!("site={}", site.name_any()),
                "observedGeneration": site.meta().generation },
        })
    }

    /// What stands outside of what the garbage collector knows.
    async fn write_ledger(&self, site: &Site, page: Value) -> Result<Action, kube::Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), HOME);
        let patch = json!({ "data": { site.name_any(): page } });
        maps.patch(LEDGER, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(Action::await_change())
    }
}

fn deployment_of(site: &Site) -> Value {
    let labels = json!({ "site": site.name_any() });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": site.name_any(), "ownerReferences": [site.controller_owner_ref(&())] },
        "spec": {
            "replicas": site.spec.replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "site", "image": site.spec.image,
                    "env": [{ "name": "HOST", "value": site.spec.host }],
                    "ports": [{ "name": "http", "containerPort": 80 }] }] },
            },
        },
    })
}

fn service_of(site: &Site) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": site.name_any(), "ownerReferences": [site.controller_owner_ref(&())] },
        "spec": { "selector": { "site": site.name_any() },
                  "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
    })
}
