//! Where objects live in the store, and the step between stored bytes and objects.
//!
//! Stored bytes are compact JSON in the storage version that begins with `apiVersion`, `kind` and
//! `metadata`, in this order and without a resource version. So the resource version can be put
//! in by copying, without parsing: see [`splice`].

use bytes::{BufMut, Bytes, BytesMut};
use minik_api::{FieldValidation, Resource};
use minik_meta::object;
use minik_store::Revision;
use serde_json::{Map, Value};

/// What all keys start with.
pub(crate) const ROOT: &str = "/registry/";

/// The key prefix of the objects of a resource, in one namespace or (empty) everywhere.
pub(crate) fn prefix(resource: &Resource, namespace: &str) -> String {
    let group = match resource.storage.group.as_ref() {
        "" => "core",
        group => group,
    };
    let plural = &resource.storage.plural;
    match namespace {
        "" => format!("{ROOT}{group}/{plural}/"),
        namespace => format!("{ROOT}{group}/{plural}/{namespace}/"),
    }
}

/// The key of one object; `namespace` is empty for cluster-scoped kinds.
pub(crate) fn key(resource: &Resource, namespace: &str, name: &str) -> String {
    let mut key = prefix(resource, namespace);
    key.push_str(name);
    key
}

/// The object of stored bytes, in the version of `resource`, with its resource version.
pub(crate) fn read(resource: &Resource, bytes: &[u8], revision: Revision) -> Value {
    let mut value: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    convert(&mut value, resource, Direction::FromStorage);
    if resource.custom.is_some() && !fits(resource, bytes, revision) {
        refit(resource, &mut value);
    }
    let metadata = object::metadata_mut(&mut value);
    metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
    value
}

/// Whether stored bytes are in the version of `resource` and as its schema wants them. Those of
/// built-in kinds always are where versions are equal; a custom resource's schema may have changed
/// since they were written.
pub(crate) fn fits(resource: &Resource, bytes: &[u8], revision: Revision) -> bool {
    let Some(custom) = &resource.custom else { return resource.is_storage_version() };
    revision.0 > custom.since && is_in_version(resource, bytes)
}

/// Whether stored bytes of a custom resource are in its version.
pub(crate) fn is_in_version(resource: &Resource, bytes: &[u8]) -> bool {
    const START: &[u8] = b"{\"apiVersion\":\"";
    let rest = bytes.strip_prefix(START);
    let rest = rest.and_then(|rest| rest.strip_prefix(resource.group.as_bytes()));
    let rest = rest.and_then(|rest| rest.strip_prefix(b"/"));
    let rest = rest.and_then(|rest| rest.strip_prefix(resource.version.as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(b"\""))
}

/// Makes an object that was written under another schema one of this one.
pub(crate) fn refit(resource: &Resource, value: &mut Value) {
    // What was good enough to be stored is shown, if only as it is.
    if let Err(error) = minik_api::conform(resource, value, FieldValidation::Ignore) {
        tracing::warn!(kind = %resource.gvk(), %error, "a stored object does not fit its kind");
    }
    minik_api::default(resource, value);
}

/// The bytes to store for `value`.
pub(crate) fn write(resource: &Resource, mut value: Value) -> Bytes {
    convert(&mut value, resource, Direction::ToStorage);
    bytes(value)
}

/// The bytes to store for a value that is in its storage version.
pub(crate) fn bytes(mut value: Value) -> Bytes {
    object::remove(&mut value, &["metadata", "resourceVersion"]);
    object::remove(&mut value, &["metadata", "selfLink"]);
    let Value::Object(mut fields) = value else { return Bytes::new() };
    let mut ordered = Map::with_capacity(fields.len());
    for first in ["apiVersion", "kind", "metadata"] {
        if let Some(value) = fields.shift_remove(first) {
            ordered.insert(first.to_owned(), value);
        }
    }
    ordered.append(&mut fields);
    serde_json::to_vec(&ordered).unwrap_or_default().into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    FromStorage,
    ToStorage,
}

/// Converts between the version that is served and the one that is stored.
fn convert(value: &mut Value, served: &Resource, direction: Direction) {
    let storage = &served.storage;
    if served.custom.is_some() {
        // Versions differ in name only, or were converted before.
        let version = match direction {
            Direction::FromStorage => &served.version,
            Direction::ToStorage => &storage.version,
        };
        let version = minik_meta::gvk::api_version(&served.group, version);
        object::set(value, &["apiVersion"], version);
        return;
    }
    if served.is_storage_version() {
        return;
    }
    let stored = minik_api::kinds().by_resource(&storage.group, &storage.version, &storage.plural);
    let converted = match (stored, direction) {
        (Some(stored), Direction::FromStorage) => minik_api::convert(value, stored, served),
        (Some(stored), Direction::ToStorage) => minik_api::convert(value, served, stored),
        (None, _) => Ok(()),
    };
    // The table promises a conversion between the versions of one stored kind.
    debug_assert!(converted.is_ok(), "{converted:?}");
}

/// How the copy of an object begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// With `apiVersion` and `kind`.
    Full,
    /// Without them: items of a typed list know them from the list.
    Item,
}

/// Appends the stored object to `out` with its resource version put in. Only for bytes that are
/// stored in the version that is asked for.
pub(crate) fn splice(out: &mut BytesMut, stored: &[u8], revision: Revision, head: Head) {
    const METADATA: &[u8] = b"\"metadata\":{";
    // The two fields before it are plain identifiers, so the first match is the right one.
    let found = stored.windows(METADATA.len()).take(512).position(|window| window == METADATA);
    let Some(at) = found else {
        out.put_slice(stored);
        return;
    };
    let inside = at + METADATA.len();
    match head {
        Head::Full => out.put_slice(&stored[..inside]),
        Head::Item => {
            out.put_u8(b'{');
            out.put_slice(METADATA);
        }
    }
    out.put_slice(b"\"resourceVersion\":\"");
    out.put_slice(revision.to_string().as_bytes());
    out.put_u8(b'"');
    if stored.get(inside) != Some(&b'}') {
        out.put_u8(b',');
    }
    out.put_slice(&stored[inside..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(stored: &str, head: Head) -> String {
        let mut out = BytesMut::new();
        splice(&mut out, stored.as_bytes(), Revision(7), head);
        String::from_utf8(out.to_vec()).expect("text")
    }

    #[test]
    fn the_resource_version_is_put_in_by_copying() {
        let stored = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{}}"#;
        assert_eq!(
            spliced(stored, Head::Full),
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7","name":"a"},"spec":{}}"#
        );
        assert_eq!(
            spliced(stored, Head::Item),
            r#"{"metadata":{"resourceVersion":"7","name":"a"},"spec":{}}"#
        );
        assert_eq!(
            spliced(r#"{"metadata":{}}"#, Head::Full),
            r#"{"metadata":{"resourceVersion":"7"}}"#
        );
    }
}
