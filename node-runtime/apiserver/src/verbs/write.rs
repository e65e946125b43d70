//! The road every write takes: metadata, defaults, admission, validation, compare-and-swap.

use std::sync::Arc;

use bytes::Bytes;
use minik_api::{Resource, apply, default, scale, strategy};
use minik_meta::{Reason, Status, names, object, time};
use minik_store::{Durability, Expect, Op, Revision, StoreError, Write};
use serde_json::Value;

use crate::admission;
use crate::call::Call;
use crate::owners::{Owners, Writer};
use crate::{convert, objects, rules};

/// Makes the wanted state of an object from its current one. Pure: it may be called again.
pub(crate) type Change<'a> = Box<dyn Fn(&Value) -> Result<Value, Status> + Send + Sync + 'a>;

/// Which part of an object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but the status.
    Main,
    /// The status only.
    Status,
    /// Exactly what the subresource changed: finalizers, conditions.
    Other,
    /// The node of a pod.
    Binding,
    /// The replicas, by way of a `Scale`: that is what the change gets and makes.
    Scale,
}

/// How often a change is tried again on the newest state before the client is told to.
const TRIES_MAX: usize = 16;

/// How often a generated name is tried again when it is taken.
const NAME_TRIES_MAX: usize = 8;

/// Metadata that only the server writes.
const SERVER_METADATA: &[&str] = &[
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
];

/// Whether a PUT of an object that does not exist creates it.
pub(crate) fn creates_on_update(kind: &Resource) -> bool {
    matches!(
        (kind.group.as_ref(), kind.plural.as_ref()),
        ("coordination.k8s.io", "leases")
            | ("", "endpoints" | "events" | "limitranges")
            | ("events.k8s.io", "events")
            | (
                "rbac.authorization.k8s.io",
                "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings"
            )
    )
}

/// Whether a kind's objects are worth a disk write: those renewed all the time are not.
fn durability(kind: &Resource) -> Durability {
    match (kind.storage.group.as_ref(), kind.storage.plural.as_ref()) {
        ("coordination.k8s.io", "leases") | ("", "events") => Durability::Volatile,
        _ => Durability::Durable,
    }
}

/// Makes name and namespace of the object those of the path, or refuses it.
pub(crate) fn place(call: &Call, object: &mut Value) -> Result<(), Status> {
    let target = &call.target;
    let metadata = object::metadata_mut(object);
    if !call.kind.namespaced {
        metadata.shift_remove("namespace");
    } else {
        match metadata.get("namespace").and_then(Value::as_str).unwrap_or_default() {
            "" => {
                metadata.insert("namespace".to_owned(), target.namespace.clone().into());
            }
            given if given != target.namespace => {
                return Err(Status::bad_request(format!(
                    "the namespace of the provided object does not match the namespace sent on \
                     the request ({given} != {})",
                    target.namespace
                )));
            }
            _ => {}
        }
    }
    if target.name.is_empty() {
        return Ok(());
    }
    match metadata.get("name").and_then(Value::as_str).unwrap_or_default() {
        "" => {
            metadata.insert("name".to_owned(), target.name.clone().into());
            Ok(())
        }
        given if given != target.name => Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            target.name
        ))),
        _ => Ok(()),
    }
}

