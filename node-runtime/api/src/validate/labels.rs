//! Rules of labels and selectors, wherever they occur.

use minik_meta::{FieldError, names};
use serde_json::Value;

use super::at::{At, Errors};

pub(super) fn labels(at: &At<'_>, errors: &mut Errors) {
    for (key, value) in at.entries() {
        label_key(at, key, errors);
        for message in names::label_value(value.text()) {
            errors.push(FieldError::invalid(&at.path, value.text(), message));
        }
    }
}

fn label_key(at: &At<'_>, key: &str, errors: &mut Errors) {
    for message in names::qualified_name(key) {
        errors.push(FieldError::invalid(&at.path, key, message));
    }
}

/// A `LabelSelector` object.
pub(super) fn selector(at: &At<'_>, errors: &mut Errors) {
    labels(&at.get("matchLabels"), errors);
    for expression in at.get("matchExpressions").items() {
        let (operator, values) = (expression.get("operator"), expression.get("values"));
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'")
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
                &values,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.invalid(&operator, "not a valid selector operator"),
        }
        let key = expression.get("key");
        errors.all_invalid(&key, names::qualified_name(key.text()));
        for value in values.items() {
            errors.all_invalid(&value, names::label_value(value.text()));
        }
    }
}

/// Selector and template of a workload belong together: not empty, and the one selects the other.
pub(super) fn selects(spec: &At<'_>, kind: &str, errors: &mut Errors) {
    let at = spec.get("selector");
    if at.is_absent() {
        errors.required(&at, "");
        return;
    }
    selector(&at, errors);
    if at.get("matchLabels").is_empty() && at.get("matchExpressions").is_empty() {
        errors.invalid(&at, &format!("empty selector is invalid for {kind}"));
        return;
    }
    let Ok(parsed) = minik_meta::LabelSelector::from_object(Some(at.value)) else { return };
    let labels = spec.down(&["template", "metadata", "labels"]);
    if !parsed.matches(labels.value.as_object()) {
        let shown = if labels.is_absent() {
            Value::Object(Default::default())
        } else {
            labels.value.clone()
        };
        errors.push(FieldError::invalid(
            &labels.path,
            shown,
            "`selector` does not match template `labels`",
        ));
    }
}
