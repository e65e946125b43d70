//! Publishes the certificate of the cluster's authority in every namespace, so that pods can check
//! whom they talk to.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use minik_reconcile::{
    Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, Selection, WorkQueue,
};

use crate::service_account::{create_once, enqueue_namespaces, takes_objects};
use crate::wiring::{Running, Wiring};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "root-ca-cert-publisher";

const MAP: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";

#[derive(Clone)]
struct Context {
    client: Client,
    ca: Arc<str>,
    namespaces: Cache<Namespace>,
    maps: Cache<ConfigMap>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        client: wiring.client(NAME),
        ca: Arc::from(wiring.config.ca_pem.as_str()),
        namespaces: wiring.caches.watch(),
        maps: wiring.caches.watch_some(Selection::all().fields(format!("metadata.name={MAP}"))),
    };
    let queue = WorkQueue::new();
    enqueue_namespaces(&context.namespaces, &queue);
    let again = queue.clone();
    context
        .maps
        .on_change(move |seen| again.add(ObjectKey::cluster(seen.object().key().namespace)));
    wiring.work(NAME, queue, context, reconcile)
}

/// What the namespace lacks.
fn plan(namespace: &Namespace, there: Option<&ConfigMap>, ca: &str) -> Option<Change<ConfigMap>> {
    if !takes_objects(namespace) {
        return None;
    }
    let data = BTreeMap::from([(FILE.to_owned(), ca.to_owned())]);
    match there {
        Some(map) if map.data.as_ref() == Some(&data) => None,
        Some(map) => Some(Change::Replace(Box::new(ConfigMap { data: Some(data), ..map.clone() }))),
        None => {
            let description = "Holds the certificate of the authority that signed the certificate \
                               of this cluster's API server.";
            Some(Change::create(ConfigMap {
                metadata: ObjectMeta {
                    name: Some(MAP.to_owned()),
                    namespace: namespace.metadata.name.clone(),
                    annotations: Some([(DESCRIPTION.to_owned(), description.to_owned())].into()),
                    ..ObjectMeta::default()
                },
                data: Some(data),
                ..ConfigMap::default()
            }))
        }
    }
}

/// Reconciles one namespace.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(namespace) = ctx.namespaces.get(&key) else { return Ok(Requeue::WhenChanged) };
    let there = ctx.maps.get(&ObjectKey::new(&*key.name, MAP));
    if let Some(change) = plan(&namespace, there.as_deref(), &ctx.ca) {
        create_once(&ctx.client, &change).await?;
    }
    Ok(Requeue::WhenChanged)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_certificate_is_published_and_kept() {
        let namespace: Namespace =
            serde_json::from_value(json!({ "metadata": { "name": "shop" } })).expect("a namespace");
        let made = plan(&namespace, None, "PEM").expect("it is missing");
        let Change::Create(map) = made else { panic!("{made:?}") };
        assert_eq!(map.data.as_ref().expect("data")["ca.crt"], "PEM");
        assert_eq!(plan(&namespace, Some(&map), "PEM"), None);
        let renewed = plan(&namespace, Some(&map), "NEW");
        assert!(matches!(renewed, Some(Change::Replace(map)) if map.data.as_ref()
            .expect("data")["ca.crt"] == "NEW"));
    }
}
