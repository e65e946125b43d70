//! Changes parts of an object; an apply makes it, too.

use http::{Request, Response, StatusCode};
use minik_meta::{Reason, Status, object};
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::input::{self, Patch};
use crate::owners::Owners;
use crate::verbs::write::{self, Change, Part};
use crate::{objects, output, pipeline};

/// How often an apply goes from changing to creating and back when others delete and create.
const TRIES_MAX: usize = 4;

pub(crate) async fn patch(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    patch_part(call, request, Part::Main).await
}

/// Patches the object or one of its parts. The patch is tried again on the newest state when
/// somebody else was faster, unless it names the version it is for.
pub(crate) async fn patch_part(
    call: &Call,
    request: Request<Body>,
    part: Part,
) -> Result<Response<Body>, Status> {
    let patch = input::patch(call, request).await?;
    let modified = async || {
        let change = change(call, &patch);
        write::modify(call, part, patch.owners(), change).await
    };
    if part == Part::Main && patch.is_apply() {
        for _ in 0..TRIES_MAX {
            if exists(call) {
                match modified().await {
                    Err(status) if status.reason == Reason::NotFound && !exists(call) => {}
                    result => return Ok(output::one(call, StatusCode::OK, result?)),
                }
            }
            match create_applied(call, &patch).await {
                Err(status) if status.reason == Reason::AlreadyExists => {}
                result => return Ok(output::one(call, StatusCode::CREATED, result?)),
            }
        }
    }
    Ok(output::one(call, StatusCode::OK, modified().await?))
}

fn exists(call: &Call) -> bool {
    let key = objects::key(&call.kind, &call.target.namespace, &call.target.name);
    call.core.store.get(&key).is_some()
}

/// Creates the object that an apply is the first to speak of.
async fn create_applied(call: &Call, patch: &Patch) -> Result<Value, Status> {
    let mut object = patch.apply(call, &call.kind, None)?;
    let uid = object::uid(&object);
    if !uid.is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was \
             found"
        );
        return Err(Status::conflict(&call.resource(), &call.target.name, why));
    }
    write::place(call, &mut object)?;
    object::remove(&mut object, &["metadata", "resourceVersion"]);
    pipeline::may_create(call)?;
    write::create(call, Owners::AsGiven, object).await
}

fn change<'a>(call: &'a Call, patch: &'a Patch) -> Change<'a> {
    Box::new(move |current| {
        let mut changed = patch.apply(call, &call.kind, Some(current))?;
        write::place(call, &mut changed)?;
        if object::resource_version(&changed).is_empty() {
            let version = object::resource_version(current).to_owned();
            object::set(&mut changed, &["metadata", "resourceVersion"], version);
        }
        Ok(changed)
    })
}
