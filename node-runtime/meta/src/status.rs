//! `Status`: the error every API call may end in, with upstream's codes, reasons and words.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::field::{FieldError, go_quote};
use crate::gvk::{GroupKind, GroupResource};

/// What a conflicting update is told.
pub const OPTIMISTIC_LOCK: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// Why a request failed: the word clients branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are upstream's and say it")]
pub enum Reason {
    Unknown,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    ServerTimeout,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    Expired,
    ServiceUnavailable,
}

impl Reason {
    /// The word on the wire; empty for [`Reason::Unknown`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Gone => "Gone",
            Self::Invalid => "Invalid",
            Self::ServerTimeout => "ServerTimeout",
            Self::Timeout => "Timeout",
            Self::TooManyRequests => "TooManyRequests",
            Self::BadRequest => "BadRequest",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::InternalError => "InternalError",
            Self::Expired => "Expired",
            Self::ServiceUnavailable => "ServiceUnavailable",
        }
    }

    /// The HTTP code that goes with it.
    pub fn code(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::BadRequest => 400,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Unknown | Self::InternalError | Self::ServerTimeout => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// One cause in the details of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable reason, may be empty.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Path of the field, may be empty.
    pub field: String,
}

/// What a failure is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Name of the object, may be empty.
    pub name: String,
    /// Group of the kind, may be empty.
    pub group: String,
    /// Kind, or resource where only that is known.
    pub kind: String,
    /// Uid of the object, may be empty.
    pub uid: String,
    /// Single causes.
    pub causes: Vec<Cause>,
    /// After how many seconds a retry is sensible; 0 says nothing.
    pub retry_after_seconds: u32,
}

/// A failure as the API reports it. Success statuses are made by [`Status::success`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// HTTP code.
    pub code: u16,
    /// The word clients branch on.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// What it is about.
    pub details: Option<Box<Details>>,
    /// A token to go on with, where a list expired between two pages.
    pub continue_token: Option<String>,
    /// The whole object, where another program made it: shown instead of one made of the rest.
    pub verbatim: Option<Box<Value>>,
}

impl Status {
    /// A failure with the reason's own code.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            code: reason.code(),
            reason,
            message: message.into(),
            details: None,
            continue_token: None,
            verbatim: None,
        }
    }

    /// The same failure with details.
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The same failure with a `Retry-After`.
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// 404: no such object.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        let message = format!("{resource} {} not found", go_quote(name));
        Self::new(Reason::NotFound, message).with_details(about(resource, name))
    }

    /// 404: no such path.
    pub fn not_found_path() -> Self {
        Self::new(Reason::NotFound, "the server could not find the requested resource")
            .with_details(Details::default())
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        let message = format!("{resource} {} already exists", go_quote(name));
        Self::new(Reason::AlreadyExists, message).with_details(about(resource, name))
    }

    /// 409: `why` kept the write from happening, usually [`OPTIMISTIC_LOCK`].
    pub fn conflict(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {resource} {}: {why}", go_quote(name));
        Self::new(Reason::Conflict, message).with_details(about(resource, name))
    }

    /// 409: the object was changed since it was read.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        Self::conflict(resource, name, OPTIMISTIC_LOCK)
    }

    /// 422: the object breaks the kind's rules.
    pub fn invalid(kind: &GroupKind, name: &str, errors: &[FieldError]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for error in errors {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let what = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes = errors
            .iter()
            .map(|error| Cause {
                reason: error.kind.reason().to_owned(),
                message: error.body(),
                field: error.path.to_string(),
            })
            .collect();
        Self::new(Reason::Invalid, format!("{kind} {} is invalid: {what}", go_quote(name)))
            .with_details(Details {
                name: name.to_owned(),
                group: kind.group.clone(),
                kind: kind.kind.clone(),
                causes,
                ..Details::default()
            })
    }

    /// 403: not allowed to do this.
    pub fn forbidden(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = match (resource.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{resource} is forbidden: {why}"),
            (false, false) => format!("{resource} {} is forbidden: {why}", go_quote(name)),
        };
        Self::new(Reason::Forbidden, message).with_details(about(resource, name))
    }

    /// 401: not known who asks.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(Reason::Unauthorized, message)
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 405: the resource has no such verb.
    pub fn method_not_supported(resource: &GroupResource, action: &str) -> Self {
        let message = format!(
            "{action} is not supported on resources of kind {}",
            go_quote(&resource.to_string())
        );
        Self::new(Reason::MethodNotAllowed, message).with_details(about(resource, ""))
    }

    /// 405: something lives at the path, but not for the method.
    pub fn wrong_method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(Reason::MethodNotAllowed, message).with_details(Details::default())
    }

    /// 410: it was there and will not come back.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(Reason::Gone, message)
    }

    /// 410: the revision or continue token asked for is compacted; list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// 406: none of the media types asked for can be had.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message =
            format!("only the following media types are accepted: {}", accepted.join(", "));
        Self::new(Reason::NotAcceptable, message)
    }

    /// 415: the body's media type is not understood.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(Reason::UnsupportedMediaType, message)
    }

    /// 413: the body is too large.
    pub fn request_entity_too_large(message: impl fmt::Display) -> Self {
        Self::new(Reason::RequestEntityTooLarge, format!("Request entity too large: {message}"))
    }

    /// 429: come back later.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(Reason::TooManyRequests, message).with_retry_after(retry_after_seconds)
    }

    /// 503: not now.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::ServiceUnavailable, message)
    }

    /// 504: the request took too long; it may or may not have happened.
    pub fn timeout(message: impl fmt::Display, retry_after_seconds: u32) -> Self {
        Self::new(Reason::Timeout, format!("Timeout: {message}"))
            .with_retry_after(retry_after_seconds)
    }

    /// 500 `ServerTimeout`: the action did not finish; it can be tried again.
    pub fn server_timeout(
        resource: &GroupResource,
        action: &str,
        retry_after_seconds: u32,
    ) -> Self {
        let message = format!(
            "The {action} operation against {resource} could not be completed at this time, \
             please try again."
        );
        Self::new(Reason::ServerTimeout, message)
            .with_details(about(resource, action))
            .with_retry_after(retry_after_seconds)
    }

    /// 500: the server's fault.
    pub fn internal(error: impl fmt::Display) -> Self {
        let cause = Cause { message: error.to_string(), ..Cause::default() };
        Self::new(Reason::InternalError, format!("Internal error occurred: {error}"))
            .with_details(Details { causes: vec![cause], ..Details::default() })
    }

    /// The `Status` object on the wire.
    pub fn to_value(&self) -> Value {
        if let Some(whole) = &self.verbatim {
            return (**whole).clone();
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if let Some(token) = &self.continue_token {
            status["metadata"]["continue"] = token.as_str().into();
        }
        let map = status.as_object_mut().expect("made as an object");
        if self.reason != Reason::Unknown {
            map.insert("reason".into(), self.reason.as_str().into());
        }
        if let Some(details) = &self.details {
            map.insert("details".into(), details.to_value());
        }
        map.insert("code".into(), self.code.into());
        status
    }

    /// The `Status` object of a success, for instance of a delete that left nothing.
    pub fn success(details: Option<Details>) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        });
        if let Some(details) = details {
            status["details"] = details.to_value();
        }
        status
    }
}