/// Stores a new object, making up its name if it has none; returns it with its resource version.
pub(crate) async fn create(
    call: &Call,
    owners: Owners,
    mut object: Value,
) -> Result<Value, Status> {
    let kind = &call.kind;
    if !object::resource_version(&object).is_empty() {
        return Err(Status::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    default(kind, &mut object);
    if owners == Owners::Track {
        apply::track(&Writer::new(call).write(&call.kind), None, &mut object);
    }
    admission::mutate_create(call, &mut object).await?;
    place(call, &mut object)?;
    stamp_new(&mut object);
    strategy::prepare_create(kind, &mut object);
    default(kind, &mut object);
    let base = object::text(&object, &["metadata", "generateName"]).to_owned();
    if !object::name(&object).is_empty() || base.is_empty() {
        return create_named(call, owners, object).await;
    }
    let mut tries = 0;
    loop {
        let mut named = object.clone();
        object::set(&mut named, &["metadata", "name"], names::generate_name(&base));
        tries += 1;
        match create_named(call, owners, named).await {
            Err(status) if status.reason == Reason::AlreadyExists && tries < NAME_TRIES_MAX => {}
            result => return result,
        }
    }
}

/// Stores a new object that has a name and all that others had to add.
async fn create_named(call: &Call, owners: Owners, mut object: Value) -> Result<Value, Status> {
    let kind = &call.kind;
    admission::named(call, &mut object);
    let lease = admission::allocate(call, None, &mut object)?;
    rules::validate(call, &object, strategy::Write::Create)?;
    admission::check_create(call, &object).await?;
    let charge = admission::charge(call, &object).await?;
    if call.dry_run {
        return Ok(object);
    }
    let name = object::name(&object).to_owned();
    let key: Arc<str> = objects::key(kind, &call.target.namespace, &name).into();
    let put = |bytes: Bytes| Write {
        key: Arc::clone(&key),
        expect: Expect::Absent,
        op: Op::Put(bytes),
        durability: durability(kind),
    };
    let bytes = convert::to_storage(call, object.clone()).await?;
    let mut committed = call.core.store.commit(put(bytes)).await;
    if owners == Owners::Track && matches!(committed, Err(StoreError::TooLarge { .. })) {
        forget_owners(&mut object);
        let bytes = convert::to_storage(call, object.clone()).await?;
        committed = call.core.store.commit(put(bytes)).await;
    }
    drop((lease, charge));
    match committed {
        Ok(revision) => Ok(with_version(object, revision)),
        Err(StoreError::Conflict { .. }) => Err(Status::already_exists(&call.resource(), &name)),
        Err(error) => Err(cannot_write(call, &name, error)),
    }
}

/// Makes a too large object smaller: who owns what is the part it can do without.
fn forget_owners(object: &mut Value) {
    object::metadata_mut(object).shift_remove("managedFields");
}

/// Metadata of an object that comes into being now.
fn stamp_new(object: &mut Value) {
    let metadata = object::metadata_mut(object);
    for field in SERVER_METADATA.iter().filter(|field| **field != "generateName") {
        metadata.shift_remove(*field);
    }
    metadata.insert("uid".to_owned(), names::new_uid().into());
    metadata.insert("creationTimestamp".to_owned(), time::now_rfc3339().into());
}

/// Changes the object that the call names: `change` makes the wanted state from the current one.
///
/// Tried again on the newest state when somebody else was faster, so `change` must be pure. If
/// the state it returns names another resource version than the current one, that is a conflict.
pub(crate) async fn modify(
    call: &Call,
    part: Part,
    owners: Owners,
    change: Change<'_>,
) -> Result<Value, Status> {
    let (kind, name) = (&call.kind, call.target.name.as_str());
    let key: Arc<str> = objects::key(kind, &call.target.namespace, name).into();
    let mut is_too_large = false;
    for _ in 0..TRIES_MAX {
        let entry = call.core.store.get(&key);
        let entry = entry.ok_or_else(|| Status::not_found(&call.resource(), name))?;
        let at = entry.modified;
        let entry = convert::served_one(call, entry).await?;
        let old = objects::read(kind, &entry.value, at);
        let mut new = match part {
            Part::Scale => rescaled(call, &old, &change).await?,
            _ => change(&old)?,
        };
        check_preconditions(call, &old, &new)?;
        keep_server_metadata(&old, &mut new);
        default(kind, &mut new);
        if owners == Owners::Track {
            apply::track(&Writer::new(call).write(kind), Some(&old), &mut new);
        }
        if admission::mutate_update(call, part, &old, &mut new).await? {
            keep_server_metadata(&old, &mut new);
        }
        prepare(kind, part, &mut new, &old);
        let lease = admission::allocate(call, Some(&old), &mut new)?;
        validate(call, part, &new, &old)?;
        admission::check_update(call, part, &old, &new).await?;
        object::set(&mut new, &["metadata", "resourceVersion"], entry.modified.to_string());
        apply::settle(&old, &mut new);
        if is_too_large {
            forget_owners(&mut new);
        }
        // What is kept under an old key is written anew, even if nothing else changes.
        if call.dry_run || (new == old && !call.core.store.is_stale(&key)) {
            return Ok(new);
        }
        let finished = is_finished(kind, &new);
        let op = match finished {
            true => Op::Delete,
            false => Op::Put(convert::to_storage(call, new.clone()).await?),
        };
        let expect = Expect::At(entry.modified);
        let write = Write { key: Arc::clone(&key), expect, op, durability: durability(kind) };
        let committed = call.core.store.commit(write).await;
        drop(lease);
        match committed {
            Ok(revision) => return Ok(with_version(new, revision)),
            Err(StoreError::Conflict { .. }) => {}
            Err(StoreError::TooLarge { .. }) if owners == Owners::Track && !is_too_large => {
                is_too_large = true;
            }
            Err(error) => return Err(cannot_write(call, name, error)),
        }
    }
    Err(Status::modified(&call.resource(), name))
}

/// The object with the replicas of the scale that `change` makes of its current one.
async fn rescaled(call: &Call, current: &Value, change: &Change<'_>) -> Result<Value, Status> {
    let mut scale = scale::read(&call.kind, current)?;
    apply::scale::lend(&call.kind, current, &mut scale);
    let mut wanted = change(&scale)?;
    admission::mutate_scale(call, &scale, &mut wanted).await?;
    let mut changed = current.clone();
    scale::write(&call.kind, &mut changed, &wanted)?;
    apply::scale::take_back(&call.kind, &mut changed, &wanted);
    let version = object::resource_version(&wanted).to_owned();
    object::set(&mut changed, &["metadata", "resourceVersion"], version);
    Ok(changed)
}

/// Whether nothing holds a dying object back any more, so that this write is its end.
fn is_finished(kind: &Resource, object: &Value) -> bool {
    let dying = object::deletion_timestamp(object).is_some();
    let grace = object::integer(object, &["metadata", "deletionGracePeriodSeconds"]);
    let namespace_holds =
        kind.is("", "Namespace") && !object::list(object, &["spec", "finalizers"]).is_empty();
    dying
        && grace.unwrap_or(0) == 0
        && object::finalizers(object).next().is_none()
        && !namespace_holds
}

fn check_preconditions(call: &Call, old: &Value, new: &Value) -> Result<(), Status> {
    let name = &call.target.name;
    let (uid, wanted) = (object::uid(old), object::uid(new));
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
        );
        return Err(Status::conflict(&call.resource(), name, why));
    }
    let wanted = object::resource_version(new);
    if !wanted.is_empty() && wanted != "0" && wanted != object::resource_version(old) {
        return Err(Status::modified(&call.resource(), name));
    }
    Ok(())
}

