//! The way over from `kubectl apply` on the client's side: its annotation says what it applied.

use minik_meta::object;
use serde_json::{Map, Value};

use super::check;
use super::compare::compare;
use super::owners::Typed;
use super::set::FieldSet;
use super::shape::Shape;
use super::walk::fields_of;

/// Where kubectl keeps what it applied last.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The manager that comes over: kubectl's own.
pub(super) const KUBECTL: &str = "kubectl";

/// Most bytes that all annotations together may have.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// The fields that kubectl applied and that still have the value it gave them, if there is such
/// an annotation for this version.
pub(super) fn still_applied(live: &Typed<'_>) -> Option<FieldSet> {
    let text = object::annotation(&live.value, ANNOTATION).filter(|text| !text.is_empty())?;
    let applied: Value = serde_json::from_str(text).ok()?;
    if object::text(&applied, &["apiVersion"]) != live.version {
        return None;
    }
    check::check(&live.schema, &applied).ok()?;
    let shape = Shape::root(&live.schema);
    let difference = compare(shape, &applied, &live.value);
    let fields = fields_of(shape, &applied);
    Some(fields.difference(&difference.written()).difference(&difference.removed))
}

/// Keeps the annotation in step with what is applied now, where there is one.
pub(super) fn renew(applied: &mut Value, config: &Value) {
    if object::annotation(applied, ANNOTATION).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = object::at(&config, &["metadata", "annotations"])
        && annotations.get(ANNOTATION).is_some()
    {
        object::remove(&mut config, &["metadata", "annotations", ANNOTATION]);
    }
    let text = format!("{}\n", sorted(config));
    let others = object::map(applied, &["metadata", "annotations"]).into_iter().flatten();
    let others = others.filter(|(key, _)| *key != ANNOTATION);
    let size: usize = others
        .map(|(key, value)| key.len() + value.as_str().unwrap_or_default().len())
        .sum::<usize>()
        + ANNOTATION.len()
        + text.len();
    // Too large to be kept: an empty one says that there was one.
    let text = if size > ANNOTATIONS_BYTES_MAX { String::new() } else { text };
    object::set(applied, &["metadata", "annotations", ANNOTATION], text);
}

/// The same value with all keys in order, as kubectl writes it.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            let pairs = pairs.into_iter().map(|(key, value)| (key, sorted(value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}
