//! Creates an object.

use http::{Request, Response, StatusCode};
use minik_meta::Status;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::owners::Owners;
use crate::verbs::write;
use crate::{input, output};

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

/// Creates `object`; returns it as stored.
pub(crate) async fn create_object(call: &Call, mut object: Value) -> Result<Value, Status> {
    write::place(call, &mut object)?;
    write::create(call, Owners::Track, object).await
}
