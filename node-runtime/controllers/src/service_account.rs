//! Gives every namespace its `default` ServiceAccount, which pods run as that name no other.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, Change, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue};

use crate::wiring::{Running, Wiring};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "service-account-controller";

const DEFAULT: &str = "default";

#[derive(Clone)]
struct Context {
    client: Client,
    namespaces: Cache<Namespace>,
    accounts: Cache<ServiceAccount>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        client: wiring.client(NAME),
        namespaces: wiring.caches.watch(),
        accounts: wiring.caches.watch(),
    };
    let queue = WorkQueue::new();
    enqueue_namespaces(&context.namespaces, &queue);
    let again = queue.clone();
    context.accounts.on_change(move |seen| {
        if let Seen::Deleted { last } = seen
            && last.key().name == DEFAULT
        {
            again.add(ObjectKey::cluster(last.key().namespace));
        }
    });
    wiring.work(NAME, queue, context, reconcile)
}

/// Puts every namespace that is there into `queue`.
pub(crate) fn enqueue_namespaces(cache: &Cache<Namespace>, queue: &WorkQueue<ObjectKey>) {
    let queue = queue.clone();
    cache.on_change(move |seen| {
        if let Seen::Applied { new, .. } = seen {
            queue.add(new.key());
        }
    });
}

/// Whether objects can be made in this namespace.
pub(crate) fn takes_objects(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    !namespace.is_terminating() && phase != Some("Terminating")
}

/// What the namespace lacks.
fn plan(namespace: &Namespace, exists: bool) -> Option<Change<ServiceAccount>> {
    if exists || !takes_objects(namespace) {
        return None;
    }
    Some(Change::create(ServiceAccount {
        metadata: ObjectMeta {
            name: Some(DEFAULT.to_owned()),
            namespace: namespace.metadata.name.clone(),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    }))
}

/// Reconciles one namespace.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(namespace) = ctx.namespaces.get(&key) else { return Ok(Requeue::WhenChanged) };
    let exists = ctx.accounts.get(&ObjectKey::new(&*key.name, DEFAULT)).is_some();
    if let Some(change) = plan(&namespace, exists) {
        create_once(&ctx.client, &change).await?;
    }
    Ok(Requeue::WhenChanged)
}

/// Makes an object unless it is there already or its namespace is going away.
pub(crate) async fn create_once<K>(
    client: &Client,
    change: &Change<K>,
) -> Result<(), ReconcileError>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    match change.apply(client).await {
        Ok(_) => Ok(()),
        Err(refused)
            if refused.error.is_already_exists() || refused.error.is_namespace_terminating() =>
        {
            Ok(())
        }
        Err(refused) => Err(refused.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case("Active", false, true; "missing")]
    #[test_case("Active", true, false; "there")]
    #[test_case("Terminating", false, false; "going away")]
    fn a_namespace_has_a_default_account(phase: &str, exists: bool, made: bool) {
        let namespace = serde_json::from_value(json!({
            "metadata": { "name": "shop" }, "status": { "phase": phase },
        }));
        let change = plan(&namespace.expect("a namespace"), exists);
        assert_eq!(change.is_some(), made);
        if let Some(Change::Create(account)) = change {
            assert_eq!(account.key().to_string(), "shop/default");
        }
    }
}
