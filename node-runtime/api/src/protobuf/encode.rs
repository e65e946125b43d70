//! Values → protobuf. Absent fields stay absent, which to its readers is the same as zero.

use crate::schema::{Field, FieldType, Schema, Type};
use crate::{KindTable, Resource, kinds};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minik_meta::time;
use serde_json::{Map, Value};

use super::MAGIC;
use super::choice::{Choice, choice};
use super::wire::{bytes, double, integer, nested, whole};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Whether objects of `resource` have a protobuf form: all built-in kinds do, custom ones do not.
pub fn has_form(resource: &Resource) -> bool {
    resource.custom.is_none()
        && resource.schema.root().fields.iter().any(|field| field.proto[0] != 0)
}

/// An object, list or status in its envelope; nothing if its kind has no protobuf form.
pub fn encode(value: &Value) -> Option<Vec<u8>> {
    let fields = value.as_object()?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let writer = Writer { schema: kinds().schema() };
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(MAGIC);
    nested(&mut out, 1, |out| {
        bytes(out, 1, api_version.as_bytes());
        bytes(out, 2, kind.as_bytes());
    });
    let mut known = true;
    nested(&mut out, 2, |out| known = writer.raw(out, api_version, kind, fields));
    bytes(&mut out, 3, b"");
    bytes(&mut out, 4, b"");
    known.then_some(out)
}

/// One event of a watch, with its length in front. `object` is in its envelope.
pub fn frame(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    bytes(&mut out, 1, kind.as_bytes());
    nested(&mut out, 2, |out| bytes(out, 1, object));
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// Type of a kind's objects.
fn shape_of<'a>(table: &'a KindTable, api_version: &str, kind: &str) -> Option<&'a Type> {
    if (api_version, kind) == ("v1", "Status") {
        let schema = table.schema();
        return schema.find(&format!("{META}.Status")).map(|id| schema.get(id));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let found = table.by_kind(group, version, kind).or_else(|| table.body(group, version, kind));
    found.map(|resource| resource.schema.root())
}

struct Writer<'a> {
    schema: &'a Schema,
}

