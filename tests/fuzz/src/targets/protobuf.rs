//! Protobuf: `group/version/Kind`, then a body.

use minik_api::decode::FieldValidation;
use minik_api::{Resource, conform, protobuf as wire};
use serde_json::Value;

use super::{kind, parts};

/// What can be read can be written, reads the same again, and is valid JSON of the kind.
pub fn protobuf(data: &[u8]) {
    let [name, body] = parts(data);
    let resource = kind(name);
    let Some(first) = read(resource, body) else { return };
    super::decode::is_stable(resource, &first);
    let written = wire::encode(&first).expect("a built-in kind has a form");
    let second = read(resource, &written).expect("what was written can be read");
    let again = wire::encode(&second).expect("a built-in kind has a form");
    assert_eq!(read(resource, &again).as_ref(), Some(&second));
}

fn read(resource: &Resource, body: &[u8]) -> Option<Value> {
    let mut value = wire::decode(&resource.schema, body).ok()?;
    conform(resource, &mut value, FieldValidation::Ignore).ok()?;
    Some(value)
}
