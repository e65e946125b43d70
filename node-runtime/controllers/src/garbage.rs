//! Garbage collector: an object whose owners are all gone goes too.
//!
//! ```text
//! owner deleted (background)      -> dependents are looked at, and deleted if no owner is left
//! owner waits, foregroundDeletion -> blocking dependents are deleted first, then the finalizer goes
//! owner waits, orphan             -> dependents lose the reference, then the finalizer goes
//! ```
//!
//! [`judge`] decides about one object from facts about its owners; this file gathers the facts and
//! carries the verdict out. What the watched metadata does not show is asked of the API before
//! anything is deleted: a cache may be behind.

mod departed;
mod judge;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use minik_client::ApiErrorExt;
use minik_reconcile::{KeyOf, ObjectKey, ReconcileError, Requeue, Seen, WorkQueue};
use serde_json::json;
use tracing::debug;

use crate::garbage::departed::Departed;
use crate::garbage::judge::{Dependents, FOREGROUND, ORPHAN, Owner, Verdict, has_finalizer, judge};
use crate::metadata::{Kind, Meta, Monitors, describe};
use crate::wiring::{Running, Wiring};

/// Name of the controller and of its service account.
pub(crate) const NAME: &str = "generic-garbage-collector";

/// When to look again at an object whose owner's kind is not served.
const UNKNOWN_KIND_RETRY: Duration = Duration::from_secs(300);
/// When to look again while the first lists are not complete.
const NOT_SYNCED_RETRY: Duration = Duration::from_millis(200);

/// One object to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item {
    kind: Arc<Kind>,
    key: ObjectKey,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(&self.kind, &self.key))
    }
}

#[derive(Clone)]
struct Context {
    client: Client,
    monitors: Monitors,
    queue: WorkQueue<Item>,
    departed: Departed,
}

/// Hooks the collector to the metadata of all kinds.
pub(crate) fn start(wiring: &Wiring) -> Running {
    let context = Context {
        client: wiring.client(NAME),
        monitors: wiring.monitors.clone(),
        queue: WorkQueue::new(),
        departed: Departed::default(),
    };
    let hooked = context.clone();
    context.monitors.listen(Arc::new(move |kind, seen| hooked.notice(kind, seen)));
    let queue = context.queue.clone();
    wiring.work(NAME, queue, context, reconcile)
}

impl Context {
    /// Puts everything that this change concerns into the queue.
    fn notice(&self, kind: &Arc<Kind>, seen: &Seen<'_, Meta>) {
        let object = seen.object();
        match seen {
            Seen::Deleted { .. } => {
                let dependents = self.monitors.owned_by(object.uid_str());
                if !dependents.is_empty() {
                    self.departed.add(object.uid_str());
                }
                dependents.iter().for_each(|(kind, meta)| self.add(kind, meta));
            }
            Seen::Applied { old, new } => {
                let waits = new.is_terminating();
                let became = old.is_none_or(|old| !old.is_terminating()) && waits;
                let owners_changed = old.is_none_or(|old| {
                    old.metadata.owner_references != new.metadata.owner_references
                });
                if waits && (has_finalizer(new, FOREGROUND) || has_finalizer(new, ORPHAN)) {
                    self.add(kind, new);
                    if became {
                        self.add_dependents(new.uid_str());
                    }
                } else if owners_changed && !owners(new).is_empty() && self.needs_a_look(new) {
                    self.add(kind, new);
                }
            }
        }
        self.add_waiting_owners(object);
        if let Seen::Applied { old: Some(old), .. } = seen {
            self.add_waiting_owners(old);
        }
    }

    /// An owner that waits for its dependents may have waited for this one.
    fn add_waiting_owners(&self, object: &Meta) {
        for owner in owners(object) {
            if let Some((kind, meta)) = self.cached_owner(object, owner)
                && meta.is_terminating()
            {
                self.add(&kind, &meta);
            }
        }
    }

    fn add(&self, kind: &Arc<Kind>, meta: &Meta) {
        self.queue.add(Item { kind: kind.clone(), key: meta.key() });
    }

    fn add_dependents(&self, uid: &str) {
        for (kind, meta) in self.monitors.owned_by(uid) {
            self.add(&kind, &meta);
        }
    }

