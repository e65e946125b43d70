//! Validation with rules in CEL: those of custom resources, evaluated when objects are written;
//! those of definitions and admission policies, checked when they are.

pub(crate) mod certificates;

use minik_api::custom::{Custom, definition};
use minik_api::strategy::{self, Write};
use minik_cel::Budget;
use minik_cel::rules::Rules;
use minik_meta::field::FieldErrorKind;
use minik_meta::{FieldError, Path, Status};
use serde_json::Value;

use crate::admission::policies;
use crate::call::Call;

/// Whether a prepared new state may be written: the rules of its kind, then those in CEL.
pub(crate) fn validate(call: &Call, new: &Value, write: Write<'_>) -> Result<(), Status> {
    let kind = &call.kind;
    let mut wrong = strategy::wrong(kind, new, write);
    let old = match write {
        Write::Create => None,
        Write::Update(old) | Write::UpdateStatus(old) => Some(old),
    };
    if let Some(custom) = &kind.custom {
        evaluate(call, custom, new, old, &mut wrong);
    }
    let defines = kind.is("apiextensions.k8s.io", "CustomResourceDefinition");
    if defines && wrong.is_empty() && !matches!(write, Write::UpdateStatus(_)) {
        wrong = of_definition(new, old);
    }
    if !matches!(write, Write::UpdateStatus(_)) {
        wrong.extend(policies::check::check(kind, new, old));
    }
    if kind.is("certificates.k8s.io", "CertificateSigningRequest") {
        let part = match write {
            Write::UpdateStatus(_) => certificates::Part::Status,
            Write::Create | Write::Update(_) => certificates::Part::Main,
        };
        wrong.extend(certificates::wrong(new, old, part));
    }
    strategy::refuse(kind, new, &wrong)
}

/// Evaluates the rules of a custom resource, if what is wrong already lets them be.
fn evaluate(
    call: &Call,
    custom: &Custom,
    new: &Value,
    old: Option<&Value>,
    wrong: &mut Vec<FieldError>,
) {
    let rules = custom.rules(Rules::of);
    if rules.is_empty() {
        return;
    }
    if wrong.iter().any(is_blocking) {
        let why = "some validation rules were not checked because the object was invalid; correct \
                   the existing errors to complete validation";
        wrong.push(FieldError::invalid(&Path::root(), Value::Null, why));
        return;
    }
    let outcome = rules.validate(new, old, &mut Budget::per_request());
    wrong.extend(outcome.errors);
    outcome.warnings.into_iter().for_each(|warning| call.warn(warning));
}

/// Whether rules could be misled by it, or run too long.
fn is_blocking(error: &FieldError) -> bool {
    matches!(
        error.kind,
        FieldErrorKind::NotSupported
            | FieldErrorKind::Required
            | FieldErrorKind::TooLong
            | FieldErrorKind::TooMany
            | FieldErrorKind::TypeInvalid
    )
}

/// What is wrong with the rules of a definition. Schemas that are stored already may stay.
fn of_definition(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let kept = old.map(definition::schemas).unwrap_or_default();
    let schemas = definition::schemas(new).into_iter();
    let fresh = schemas.filter(|(_, schema)| kept.iter().all(|(_, old)| old != schema));
    fresh.filter_map(|(at, schema)| Rules::compile(schema, &at).err()).flatten().collect()
}
