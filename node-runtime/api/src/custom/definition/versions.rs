//! Rules of `spec.versions`: names, storage, subresources, columns, selectable fields.

use minik_meta::{FieldError, Path, names, object};
use serde_json::Value;

use super::places::{self, Places};
use super::schema;
use crate::custom::JsonPath;
use crate::custom::structural::{Kind, Node};

const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] =
    &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
/// Most fields that can be selected by.
const SELECTABLE_MAX: usize = 8;
/// Longest warning of a deprecated version, in bytes.
const WARNING_BYTES_MAX: usize = 256;

pub(super) fn check(definition: &Value, errors: &mut Vec<FieldError>) {
    let versions = object::list(definition, &["spec", "versions"]);
    let at = Path::new("spec.versions");
    let places = places::of(versions);
    let mut seen: Vec<&Path> = Vec::new();
    for (version, places) in versions.iter().zip(&places) {
        one(version, places, &mut seen, errors);
    }
    let mut names: Vec<&str> = versions.iter().map(|one| object::text(one, &["name"])).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() != versions.len() {
        errors.push(FieldError::invalid(
            &at,
            versions.to_vec(),
            "must contain unique version names",
        ));
    }
    let stored = versions.iter().filter(|one| object::boolean(one, &["storage"])).count();
    if stored != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(&at, versions.to_vec(), why));
    }
}

fn one<'a>(
    version: &Value,
    places: &'a Places,
    seen: &mut Vec<&'a Path>,
    errors: &mut Vec<FieldError>,
) {
    let name = object::text(version, &["name"]);
    let wrong = names::dns1035_label(name);
    if !wrong.is_empty() {
        errors.push(FieldError::invalid(&places.version.child("name"), name, wrong.join(",")));
    }
    deprecation(version, &places.version, errors);
    let mut first = |path: &'a Path| {
        let new = !seen.contains(&path);
        if new {
            seen.push(path);
        }
        new
    };
    let shape = version.pointer("/schema/openAPIV3Schema");
    match shape {
        None => errors.push(FieldError::required(
            &places.version.child("schema").child("openAPIV3Schema"),
            "schemas are required",
        )),
        Some(shape) if first(&places.schema) => {
            schema::check(shape, &places.schema.child("openAPIV3Schema"), errors);
        }
        Some(_) => {}
    }
    if first(&places.subresources) {
        scale(version, &places.subresources.child("scale"), errors);
    }
    if first(&places.columns) {
        let columns = object::list(version, &["additionalPrinterColumns"]);
        for (index, one) in columns.iter().enumerate() {
            column(one, &places.columns.index(index), errors);
        }
    }
    if first(&places.selectable) {
        let node = shape.map(Node::compile).unwrap_or_default();
        let fields = object::list(version, &["selectableFields"]);
        selectable(fields, &node, &places.selectable, errors);
    }
}

fn deprecation(version: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let Some(text) = version.get("deprecationWarning").and_then(Value::as_str) else { return };
    let at = at.child("deprecationWarning");
    let why = if !object::boolean(version, &["deprecated"]) {
        "can only be set for deprecated versions"
    } else if text.is_empty() {
        "must not be an empty string"
    } else if text.len() > WARNING_BYTES_MAX {
        "must be <= 256 characters"
    } else if text.chars().any(char::is_control) {
        "must only contain printable UTF-8 characters"
    } else {
        return;
    };
    errors.push(FieldError::invalid(&at, text, why));
}

fn scale(version: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let Some(scale) = object::at(version, &["subresources", "scale"]) else { return };
    let fields: [(&str, &[&str], &str); 3] = [
        ("specReplicasPath", &[".spec."], "should be a json path under .spec"),
        ("statusReplicasPath", &[".status."], "should be a json path under .status"),
        (
            "labelSelectorPath",
            &[".spec.", ".status."],
            "should be a json path under either .spec or .status",
        ),
    ];
    for (key, under, why) in fields {
        let at = at.child(key);
        let path = object::text(scale, &[key]);
        if path.is_empty() {
            if key != "labelSelectorPath" {
                errors.push(FieldError::required(&at, ""));
            }
            continue;
        }
        if simple(path, &at, errors) && !under.iter().any(|start| path.starts_with(start)) {
            errors.push(FieldError::invalid(&at, path, why));
        }
    }
}

/// Whether a path consists of fields only.
fn simple(path: &str, at: &Path, errors: &mut Vec<FieldError>) -> bool {
    let wrong = match JsonPath::parse(path) {
        _ if !path.starts_with('.') => {
            Some("must be a simple json path starting with .".to_owned())
        }
        Err(error) => Some(format!("is an invalid path: {error}")),
        Ok(parsed) if parsed.fields().is_none() => {
            Some("must be a simple json path without arrays".to_owned())
        }
        Ok(_) => None,
    };
    if let Some(why) = &wrong {
        errors.push(FieldError::invalid(at, path, why.as_str()));
    }
    wrong.is_none()
}

fn column(column: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let text = |key: &str| object::text(column, &[key]);
    let one_of = |allowed: &[&str]| format!("must be one of {}", allowed.join(","));
    if text("name").is_empty() {
        errors.push(FieldError::required(&at.child("name"), ""));
    }
    match text("type") {
        "" => errors.push(FieldError::required(&at.child("type"), one_of(COLUMN_TYPES))),
        kind if !COLUMN_TYPES.contains(&kind) => {
            errors.push(FieldError::invalid(&at.child("type"), kind, one_of(COLUMN_TYPES)));
        }
        _ => {}
    }
    let format = text("format");
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        errors.push(FieldError::invalid(&at.child("format"), format, one_of(COLUMN_FORMATS)));
    }
    let (path, at) = (text("jsonPath"), at.child("jsonPath"));
    if path.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if !path.starts_with('.') {
        let why = "must be a simple json path starting with .";
        errors.push(FieldError::invalid(&at, path, why));
    } else if let Err(error) = JsonPath::parse(path) {
        errors.push(FieldError::invalid(&at, path, format!("is an invalid path: {error}")));
    }
}

fn selectable(fields: &[Value], shape: &Node, at: &Path, errors: &mut Vec<FieldError>) {
    if fields.len() > SELECTABLE_MAX {
        errors.push(FieldError::too_many(at, fields.len(), SELECTABLE_MAX));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let at = at.index(index).child("jsonPath");
        let path = object::text(field, &["jsonPath"]);
        if path.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        if !simple(path, &at, errors) {
            continue;
        }
        if seen.contains(&path) {
            errors.push(FieldError::duplicate(&at, path));
        }
        seen.push(path);
        let steps: Vec<&str> = path.split('.').filter(|step| !step.is_empty()).collect();
        if steps.first() == Some(&"metadata") {
            let why = "must not point to fields in metadata";
            errors.push(FieldError::invalid(&at, path, why));
            continue;
        }
        let found = steps.iter().try_fold(shape, |node, step| node.property(step));
        let kind = found.and_then(|node| node.kind);
        let why = match (found, kind) {
            (None, _) => "is an invalid path: does not refer to a valid field",
            (_, Some(Kind::String | Kind::Boolean | Kind::Integer)) => continue,
            _ => {
                "must point to a field of type string, boolean or integer. Enum string fields and \
                 strings with formats are allowed."
            }
        };
        errors.push(FieldError::invalid(&at, path, why));
    }
}