impl Details {
    /// The `details` object on the wire; empty fields are left out.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "name", &self.name);
        put(&mut map, "group", &self.group);
        put(&mut map, "kind", &self.kind);
        put(&mut map, "uid", &self.uid);
        if !self.causes.is_empty() {
            map.insert("causes".into(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds > 0 {
            map.insert("retryAfterSeconds".into(), self.retry_after_seconds.into());
        }
        Value::Object(map)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "reason", &self.reason);
        put(&mut map, "message", &self.message);
        put(&mut map, "field", &self.field);
        Value::Object(map)
    }
}

fn put(map: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        map.insert(key.to_owned(), text.into());
    }
}

fn about(resource: &GroupResource, name: &str) -> Details {
    Details {
        name: name.to_owned(),
        group: resource.group.clone(),
        kind: resource.resource.clone(),
        ..Details::default()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Path;
    use expect_test::{Expect, expect};

    fn check(status: Status, expected: Expect) {
        expected.assert_eq(&status.to_value().to_string());
    }

    #[test]
    fn upstream_words() {
        let pods = GroupResource::new("", "pods");
        let deployments = GroupResource::new("apps", "deployments");
        check(
            Status::not_found(&pods, "x"),
            expect![[
                r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"x\" not found","reason":"NotFound","details":{"name":"x","kind":"pods"},"code":404}"#
            ]],
        );
        check(
            Status::already_exists(&deployments, "x"),
            expect![[
                r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"deployments.apps \"x\" already exists","reason":"AlreadyExists","details":{"name":"x","group":"apps","kind":"deployments"},"code":409}"#
            ]],
        );
        check(
            Status::modified(&pods, "x"),
            expect![[
                r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Operation cannot be fulfilled on pods \"x\": the object has been modified; please apply your changes to the latest version and try again","reason":"Conflict","details":{"name":"x","kind":"pods"},"code":409}"#
            ]],
        );
        check(
            Status::invalid(
                &GroupKind::new("", "Pod"),
                "x",
                &[FieldError::required(&Path::new("spec.containers"), "")],
            ),
            expect![[
                r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Pod \"x\" is invalid: spec.containers: Required value","reason":"Invalid","details":{"name":"x","kind":"Pod","causes":[{"reason":"FieldValueRequired","message":"Required value","field":"spec.containers"}]},"code":422}"#
            ]],
        );
        check(
            Status::internal("boom"),
            expect![[
                r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Internal error occurred: boom","reason":"InternalError","details":{"causes":[{"message":"boom"}]},"code":500}"#
            ]],
        );
        check(
            Status::too_many_requests("slow down", 1),
            expect![[
                r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"slow down","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429}"#
            ]],
        );
    }

    #[test]
    fn several_field_errors_are_listed_once_each() {
        let error = FieldError::required(&Path::new("a"), "");
        let other = FieldError::required(&Path::new("b"), "");
        let status =
            Status::invalid(&GroupKind::new("apps", "D"), "x", &[error.clone(), error, other]);
        assert_eq!(
            status.message,
            "D.apps \"x\" is invalid: [a: Required value, b: Required value]"
        );
    }
}