impl Writer<'_> {
    /// The object without its envelope; false if its kind is not known.
    fn raw(
        &self,
        out: &mut Vec<u8>,
        api_version: &str,
        kind: &str,
        fields: &Map<String, Value>,
    ) -> bool {
        if let (Some(items), Some(one)) = (fields.get("items"), kind.strip_suffix("List")) {
            let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
            self.meta(out, "ListMeta", fields.get("metadata"));
            return items.iter().filter_map(Value::as_object).all(|item| {
                let mut known = true;
                nested(out, 2, |out| known = self.raw(out, api_version, one, item));
                known
            });
        }
        if kind == "PartialObjectMetadata" {
            self.meta(out, "ObjectMeta", fields.get("metadata"));
            return true;
        }
        match shape_of(kinds(), api_version, kind) {
            Some(shape) => {
                self.message(out, shape, fields);
                true
            }
            None => false,
        }
    }

    /// The metadata in field 1.
    fn meta(&self, out: &mut Vec<u8>, name: &str, metadata: Option<&Value>) {
        let Some(id) = self.schema.find(&format!("{META}.{name}")) else { return };
        if let Some(Value::Object(metadata)) = metadata {
            nested(out, 1, |out| self.message(out, self.schema.get(id), metadata));
        }
    }

    /// The fields of a message in the order of their numbers. Those of an embedded message lie in
    /// the same JSON object.
    fn message(&self, out: &mut Vec<u8>, shape: &Type, fields: &Map<String, Value>) {
        let mut present: Vec<(&Field, &Value)> = fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .filter_map(|(name, value)| Some((shape.field(name)?, value)))
            .filter(|(field, _)| field.proto[0] != 0)
            .collect();
        present.sort_by_key(|(field, _)| field.proto);
        self.level(out, 0, shape, &present);
    }

    /// Fields that are embedded together in `level` messages.
    fn level(&self, out: &mut Vec<u8>, level: usize, shape: &Type, present: &[(&Field, &Value)]) {
        for run in present.chunk_by(|(a, _), (b, _)| a.proto[level] == b.proto[level]) {
            let number = run[0].0.proto[level];
            match run {
                [(field, value)] if field.proto.get(level + 1).is_none_or(|inner| *inner == 0) => {
                    self.field(out, number, shape, field, value);
                }
                embedded => nested(out, number, |out| self.level(out, level + 1, shape, embedded)),
            }
        }
    }

    fn field(&self, out: &mut Vec<u8>, number: u16, shape: &Type, field: &Field, value: &Value) {
        let choice = choice(shape, field);
        match (&field.kind, value) {
            (FieldType::List(of), Value::Array(items)) => {
                items.iter().for_each(|item| self.value(out, number, of, item));
            }
            (FieldType::Map(of), Value::Object(entries)) => {
                for (key, value) in entries {
                    nested(out, number, |out| {
                        bytes(out, 1, key.as_bytes());
                        match choice {
                            Some(choice) => nested(out, 2, |out| self.chosen(out, choice, value)),
                            None => self.map_value(out, of, value),
                        }
                    });
                }
            }
            (kind, value) => match choice {
                Some(choice) => nested(out, number, |out| self.chosen(out, choice, value)),
                None => self.value(out, number, kind, value),
            },
        }
    }

    /// Lists as values are wrapped: a message whose first field repeats.
    fn map_value(&self, out: &mut Vec<u8>, of: &FieldType, value: &Value) {
        match (of, value) {
            (FieldType::List(of), Value::Array(items)) => nested(out, 2, |out| {
                items.iter().for_each(|item| self.value(out, 1, of, item));
            }),
            (of, value) => self.value(out, 2, of, value),
        }
    }

    /// One value. What is of another shape than the schema says, which nothing stored is, is left
    /// out.
    fn value(&self, out: &mut Vec<u8>, number: u16, kind: &FieldType, value: &Value) {
        match (kind, value) {
            (FieldType::String, Value::String(text)) => bytes(out, number, text.as_bytes()),
            (FieldType::Bool, Value::Bool(flag)) => integer(out, number, u64::from(*flag)),
            (FieldType::Int32 | FieldType::Int64, Value::Number(_)) => {
                integer(out, number, whole(value));
            }
            (FieldType::Double, Value::Number(one)) => {
                double(out, number, one.as_f64().unwrap_or_default());
            }
            (FieldType::Bytes, Value::String(text)) => {
                bytes(out, number, &STANDARD.decode(text).unwrap_or_default());
            }
            (FieldType::Quantity, Value::String(text)) => {
                nested(out, number, |out| bytes(out, 1, text.as_bytes()));
            }
            (FieldType::Quantity, Value::Number(one)) => {
                nested(out, number, |out| bytes(out, 1, one.to_string().as_bytes()));
            }
            (FieldType::IntOrString, value) => nested(out, number, |out| {
                integer(out, 1, u64::from(value.is_string()));
                integer(out, 2, whole(value));
                bytes(out, 3, value.as_str().unwrap_or_default().as_bytes());
            }),
            (FieldType::Time | FieldType::MicroTime, Value::String(text)) => {
                let Some(at) = time::parse(text) else { return };
                nested(out, number, |out| {
                    integer(out, 1, at.unix_timestamp().cast_unsigned());
                    integer(out, 2, u64::from(at.nanosecond()));
                });
            }
            (FieldType::FieldsV1 | FieldType::Raw | FieldType::Json, value) => {
                let json = serde_json::to_vec(value).unwrap_or_default();
                nested(out, number, |out| bytes(out, 1, &json));
            }
            (FieldType::Object(id), Value::Object(fields)) => {
                nested(out, number, |out| self.message(out, self.schema.get(*id), fields));
            }
            _ => {}
        }
    }

    /// The message of a field that in JSON is one of two shapes.
    fn chosen(&self, out: &mut Vec<u8>, choice: Choice, value: &Value) {
        let shape = self.schema.get(choice.of());
        match (choice, value) {
            (Choice::Schemas(_), Value::Array(many)) => {
                for fields in many.iter().filter_map(Value::as_object) {
                    nested(out, 2, |out| self.message(out, shape, fields));
                }
            }
            (Choice::Texts(_), Value::Array(texts)) => {
                texts
                    .iter()
                    .filter_map(Value::as_str)
                    .for_each(|one| bytes(out, 2, one.as_bytes()));
            }
            (Choice::Flag(_), Value::Bool(flag)) => integer(out, 1, u64::from(*flag)),
            (Choice::Flag(_), Value::Object(fields)) => {
                integer(out, 1, 1);
                nested(out, 2, |out| self.message(out, shape, fields));
            }
            (_, Value::Object(fields)) => nested(out, 1, |out| self.message(out, shape, fields)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
