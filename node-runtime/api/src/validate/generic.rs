//! Rules that the schema knows: enumerations and required fields, outside the status.

use minik_meta::{FieldError, Path};
use serde_json::{Map, Value};

use super::at::Errors;
use crate::resource::Resource;
use crate::schema::{Field, FieldType, Schema, Type};

/// Fields that the schema calls required and upstream takes without. Type, field.
const NOT_ENFORCED: &[(&str, &str)] = &[
    // Checked with more words elsewhere, or filled in by the server.
    ("CertificateSigningRequestSpec", "request"),
    ("ContainerPort", "containerPort"),
    ("CustomResourceDefinitionSpec", "names"),
    ("EndpointAddress", "ip"),
    ("EndpointPort", "port"),
    ("EphemeralContainer", "name"),
    ("Event", "involvedObject"),
    ("HTTPHeader", "value"),
    ("NodeSelectorRequirement", "key"),
    ("Preconditions", "uid"),
    ("Sysctl", "value"),
];

/// Packages whose required fields are enforced by rules of their own only.
const LOOSE: &[&str] =
    &["io.k8s.apimachinery.", "io.k8s.api.resource.", "io.k8s.apiextensions-apiserver."];

pub(super) fn check(resource: &Resource, object: &Value, errors: &mut Errors) {
    let Value::Object(map) = object else { return };
    let mut walk = Walk { schema: resource.schema.schema(), path: String::new(), errors };
    let root = resource.schema.root();
    for field in root.fields.iter().filter(|field| !matches!(&*field.name, "status" | "metadata")) {
        walk.field(root, field, map);
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    /// Where the walk is; made into a [`Path`] only where something is wrong.
    path: String,
    errors: &'a mut Errors,
}

impl Walk<'_> {
    fn field(&mut self, ty: &Type, field: &Field, map: &Map<String, Value>) {
        let value = map.get(field.name.as_ref()).filter(|value| !value.is_null());
        let empty = value.is_none_or(|value| value.as_str() == Some(""));
        if value.is_none() && !field.required {
            return;
        }
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(&field.name);
        if empty && is_enforced(ty, field) {
            self.say(|path| FieldError::required(path, ""));
        } else if let Some(value) = value {
            self.value(field, &field.kind, value);
        }
        self.path.truncate(before);
    }

    /// Unless a rule of the kind has already said something about it.
    fn say(&mut self, error: impl FnOnce(&Path) -> FieldError) {
        let path = Path::new(self.path.clone());
        if !self.errors.about(&path) {
            self.errors.push(error(&path));
        }
    }

    fn below(&mut self, step: String, field: &Field, kind: &FieldType, value: &Value) {
        let before = self.path.len();
        self.path.push_str(&step);
        self.value(field, kind, value);
        self.path.truncate(before);
    }

    fn value(&mut self, field: &Field, kind: &FieldType, value: &Value) {
        match (kind, value) {
            (FieldType::Object(id), Value::Object(map)) => {
                let ty = &self.schema.types[id.0 as usize];
                for field in &ty.fields {
                    self.field(ty, field, map);
                }
            }
            (FieldType::List(item), Value::Array(list)) if is_deep(field, item) => {
                for (index, value) in list.iter().enumerate() {
                    self.below(format!("[{index}]"), field, item, value);
                }
            }
            (FieldType::Map(item), Value::Object(map)) if is_deep(field, item) => {
                for (key, value) in map {
                    self.below(format!("[{key}]"), field, item, value);
                }
            }
            (FieldType::String, Value::String(text)) if !is_allowed(field, text) => {
                let allowed = field.allowed();
                self.say(|path| FieldError::not_supported(path, text.as_str(), allowed));
            }
            _ => {}
        }
    }
}

fn is_allowed(field: &Field, text: &str) -> bool {
    let allowed = field.allowed();
    allowed.is_empty() || text.is_empty() || allowed.iter().any(|one| one == text)
}

/// Whether items of a list or map have anything to check.
fn is_deep(field: &Field, item: &FieldType) -> bool {
    !matches!(item, FieldType::String | FieldType::Raw | FieldType::Json)
        || !field.allowed().is_empty()
}

/// Required texts and objects. Numbers and lists may be zero or empty: rules decide.
fn is_enforced(ty: &Type, field: &Field) -> bool {
    field.required
        && matches!(field.kind, FieldType::String | FieldType::Object(_))
        && !NOT_ENFORCED.contains(&(ty.short_name(), field.name.as_ref()))
        && !LOOSE.iter().any(|package| ty.name.starts_with(package))
}
