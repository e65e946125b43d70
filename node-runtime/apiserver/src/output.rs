//! Writes objects the way the client asked for: whole, as metadata only, as a table.

use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use minik_api::{Resource, table};
use minik_store::Revision;
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::negotiate::{Format, Include, Output, Shape};
use crate::objects::{self, Head};
use crate::respond;

/// One object as an answer.
pub(crate) fn one(call: &Call, code: StatusCode, object: Value) -> Response<Body> {
    value(call, code, &shape(&call.kind, call.output, object, true))
}

/// Anything as an answer in the format asked for.
pub(crate) fn value(call: &Call, code: StatusCode, value: &Value) -> Response<Body> {
    call.trail.answers(value);
    respond::value(code, call.output.format, value)
}

/// JSON that is already written, as an answer.
pub(crate) fn json_bytes(call: &Call, json: Bytes) -> Response<Body> {
    call.trail.answers_json(&json);
    respond::json_bytes(StatusCode::OK, json)
}

/// One stored object as an answer; without parsing where nothing has to be changed.
pub(crate) fn stored(call: &Call, stored: &Bytes, revision: Revision) -> Response<Body> {
    if is_plain(&call.kind, call.output, stored, revision) {
        let mut out = BytesMut::with_capacity(stored.len() + 64);
        objects::splice(&mut out, stored, revision, Head::Full);
        out.put_u8(b'\n');
        return json_bytes(call, out.freeze());
    }
    one(call, StatusCode::OK, objects::read(&call.kind, stored, revision))
}

/// Whether stored bytes can be sent as they are, but for the resource version.
pub(crate) fn is_plain(
    resource: &Resource,
    output: Output,
    stored: &[u8],
    revision: Revision,
) -> bool {
    output == Output { format: Format::Json, shape: Shape::Whole }
        && objects::fits(resource, stored, revision)
}

/// What is made of one object, in an answer of its own or in a watch event. Tables name their
/// columns if `columns` says so.
pub(crate) fn shape(resource: &Resource, output: Output, object: Value, columns: bool) -> Value {
    match output.shape {
        Shape::Whole => object,
        Shape::Metadata => partial(object),
        Shape::Table { version, include } => {
            let now = minik_meta::time::now();
            let table = table::render_event(resource, &object, columns, include_of(include), now);
            in_version(table, version)
        }
    }
}

/// `PartialObjectMetadata` of an object.
pub(crate) fn partial(mut object: Value) -> Value {
    let mut partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"});
    // Moved: the macro would copy it.
    partial["metadata"] = object["metadata"].take();
    partial
}

/// A table with a row for each item.
pub(crate) fn make_table(
    resource: &Resource,
    version: &str,
    include: Include,
    items: &[Value],
    metadata: Value,
) -> Value {
    let now = minik_meta::time::now();
    in_version(table::render(resource, items, metadata, include_of(include), now), version)
}

fn include_of(include: Include) -> table::IncludeObject {
    match include {
        Include::Nothing => table::IncludeObject::None,
        Include::Metadata => table::IncludeObject::Metadata,
        Include::Object => table::IncludeObject::Object,
    }
}

fn in_version(mut table: Value, version: &str) -> Value {
    table["apiVersion"] = format!("meta.k8s.io/{version}").into();
    table
}
