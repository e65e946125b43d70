//! ResourceQuota: how much of a namespace's allowance is used, as `kubectl describe quota` shows.
//!
//! This counts; refusing what would exceed a quota is for the API server's admission.

mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Given;
use kube::Client;
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, WorkQueue};

use crate::metadata::Monitors;
use crate::quota::usage::{Contents, used};
use crate::wiring::{Running, Wiring, enqueue_each};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "resourcequota-controller";

#[derive(Clone)]
struct Context {
    client: Client,
    quotas: Cache<ResourceQuota>,
    pods: Cache<Pod>,
    services: Cache<Service>,
    claims: Cache<PersistentVolumeClaim>,
    monitors: Monitors,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        client: wiring.client(NAME),
        quotas: wiring.caches.watch(),
        pods: wiring.caches.watch(),
        services: wiring.caches.watch(),
        claims: wiring.caches.watch(),
        monitors: wiring.monitors.clone(),
    };
    let queue = WorkQueue::new();
    enqueue_each(&context.quotas, &queue);
    wake_with(&context.quotas, &queue, &context.pods);
    wake_with(&context.quotas, &queue, &context.services);
    wake_with(&context.quotas, &queue, &context.claims);
    let (quotas, wake) = (context.quotas.clone(), queue.clone());
    wiring.monitors.listen(Arc::new(move |_, seen| {
        wake_in(&quotas, &wake, &seen.object().key().namespace);
    }));
    wiring.work(NAME, queue, context, reconcile)
}

fn wake_with<K: minik_reconcile::Cached>(
    quotas: &Cache<ResourceQuota>,
    queue: &WorkQueue<ObjectKey>,
    cache: &Cache<K>,
) {
    let (quotas, wake) = (quotas.clone(), queue.clone());
    cache.on_change(move |seen| wake_in(&quotas, &wake, &seen.object().key().namespace));
}

fn wake_in(quotas: &Cache<ResourceQuota>, queue: &WorkQueue<ObjectKey>, namespace: &str) {
    if !namespace.is_empty() {
        quotas.in_namespace(namespace).iter().for_each(|quota| queue.add(quota.key()));
    }
}

/// The status the quota should have; `None` if it has it.
fn plan(quota: &ResourceQuota, contents: &Contents) -> Option<ResourceQuotaStatus> {
    let spec = quota.spec.clone().unwrap_or_default();
    let hard = spec.hard.unwrap_or_default();
    let scopes = usage::Scopes::of(quota);
    let used: BTreeMap<String, Given> =
        hard.keys().map(|name| (name.clone(), Given(used(name, &scopes, contents)))).collect();
    let wanted = ResourceQuotaStatus { hard: Some(hard), used: Some(used) };
    (quota.status.as_ref() != Some(&wanted)).then_some(wanted)
}

/// Reconciles one quota.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(quota) = ctx.quotas.get(&key) else { return Ok(Requeue::WhenChanged) };
    let namespace = &key.namespace;
    let contents = Contents {
        pods: ctx.pods.in_namespace(namespace),
        services: ctx.services.in_namespace(namespace),
        claims: ctx.claims.in_namespace(namespace),
        counts: ctx
            .monitors
            .all()
            .into_iter()
            .filter(|monitor| monitor.kind.namespaced)
            .map(|monitor| {
                let resource = &monitor.kind.resource;
                let name = match resource.group.as_str() {
                    "" => resource.plural.clone(),
                    group => format!("{}.{group}", resource.plural),
                };
                (name, monitor.cache.in_namespace(namespace).len())
            })
            .collect(),
    };
    if let Some(status) = plan(&quota, &contents) {
        let mut written = (*quota).clone();
        written.status = Some(status);
        match Change::ReplaceStatus(Box::new(written)).apply(&ctx.client).await {
            Err(gone) if gone.error.is_not_found() => {}
            answer => ctx.quotas.caught_up(&answer?.unwrap_or_default()).await?,
        }
    }
    Ok(Requeue::WhenChanged)
}
