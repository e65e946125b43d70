//! Which objects a list or watch is about: selectors, resource versions, continue tokens.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minik_api::{Resource, fields};
use minik_meta::selector::SelectorError;
use minik_meta::status::Cause;
use minik_meta::{FieldSelector, LabelSelector, Reason, Status, object};
use minik_store::Revision;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Call;
use crate::kinds::Kind;
use crate::objects;

/// The selectors of a request.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    kind: Kind,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Filter {
    /// Reads and checks the selectors of the query. A name in the path selects that object.
    pub(crate) fn of(call: &Call) -> Result<Filter, Status> {
        let text = |key: &str| call.query.get(key).unwrap_or_default().to_owned();
        let labels = text("labelSelector")
            .parse()
            .map_err(|error: SelectorError| Status::bad_request(error.to_string()))?;
        let mut wanted = text("fieldSelector");
        if !call.target.name.is_empty() {
            let comma = if wanted.is_empty() { "" } else { "," };
            wanted = format!("metadata.name={}{comma}{wanted}", call.target.name);
        }
        let fields: FieldSelector =
            wanted.parse().map_err(|error: minik_meta::selector::SelectorError| {
                Status::bad_request(error.to_string())
            })?;
        fields::check(&call.kind, &fields)?;
        Ok(Filter { kind: Arc::clone(&call.kind), labels, fields })
    }

    /// Whether everything is selected.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether a parsed object is selected.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        self.labels.matches(object::labels(object))
            && fields::matches(&self.kind, object, &self.fields)
    }

    /// Whether a stored object is selected.
    pub(crate) fn selects_stored(&self, stored: &[u8], revision: Revision) -> bool {
        self.is_empty() || self.selects(&objects::read(&self.kind, stored, revision))
    }

    /// The name all selected objects must have, if the selector says so.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }
}

/// Where in a list to go on: opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Continue {
    v: String,
    /// The revision of the first page; -1: whatever is now.
    pub(crate) rv: i64,
    /// The key below the resource's prefix that the last page ended with.
    pub(crate) start: String,
}

impl Continue {
    pub(crate) fn new(rv: i64, start: &str) -> Continue {
        Continue { v: "meta.k8s.io/v1".to_owned(), rv, start: start.to_owned() }
    }

    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(crate) fn decode(token: &str) -> Result<Continue, Status> {
        let bad = |why: &str| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|error| bad(&error.to_string()))?;
        let decoded: Continue =
            serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))?;
        if decoded.v != "meta.k8s.io/v1" || decoded.rv == 0 || decoded.rv < -1 {
            return Err(bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        Ok(decoded)
    }
}

/// The number of a `resourceVersion`; 0 and absence mean "any".
pub(crate) fn revision(text: Option<&str>) -> Result<Option<Revision>, Status> {
    match text {
        None | Some("" | "0") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Status::bad_request(format!(
                "Invalid value: \"{text}\": resourceVersion: Invalid value: strconv.ParseUint: \
                 parsing \"{text}\": invalid syntax"
            ))
        }),
    }
}

/// Refuses a `resourceVersion` that has not happened yet.
pub(crate) fn check_not_future(call: &Call, text: Option<&str>) -> Result<(), Status> {
    let current = call.core.store.revision();
    match revision(text)? {
        Some(asked) if asked > current => Err(too_large(asked, current)),
        _ => Ok(()),
    }
}

/// The failure that tells client libraries to read without a version.
pub(crate) fn too_large(asked: Revision, current: Revision) -> Status {
    let message = format!("Too large resource version: {asked}, current: {current}");
    let mut status = Status::timeout(message, 1);
    if let Some(details) = &mut status.details {
        details.causes.push(Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        });
    }
    status
}

/// A list or watch from a revision that is compacted.
pub(crate) fn too_old(asked: Revision, oldest: Revision) -> Status {
    Status::new(Reason::Expired, format!("too old resource version: {asked} ({oldest})"))
}

/// The namespace part of the key prefix a collection request is about.
pub(crate) fn collection_prefix(kind: &Resource, namespace: &str) -> String {
    objects::prefix(kind, namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continue_tokens_come_back() {
        let token = Continue::new(7, "web/a");
        assert_eq!(Continue::decode(&token.encode()), Ok(token));
        assert!(Continue::decode("not base64!").is_err());
        assert!(Continue::decode(&Continue::new(0, "a").encode()).is_err());
    }
}
