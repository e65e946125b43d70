//! Reads what a request carries: an object, a patch, options.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use minik_api::decode::{self, ContentType, FieldValidation};
use minik_api::{Resource, apply, patch, protobuf};
use minik_meta::field::go_plain;
use minik_meta::{FieldError, GroupKind, Path, Status, object};
use serde_json::Value;

use crate::body::{self, Body, ReadError};
use crate::call::Call;
use crate::owners::{Owners, Writer, invalid_options};
use crate::route::Verb;

const OBJECT_TYPES: &[&str] = &["application/json", "application/yaml", protobuf::MEDIA_TYPE];
const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    APPLY_TYPE,
];
const APPLY_TYPE: &str = "application/apply-patch+yaml";

/// Custom resources have no rules for merging lists strategically.
const CUSTOM_PATCH_TYPES: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", APPLY_TYPE];
/// Nor do they have a binary form.
const CUSTOM_OBJECT_TYPES: &[&str] = &["application/json", "application/yaml"];

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
        Wire::Protobuf if resource.custom.is_some() => {
            Err(Status::unsupported_media_type(CUSTOM_OBJECT_TYPES))
        }
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
    call.trail.sent(&value);
    Ok(value)
}

/// The body as an object of `resource`, or nothing if there is no body.
pub(crate) async fn optional(
    call: &Call,
    resource: &Resource,
    request: Request<Body>,
) -> Result<Option<Value>, Status> {
    let wire = wire(request.headers());
    let bytes = bytes(request).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let (value, _) = decode_as(resource, &bytes, wire?, FieldValidation::Ignore)?;
    call.trail.sent(&value);
    Ok(Some(value))
}

/// How to change an object.
#[derive(Clone, Debug)]
pub(crate) struct Patch {
    how: How,
    /// What a strict reader of the body objects to.
    objections: Vec<String>,
    validation: FieldValidation,
}

#[derive(Clone, Debug)]
enum How {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own: lists are merged by key.
    Strategic(Value),
    /// Server-side apply of a configuration, which may take fields from others if forced.
    Apply { config: Value, force: bool },
}

/// The body as a patch.
pub(crate) async fn patch(call: &Call, request: Request<Body>) -> Result<Patch, Status> {
    let media_type = media_type(request.headers()).to_owned();
    let make: fn(Value) -> How = match media_type.as_str() {
        "application/json-patch+json" => How::Json,
        "application/merge-patch+json" => How::Merge,
        _ if call.kind.custom.is_some() && media_type.starts_with("application/strategic") => {
            return Err(Status::unsupported_media_type(CUSTOM_PATCH_TYPES));
        }
        "application/strategic-merge-patch+json" => How::Strategic,
        APPLY_TYPE => return applied(call, request).await,
        _ => return Err(Status::unsupported_media_type(PATCH_TYPES)),
    };
    if call.query.get("force").is_some() {
        let why = "may not be specified for non-apply patch";
        let error = FieldError::forbidden(&Path::new("force"), why);
        return Err(invalid_options(Verb::Patch, &[error]));
    }
    let bytes = bytes(request).await?;
    let (value, mut objections) = decode::decode_any(&bytes, ContentType::Json)?;
    call.trail.sent_patch(&value);
    let how = make(value);
    if let How::Json(_) = how {
        objections.iter_mut().for_each(|text| text.insert_str(0, "json patch "));
    }
    Ok(Patch { how, objections, validation: validation(call)? })
}