/// What clients send for these fields is ignored.
fn keep_server_metadata(old: &Value, new: &mut Value) {
    let metadata = object::metadata_mut(new);
    for field in SERVER_METADATA {
        match old["metadata"].get(*field) {
            Some(value) => {
                metadata.insert((*field).to_owned(), value.clone());
            }
            None => {
                metadata.shift_remove(*field);
            }
        }
    }
}

fn prepare(kind: &Resource, part: Part, new: &mut Value, old: &Value) {
    match part {
        Part::Main | Part::Scale => strategy::prepare_update(kind, new, old),
        Part::Status => strategy::prepare_status_update(kind, new, old),
        Part::Other | Part::Binding => {}
    }
}

fn validate(call: &Call, part: Part, new: &Value, old: &Value) -> Result<(), Status> {
    match part {
        Part::Main | Part::Scale => rules::validate(call, new, strategy::Write::Update(old)),
        Part::Status => rules::validate(call, new, strategy::Write::UpdateStatus(old)),
        // What subresources change they check themselves.
        Part::Other | Part::Binding => Ok(()),
    }
}

/// The object with the version its write gave it.
pub(crate) fn with_version(mut object: Value, revision: Revision) -> Value {
    object::set(&mut object, &["metadata", "resourceVersion"], revision.to_string());
    object
}

/// A write that failed for another reason than a conflict.
pub(crate) fn cannot_write(call: &Call, name: &str, error: StoreError) -> Status {
    match error {
        StoreError::TooLarge { size, max, .. } => {
            Status::request_entity_too_large(format!("the object has {size} bytes, limit is {max}"))
        }
        error => {
            tracing::error!(resource = %call.resource(), name, %error, "cannot write");
            Status::internal(error)
        }
    }
}

/// Removes the object that was read at `at`. Returns whether it was still so.
pub(crate) async fn remove(call: &Call, name: &str, at: Revision) -> Result<bool, Status> {
    let key = objects::key(&call.kind, &call.target.namespace, name);
    let write = Write {
        key: key.into(),
        expect: Expect::At(at),
        op: Op::Delete,
        durability: durability(&call.kind),
    };
    match call.core.store.commit(write).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(cannot_write(call, name, error)),
    }
}

/// Stores `object` over what was read at `at`. Returns it, or nothing if it was not so any more.
pub(crate) async fn replace(
    call: &Call,
    name: &str,
    at: Revision,
    object: Value,
) -> Result<Option<Value>, Status> {
    let key = objects::key(&call.kind, &call.target.namespace, name);
    let write = Write {
        key: key.into(),
        expect: Expect::At(at),
        op: Op::Put(convert::to_storage(call, object.clone()).await?),
        durability: durability(&call.kind),
    };
    match call.core.store.commit(write).await {
        Ok(revision) => Ok(Some(with_version(object, revision))),
        Err(StoreError::Conflict { .. }) => Ok(None),
        Err(error) => Err(cannot_write(call, name, error)),
    }
}
