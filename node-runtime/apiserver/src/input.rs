//! Reads what a request carries: an object, a patch, options.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use minik_api::decode::{self, ContentType, FieldValidation};
use minik_api::{Resource, patch};
use minik_meta::Status;
use serde_json::Value;

use crate::body::{self, Body, ReadError};
use crate::call::Call;
use crate::protobuf;

const OBJECT_TYPES: &[&str] = &["application/json", "application/yaml", protobuf::MEDIA_TYPE];
const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// The bytes of the body, within the limit.
pub(crate) async fn bytes(request: Request<Body>) -> Result<Bytes, Status> {
    body::read(request.into_body()).await.map_err(|error| match error {
        ReadError::TooLarge { limit } => {
            Status::request_entity_too_large(format!("limit is {limit}"))
        }
        ReadError::Broken(_) => Status::bad_request(error.to_string()),
    })
}

/// The media type of the body without its parameters; empty where absent.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// How the body of an object is written.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Text(ContentType),
    Protobuf,
}

fn wire(headers: &HeaderMap) -> Result<Wire, Status> {
    match media_type(headers) {
        "" | "application/json" | "*/*" => Ok(Wire::Text(ContentType::Json)),
        "application/yaml" | "application/x-yaml" => Ok(Wire::Text(ContentType::Yaml)),
        protobuf::MEDIA_TYPE => Ok(Wire::Protobuf),
        _ => Err(Status::unsupported_media_type(OBJECT_TYPES)),
    }
}

fn decode_as(
    resource: &Resource,
    bytes: &[u8],
    wire: Wire,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    match wire {
        Wire::Text(content) => decode::decode(resource, bytes, content, validation),
        Wire::Protobuf => {
            let mut value = protobuf::decode(&resource.schema, bytes)
                .map_err(|error| Status::bad_request(error.to_string()))?;
            let warnings = decode::conform(resource, &mut value, validation)?;
            Ok((value, warnings))
        }
    }
}

/// How strictly fields are checked, as the request asks.
pub(crate) fn validation(call: &Call) -> Result<FieldValidation, Status> {
    FieldValidation::from_query(call.query.get("fieldValidation"))
}

/// The body as an object of `resource`. What is dropped from it is told as warnings.
pub(crate) async fn object(
    call: &Call,
    resource: &Resource,
    request: Request<Body>,
) -> Result<Value, Status> {
    let wire = wire(request.headers())?;
    let validation = validation(call)?;
    let bytes = bytes(request).await?;
    let (value, warnings) = decode_as(resource, &bytes, wire, validation)?;
    warnings.into_iter().for_each(|text| call.warn(text));
    Ok(value)
}

/// The body as an object of `resource`, or nothing if there is no body.
pub(crate) async fn optional(
    resource: &Resource,
    request: Request<Body>,
) -> Result<Option<Value>, Status> {
    let wire = wire(request.headers());
    let bytes = bytes(request).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let (value, _) = decode_as(resource, &bytes, wire?, FieldValidation::Ignore)?;
    Ok(Some(value))
}

/// How to change an object.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own: lists are merged by key.
    Strategic(Value),
}

/// The body as a patch.
pub(crate) async fn patch(request: Request<Body>) -> Result<Patch, Status> {
    let media_type = media_type(request.headers()).to_owned();
    let make: fn(Value) -> Patch = match media_type.as_str() {
        "application/json-patch+json" => Patch::Json,
        "application/merge-patch+json" => Patch::Merge,
        "application/strategic-merge-patch+json" => Patch::Strategic,
        "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
            let mut status = Status::unsupported_media_type(PATCH_TYPES);
            status.message = format!("server-side apply is not served yet: {}", status.message);
            return Err(status);
        }
        _ => return Err(Status::unsupported_media_type(PATCH_TYPES)),
    };
    let bytes = bytes(request).await?;
    let (value, _) = decode::decode_any(&bytes, ContentType::Json)?;
    Ok(make(value))
}

impl Patch {
    /// Applies the patch to `current`; the result is not checked against the kind yet.
    pub(crate) fn apply(&self, resource: &Resource, current: &Value) -> Result<Value, Status> {
        let mut changed = current.clone();
        match self {
            Patch::Json(operations) => patch::json::apply(&mut changed, operations)?,
            Patch::Merge(changes) => patch::merge::apply(&mut changed, changes),
            Patch::Strategic(changes) => {
                patch::strategic::apply(&resource.schema, &mut changed, changes)?;
            }
        }
        Ok(changed)
    }
}