/// The body as a configuration to apply.
async fn applied(call: &Call, request: Request<Body>) -> Result<Patch, Status> {
    if call.query.non_empty("fieldManager").is_none() {
        let why = "is required for apply patch";
        let error = FieldError::required(&Path::new("fieldManager"), why);
        return Err(invalid_options(Verb::Patch, &[error]));
    }
    let validation = validation(call)?;
    let bytes = bytes(request).await?;
    let (config, duplicates) = decode::decode_any(&bytes, ContentType::Yaml).map_err(|status| {
        let why = status.message.trim_start_matches("error decoding patch: ");
        Status::bad_request(format!("error decoding YAML: {why}"))
    })?;
    let objections = duplicates.iter().map(|text| format!("error converting YAML to JSON: {text}"));
    match (validation, objections.into_iter().next()) {
        (FieldValidation::Strict, Some(why)) => {
            return Err(Status::bad_request(format!("error strict decoding YAML: {why}")));
        }
        (FieldValidation::Warn, Some(why)) => call.warn(why),
        _ => {}
    }
    call.trail.sent_patch(&config);
    let how = How::Apply { config, force: call.query.flag("force") };
    Ok(Patch { how, objections: Vec::new(), validation })
}

impl How {
    fn make(
        &self,
        call: &Call,
        resource: &Resource,
        current: Option<&Value>,
    ) -> Result<Value, Status> {
        let mut changed = current.cloned().unwrap_or_default();
        match self {
            How::Json(operations) => patch::json::apply(&mut changed, operations)?,
            How::Merge(changes) => patch::merge::apply(&mut changed, changes),
            How::Strategic(changes) => {
                patch::strategic::apply(&resource.schema, &mut changed, changes)?;
            }
            How::Apply { config, force } => {
                let writer = Writer::new(call);
                changed = apply::apply(&writer.write(resource), current, config, *force)?;
            }
        }
        Ok(changed)
    }
}

impl Patch {
    /// Whether it is a configuration to apply.
    pub(crate) fn is_apply(&self) -> bool {
        matches!(self.how, How::Apply { .. })
    }

    /// What it makes of `current`, an object of `resource`, or of nothing, which only an apply
    /// can. The result fits the kind; what did not is an error or a warning, as the request asks.
    pub(crate) fn apply(
        &self,
        call: &Call,
        resource: &Resource,
        current: Option<&Value>,
    ) -> Result<Value, Status> {
        let mut changed = self.how.make(call, resource, current)?;
        if self.is_apply() {
            // Nulls of the configuration.
            decode::conform(resource, &mut changed, FieldValidation::Ignore)?;
            return Ok(changed);
        }
        // As upstream, what does not fit is blamed on the patch as a whole.
        let refused = |why: String| {
            let shown = match &self.how {
                How::Strategic(changes) => go_plain(changes),
                how => how.make(call, resource, current)?.to_string(),
            };
            let error = FieldError::invalid(&Path::new("patch"), shown, why);
            Err(Status::invalid(&GroupKind::default(), "", &[error]))
        };
        let lenient = match self.validation {
            FieldValidation::Strict => FieldValidation::Warn,
            given => given,
        };
        let unknown = match decode::conform(resource, &mut changed, lenient) {
            Ok(unknown) => unknown,
            Err(status) => return refused(status.message),
        };
        let objections: Vec<_> = self.objections.iter().cloned().chain(unknown).collect();
        match self.validation {
            FieldValidation::Strict if !objections.is_empty() => {
                return refused(format!("strict decoding error: {}", objections.join(", ")));
            }
            FieldValidation::Warn => objections.into_iter().for_each(|text| call.warn(text)),
            FieldValidation::Strict | FieldValidation::Ignore => {}
        }
        Ok(changed)
    }

    /// Where the owners of the result come from.
    pub(crate) fn owners(&self) -> Owners {
        if self.is_apply() { Owners::AsGiven } else { Owners::Track }
    }

    /// Takes over the owners that an apply gave to `given`, where only parts of that are taken.
    pub(crate) fn keep_owners(&self, given: &Value, changed: &mut Value) {
        if let (true, Some(entries)) =
            (self.is_apply(), object::at(given, &["metadata", "managedFields"]))
        {
            object::set(changed, &["metadata", "managedFields"], entries.clone());
        }
    }
}
