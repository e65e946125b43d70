//! Empties a namespace that is being deleted, then lets it go.
//!
//! Pods go first and everything else waits for them, so that what pods need is there while they
//! shut down. Objects with finalizers may take their time: the controller is woken when the last
//! object of a kind disappears.

mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue};
use std::time::Duration;

use crate::metadata::{Kind, Meta, discover};
use crate::namespace::status::{Findings, Left};
use crate::wiring::{Running, Wiring, now};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "namespace-controller";

/// Finalizer in `spec.finalizers` that this controller takes away.
const FINALIZER: &str = "kubernetes";

/// A second look in case a deletion was missed, for example of a kind that is not watched.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Context {
    client: Client,
    namespaces: Cache<Namespace>,
}

/// Hooks the controller to its caches.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context { client: wiring.client(NAME), namespaces: wiring.caches.watch() };
    let queue = WorkQueue::new();
    let terminating = queue.clone();
    context.namespaces.on_change(move |seen| {
        if let Seen::Applied { new, .. } = seen
            && new.is_terminating()
        {
            terminating.add(new.key());
        }
    });
    let (namespaces, emptier) = (context.namespaces.clone(), queue.clone());
    wiring.monitors.listen(Arc::new(move |_, seen| {
        let Seen::Deleted { last } = seen else { return };
        let namespace = ObjectKey::cluster(last.key().namespace);
        if namespaces.get(&namespace).is_some_and(|namespace| namespace.is_terminating()) {
            emptier.add(namespace);
        }
    }));
    wiring.work(NAME, queue, context, reconcile)
}

/// Kinds in the order their objects are deleted: a later group waits until the earlier is empty.
fn order(kinds: Vec<Kind>) -> [Vec<Kind>; 2] {
    let namespaced = kinds.into_iter().filter(|kind| kind.namespaced);
    let (pods, rest) =
        namespaced.partition(|kind| kind.resource.group.is_empty() && kind.resource.kind == "Pod");
    [pods, rest]
}

/// Reconciles one namespace.
async fn reconcile(ctx: Context, key: ObjectKey) -> Result<Requeue, ReconcileError> {
    let Some(namespace) = ctx.namespaces.get(&key) else { return Ok(Requeue::WhenChanged) };
    if !namespace.is_terminating() || !has_finalizer(&namespace) {
        return Ok(Requeue::WhenChanged);
    }
    let findings = match discover(&ctx.client).await {
        Ok(kinds) => empty(&ctx, &key.name, order(kinds)).await,
        Err(error) => Findings::undiscovered(&error),
    };
    let empty = findings.is_empty();
    let status = status::of(&namespace, &findings, now());
    if namespace.status.as_ref() != Some(&status) {
        let namespaces: Api<Namespace> = Api::all(ctx.client.clone());
        let mut written = (*namespace).clone();
        written.status = Some(status);
        match namespaces.replace_status(&key.name, &PostParams::default(), &written).await {
            Err(error) if error.is_not_found() => return Ok(Requeue::WhenChanged),
            answer => ctx.namespaces.caught_up(&answer?).await?,
        }
    }
    if empty {
        finalize(&ctx.client, &key.name).await?;
        return Ok(Requeue::WhenChanged);
    }
    if let Some(reason) = findings.failure() {
        return Err(ReconcileError::Other(reason));
    }
    Ok(Requeue::After(LOOK_AGAIN))
}

fn has_finalizer(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    finalizers.is_some_and(|names| names.iter().any(|name| name == FINALIZER))
}

/// Asks for the deletion of everything in the namespace, group by group; tells what is left.
async fn empty(ctx: &Context, namespace: &str, groups: [Vec<Kind>; 2]) -> Findings {
    let mut findings = Findings::default();
    for kinds in groups {
        for kind in kinds {
            match empty_of(&ctx.client, namespace, &kind).await {
                Ok(left) => findings.add(&kind.resource, left),
                Err(error) if error.is_not_found() => {} // No longer served.
                Err(error) => findings.failed(&kind.resource, &error),
            }
        }
        if !findings.is_empty() {
            return findings;
        }
    }
    findings
}

async fn empty_of(client: &Client, namespace: &str, kind: &Kind) -> Result<Left, kube::Error> {
    let there = list(client, namespace, kind).await?;
    if there.is_empty() {
        return Ok(Left::default());
    }
    if there.iter().any(|object| !object.is_terminating()) {
        delete_all(client, namespace, kind, &there).await?;
    }
    let left = list(client, namespace, kind).await?;
    let mut finalizers = BTreeMap::new();
    for name in left.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
        *finalizers.entry(name.clone()).or_insert(0) += 1;
    }
    Ok(Left { objects: left.len(), finalizers })
}

async fn list(client: &Client, namespace: &str, kind: &Kind) -> Result<Vec<Meta>, kube::Error> {
    Ok(kind.metadata(client, namespace).list(&ListParams::default()).await?.items)
}

async fn delete_all(
    client: &Client,
    namespace: &str,
    kind: &Kind,
    there: &[Meta],
) -> Result<(), kube::Error> {
    let objects = kind.objects(client, namespace);
    let how = DeleteParams::background();
    let whole = objects.delete_collection(&how, &ListParams::default()).await;
    let Err(error) = whole else { return Ok(()) };
    if !matches!(&error, kube::Error::Api(status) if status.code == 405) {
        return Err(error);
    }
    // A kind without deletecollection, services for example: one by one.
    for object in there {
        match objects.delete(&object.key().name, &how).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Takes the finalizer away through the `finalize` subresource, which removes the namespace.
async fn finalize(client: &Client, name: &str) -> Result<(), ReconcileError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let Some(mut namespace) = namespaces.get_opt(name).await? else { return Ok(()) };
    if !namespace.is_terminating() || !has_finalizer(&namespace) {
        return Ok(());
    }
    if let Some(finalizers) = namespace.spec.get_or_insert_default().finalizers.as_mut() {
        finalizers.retain(|name| name != FINALIZER);
    }
    let post = PostParams::default();
    match namespaces.replace_subresource("finalize", name, &post, &namespace).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => Ok(answer.map(|_| ())?),
    }
}

#[cfg(test)]
mod tests {
    use kube::discovery::ApiResource;

    use super::*;

    #[test]
    fn pods_go_first_and_cluster_wide_kinds_never() {
        let kind = |group: &str, kind: &str, namespaced| Kind {
            resource: ApiResource {
                group: group.to_owned(),
                version: "v1".to_owned(),
                api_version: String::new(),
                kind: kind.to_owned(),
                plural: String::new(),
            },
            namespaced,
        };
        let kinds = vec![
            kind("", "Secret", true),
            kind("", "Node", false),
            kind("", "Pod", true),
            kind("metrics.k8s.io", "Pod", true),
        ];
        let names = order(kinds).map(|group| {
            let names =
                group.iter().map(|kind| format!("{}/{}", kind.resource.group, kind.resource.kind));
            names.collect::<Vec<String>>().join(" ")
        });
        assert_eq!(names, ["/Pod", "/Secret metrics.k8s.io/Pod"]);
    }
}