    /// Whether an owner is not plainly there.
    fn needs_a_look(&self, meta: &Meta) -> bool {
        owners(meta).iter().any(|owner| {
            self.cached_owner(meta, owner).is_none_or(|(_, owner)| owner.is_terminating())
        })
    }

    /// The owner as watched, if it is the very object that the reference names.
    fn cached_owner(
        &self,
        dependent: &Meta,
        owner: &OwnerReference,
    ) -> Option<(Arc<Kind>, Arc<Meta>)> {
        let monitor = self.monitors.find(&owner.api_version, &owner.kind)?;
        let meta = monitor.cache.get(&owner_key(&monitor.kind, dependent, owner))?;
        (meta.uid_str() == owner.uid).then_some((monitor.kind, meta))
    }

    /// What is true of one owner, asking the API if the watched metadata does not show it.
    async fn owner(&self, dependent: &Meta, owner: &OwnerReference) -> Result<Owner, kube::Error> {
        if self.departed.contains(&owner.uid) {
            return Ok(Owner::Absent);
        }
        let Some(monitor) = self.monitors.find(&owner.api_version, &owner.kind) else {
            return Ok(Owner::Unknown);
        };
        if monitor.kind.namespaced && dependent.key().namespace.is_empty() {
            // A cluster-wide object cannot say in which namespace its owner would be.
            return Ok(Owner::Unknown);
        }
        let key = owner_key(&monitor.kind, dependent, owner);
        let found = match monitor.cache.get(&key).filter(|meta| meta.uid_str() == owner.uid) {
            Some(meta) => Some(meta),
            None => {
                let api = monitor.kind.metadata(&self.client, &key.namespace);
                let live = api.get_opt(&key.name).await?;
                live.filter(|meta| meta.uid_str() == owner.uid).map(Arc::new)
            }
        };
        Ok(match found {
            None => Owner::Absent,
            Some(meta) if meta.is_terminating() && has_finalizer(&meta, FOREGROUND) => {
                Owner::WaitsForDependents
            }
            Some(_) => Owner::There,
        })
    }
}

fn owners(meta: &Meta) -> &[OwnerReference] {
    meta.metadata.owner_references.as_deref().unwrap_or_default()
}

/// Where an owner is: in the namespace of its dependent, if its kind has namespaces.
fn owner_key(kind: &Kind, dependent: &Meta, owner: &OwnerReference) -> ObjectKey {
    let namespace = if kind.namespaced { dependent.key().namespace } else { String::new() };
    ObjectKey::new(namespace, &*owner.name)
}

/// Looks at one object.
async fn reconcile(ctx: Context, item: Item) -> Result<Requeue, ReconcileError> {
    if !ctx.monitors.is_synced() {
        return Ok(Requeue::After(NOT_SYNCED_RETRY));
    }
    let api = item.kind.metadata(&ctx.client, &item.key.namespace);
    // The live object: what is decided here cannot be taken back.
    let Some(meta) = api.get_opt(&item.key.name).await? else { return Ok(Requeue::WhenChanged) };

    if meta.is_terminating() {
        if has_finalizer(&meta, ORPHAN) {
            return orphan_dependents(&ctx, &item, &meta).await;
        }
        if has_finalizer(&meta, FOREGROUND) {
            return delete_dependents(&ctx, &item, &meta).await;
        }
        return Ok(Requeue::WhenChanged);
    }
    collect(&ctx, &item, &meta).await
}

/// Deletes the object if none of its owners is left; drops references to owners that are gone.
async fn collect(ctx: &Context, item: &Item, meta: &Meta) -> Result<Requeue, ReconcileError> {
    let mut facts = Vec::new();
    for owner in owners(meta) {
        facts.push((owner.uid.clone(), ctx.owner(meta, owner).await?));
    }
    match judge(&facts, dependents(ctx, meta), meta) {
        Verdict::Keep => Ok(Requeue::WhenChanged),
        Verdict::KeepForNow => Ok(Requeue::After(UNKNOWN_KIND_RETRY)),
        Verdict::DropOwners(uids) => {
            drop_owners(ctx, item, meta, &uids).await?;
            Ok(Requeue::WhenChanged)
        }
        Verdict::Unblock => {
            let mut owners = owners(meta).to_vec();
            owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
            write_owners(ctx, &item.kind, meta, &owners).await?;
            Ok(Requeue::WhenChanged)
        }
        Verdict::Delete(how) => {
            delete(ctx, item, meta, how).await?;
            Ok(Requeue::WhenChanged)
        }
    }
}

