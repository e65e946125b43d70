//! JSON and YAML: `group/version/Kind`, then a body.

use minik_api::decode::{ContentType, FieldValidation, decode as decode_as};
use minik_api::table::IncludeObject;
use minik_api::{Resource, protobuf, strategy, table};
use serde_json::Value;
use time::OffsetDateTime;

use super::{kind, parts};

/// How strictly fields are checked changes what is said and not what is read; what is read reads
/// the same again; whatever can be read can be defaulted, validated and shown.
pub fn decode(data: &[u8]) {
    let [name, body] = parts(data);
    let resource = kind(name);
    for content in [ContentType::Json, ContentType::Yaml] {
        let read = |validation| decode_as(resource, body, content, validation);
        let ignored = read(FieldValidation::Ignore);
        let warned = read(FieldValidation::Warn);
        let strict = read(FieldValidation::Strict);
        assert_eq!(ignored.is_ok(), warned.is_ok());
        let (Ok((ignored, silent)), Ok((value, warnings))) = (ignored, warned) else {
            assert!(strict.is_err());
            continue;
        };
        assert_eq!(ignored, value);
        assert!(silent.is_empty(), "{silent:?}");
        assert_eq!(strict.is_ok(), warnings.is_empty(), "{warnings:?}");
        is_stable(resource, &value);
        is_usable(resource, value);
    }
}

/// What was decoded is written as JSON that decodes to the same.
pub(crate) fn is_stable(resource: &Resource, value: &Value) {
    let text = value.to_string();
    let again = decode_as(resource, text.as_bytes(), ContentType::Json, FieldValidation::Strict);
    match again {
        Ok((again, _)) => assert_eq!(&again, value),
        Err(status) => panic!("{}: {text}", status.message),
    }
}

fn is_usable(resource: &Resource, mut value: Value) {
    minik_api::default(resource, &mut value);
    let mut again = value.clone();
    minik_api::default(resource, &mut again);
    assert_eq!(again, value, "defaults are there already");
    // Refusing is fine.
    let _ = strategy::validate(resource, &value);
    let _ = strategy::validate_update(resource, &value, &again);
    let _ = protobuf::encode(&value);
    let now = OffsetDateTime::UNIX_EPOCH;
    table::row(resource, &value, IncludeObject::Metadata, now);
    strategy::prepare_create(resource, &mut value);
    strategy::prepare_update(resource, &mut value, &again);
    strategy::prepare_status_update(resource, &mut value, &again);
}
