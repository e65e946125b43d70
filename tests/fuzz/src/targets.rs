//! One file per target, and what they share.

use minik_api::decode::{ContentType, FieldValidation, decode as decode_as};
use minik_api::{Resource, kinds};
use serde_json::Value;

pub(crate) mod apply;
pub(crate) mod cel;
pub(crate) mod decode;
pub(crate) mod definition;
pub(crate) mod patch;
pub(crate) mod path;
pub(crate) mod protobuf;
pub(crate) mod quantity;
pub(crate) mod selector;
pub(crate) mod spdy;
pub(crate) mod store;

const SEPARATOR: &[u8] = b"\n---\n";

/// The parts of an input, exactly as many as asked for; what is missing is empty.
fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = data;
    let mut found = [&[][..]; N];
    for (at, part) in found.iter_mut().enumerate() {
        let end = rest.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        match end.filter(|_| at + 1 < N) {
            Some(end) => (*part, rest) = (&rest[..end], &rest[end + SEPARATOR.len()..]),
            None => (*part, rest) = (rest, &[]),
        }
    }
    found
}

/// A built-in kind by `group/version/Kind`; whatever else it says means one of them, too.
fn kind(name: &[u8]) -> &'static Resource {
    let text = String::from_utf8_lossy(name);
    let words: Vec<&str> = text.trim().rsplit('/').collect();
    let [kind, rest @ ..] = words.as_slice() else { unreachable!("split gives one word") };
    let version = rest.first().copied().unwrap_or("v1");
    let group = rest.get(1).copied().unwrap_or_default();
    let all = kinds().all();
    let any = name.iter().fold(7_usize, |sum, byte| sum.wrapping_mul(31) ^ usize::from(*byte));
    kinds().by_kind(group, version, kind).unwrap_or_else(|| &all[any % all.len()])
}

/// JSON or YAML as an object of `resource`, its unknown fields dropped.
fn object(resource: &Resource, text: &[u8]) -> Option<Value> {
    let content = match text.trim_ascii_start().first() {
        Some(b'{') => ContentType::Json,
        _ => ContentType::Yaml,
    };
    decode_as(resource, text, content, FieldValidation::Ignore).ok().map(|(value, _)| value)
}