fn dependents(ctx: &Context, meta: &Meta) -> Dependents {
    let owned = ctx.monitors.owned_by(meta.uid_str());
    if owned.iter().any(|(_, one)| one.is_terminating() && has_finalizer(one, FOREGROUND)) {
        return Dependents::Waiting;
    }
    if owned.is_empty() { Dependents::None } else { Dependents::Some }
}

async fn delete(
    ctx: &Context,
    item: &Item,
    meta: &Meta,
    how: PropagationPolicy,
) -> Result<(), ReconcileError> {
    debug!(object = %item, ?how, "no owner is left: deleting");
    let options = DeleteParams {
        propagation_policy: Some(how),
        preconditions: Some(Preconditions {
            uid: meta.metadata.uid.clone(),
            resource_version: meta.metadata.resource_version.clone(),
        }),
        ..DeleteParams::default()
    };
    let api = item.kind.objects(&ctx.client, &item.key.namespace);
    match api.delete(&item.key.name, &options).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => Ok(answer.map(|_| ())?),
    }
}

/// Removes references to owners that are gone; what remains of the list is written whole, refused
/// if somebody changed it meanwhile.
async fn drop_owners(
    ctx: &Context,
    item: &Item,
    meta: &Meta,
    uids: &[String],
) -> Result<(), ReconcileError> {
    let mut left = owners(meta).to_vec();
    left.retain(|owner| !uids.contains(&owner.uid));
    write_owners(ctx, &item.kind, meta, &left).await
}

async fn write_owners(
    ctx: &Context,
    kind: &Kind,
    meta: &Meta,
    owners: &[OwnerReference],
) -> Result<(), ReconcileError> {
    let owners = (!owners.is_empty()).then_some(owners);
    patch(ctx, kind, meta, json!({ "ownerReferences": owners })).await
}

async fn remove_finalizer(
    ctx: &Context,
    item: &Item,
    meta: &Meta,
    name: &str,
) -> Result<(), ReconcileError> {
    let mut left = meta.metadata.finalizers.clone().unwrap_or_default();
    left.retain(|finalizer| finalizer != name);
    let left = (!left.is_empty()).then_some(left);
    patch(ctx, &item.kind, meta, json!({ "finalizers": left })).await
}

async fn patch(
    ctx: &Context,
    kind: &Kind,
    meta: &Meta,
    mut fields: serde_json::Value,
) -> Result<(), ReconcileError> {
    fields["uid"] = json!(meta.metadata.uid);
    fields["resourceVersion"] = json!(meta.metadata.resource_version);
    let key = meta.key();
    let api = kind.metadata(&ctx.client, &key.namespace);
    let fields = json!({ "metadata": fields });
    match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&fields)).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => Ok(answer.map(|_| ())?),
    }
}

/// Foreground deletion: dependents that block are deleted first, then the object may go.
async fn delete_dependents(
    ctx: &Context,
    item: &Item,
    meta: &Meta,
) -> Result<Requeue, ReconcileError> {
    let uid = meta.uid_str();
    let blocking: Vec<_> =
        ctx.monitors.owned_by(uid).into_iter().filter(|(_, one)| blocks(one, uid)).collect();
    if blocking.is_empty() {
        remove_finalizer(ctx, item, meta, FOREGROUND).await?;
        return Ok(Requeue::WhenChanged);
    }
    for (kind, dependent) in blocking {
        if !dependent.is_terminating() {
            ctx.add(&kind, &dependent);
        }
    }
    Ok(Requeue::WhenChanged) // Woken when one of them is gone.
}

fn blocks(dependent: &Meta, uid: &str) -> bool {
    let owners = owners(dependent).iter();
    owners.into_iter().any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
}

/// Orphaning: dependents lose the reference, then the object may go.
async fn orphan_dependents(
    ctx: &Context,
    item: &Item,
    meta: &Meta,
) -> Result<Requeue, ReconcileError> {
    let uid = meta.uid_str().to_owned();
    for (kind, dependent) in ctx.monitors.owned_by(&uid) {
        let one = Item { kind, key: dependent.key() };
        drop_owners(ctx, &one, &dependent, std::slice::from_ref(&uid)).await?;
    }
    remove_finalizer(ctx, item, meta, ORPHAN).await?;
    Ok(Requeue::WhenChanged)
}
