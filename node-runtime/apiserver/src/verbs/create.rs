//! Creates an object.

use http::{Request, Response, StatusCode};
use minik_meta::{Reason, Status, names, object};
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::owners::Owners;
use crate::verbs::write;
use crate::{input, output};

/// How often a generated name is tried again when it is taken.
const NAME_TRIES_MAX: usize = 8;

pub(crate) async fn create(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    if !call.target.name.is_empty() {
        return Err(super::not_supported(&call.resource(), call.verb));
    }
    if call.kind.namespaced && call.target.namespace.is_empty() {
        return Err(super::not_supported(&call.resource(), call.verb));
    }
    let object = input::object(call, &call.kind, request).await?;
    let created = create_object(call, object).await?;
    Ok(output::one(call, StatusCode::CREATED, created))
}

/// Creates `object`, making up its name if it has none; returns it as stored.
pub(crate) async fn create_object(call: &Call, mut object: Value) -> Result<Value, Status> {
    write::place(call, &mut object)?;
    let base = object::text(&object, &["metadata", "generateName"]).to_owned();
    if !object::name(&object).is_empty() || base.is_empty() {
        return write::create(call, Owners::Track, object).await;
    }
    for _ in 1..NAME_TRIES_MAX {
        let mut named = object.clone();
        object::set(&mut named, &["metadata", "name"], names::generate_name(&base));
        match write::create(call, Owners::Track, named).await {
            Err(status) if status.reason == Reason::AlreadyExists => {}
            result => return result,
        }
    }
    object::set(&mut object, &["metadata", "name"], names::generate_name(&base));
    write::create(call, Owners::Track, object).await
}
