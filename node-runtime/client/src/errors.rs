//! Tells the API errors apart that callers act on.

use kube::Error;

/// What the API said, in its own words and nothing else: for logs, events and conditions.
#[must_use]
pub fn said(error: &Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Questions a caller asks of a failed request.
pub trait ApiErrorExt {
    /// The object is not there (404).
    fn is_not_found(&self) -> bool;
    /// The object was changed since it was read, or a precondition failed (409 `Conflict`).
    fn is_conflict(&self) -> bool;
    /// An object of that name is there already (409 `AlreadyExists`).
    fn is_already_exists(&self) -> bool;
    /// The namespace is going away and takes no new objects.
    fn is_namespace_terminating(&self) -> bool;
    /// The object is malformed; trying again with the same one is no use (422, 400).
    fn is_invalid(&self) -> bool;
    /// The request is not allowed (403).
    fn is_forbidden(&self) -> bool;
}

fn reason(error: &Error) -> Option<&str> {
    match error {
        Error::Api(status) => Some(status.reason.as_str()),
        _ => None,
    }
}

impl ApiErrorExt for Error {
    fn is_not_found(&self) -> bool {
        reason(self) == Some("NotFound")
    }

    fn is_conflict(&self) -> bool {
        reason(self) == Some("Conflict")
    }

    fn is_already_exists(&self) -> bool {
        reason(self) == Some("AlreadyExists")
    }

    fn is_namespace_terminating(&self) -> bool {
        let Error::Api(status) = self else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
            || (self.is_forbidden() && status.message.contains("because it is being terminated"))
    }

    fn is_invalid(&self) -> bool {
        matches!(reason(self), Some("Invalid" | "BadRequest"))
    }

    fn is_forbidden(&self) -> bool {
        reason(self) == Some("Forbidden")
    }
}
