//! Fits a parsed value to its type: checks types, drops nulls and unknown fields.

use minik_meta::Quantity;
use serde_json::{Map, Number, Value};

use super::octets::{self, NoBytes};
use crate::schema::{FieldType, Schema, SchemaRef, Type, TypeId};

/// So many unknown fields are reported at most.
const UNKNOWN_MAX: usize = 100;

/// Fits `value`; returns `unknown field "…"` for each field dropped, or why it cannot fit.
pub(super) fn conform(shape: &SchemaRef, value: &mut Value) -> Result<Vec<String>, String> {
    let mut walk = Walk {
        schema: shape.schema(),
        path: String::new(),
        go_path: String::new(),
        unknown: Vec::new(),
    };
    let root = shape.root();
    let Value::Object(map) = value else {
        return Err(format!(
            "json: cannot unmarshal {} into Go value of type {}",
            json_name(value),
            root.go_name()
        ));
    };
    walk.object(root, map)?;
    Ok(walk.unknown)
}

/// Fits the metadata of an object whose type is not known here; `path` is where it is.
pub(crate) fn metadata(value: &mut Value, path: &str) -> Result<Vec<String>, String> {
    const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let schema = crate::kinds::kinds().schema();
    let ty = schema.get(schema.find(OBJECT_META).expect("the table has it"));
    match value {
        Value::Null => *value = Value::Object(Map::new()),
        Value::Object(_) => {}
        other => {
            let found = json_name(other);
            return Err(format!(
                "json: cannot unmarshal {found} into Go value of type v1.ObjectMeta"
            ));
        }
    }
    let Value::Object(map) = value else { return Ok(Vec::new()) };
    let mut walk =
        Walk { schema, path: path.to_owned(), go_path: path.to_owned(), unknown: Vec::new() };
    walk.object(ty, map)?;
    Ok(walk.unknown)
}

struct Walk<'a> {
    schema: &'a Schema,
    /// With list indexes, for unknown fields.
    path: String,
    /// Without, as type errors name fields.
    go_path: String,
    unknown: Vec<String>,
}

impl<'a> Walk<'a> {
    fn object(&mut self, ty: &'a Type, map: &mut Map<String, Value>) -> Result<(), String> {
        let mut outcome = Ok(());
        map.retain(|key, value| {
            if outcome.is_err() {
                return true;
            }
            let Some(field) = ty.field(key) else {
                self.note_unknown(key);
                return false;
            };
            if value.is_null() {
                return false;
            }
            let lengths = (self.path.len(), self.go_path.len());
            for path in [&mut self.path, &mut self.go_path] {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            outcome = match (ty.alternative(field), &field.kind, value) {
                (Some(id), FieldType::Map(_), Value::Object(map)) => {
                    self.map(map, |walk, value| walk.alternative(id, value))
                }
                (Some(id), _, value) => self.alternative(id, value),
                (None, kind, value) => self.value(ty, kind, value),
            };
            self.path.truncate(lengths.0);
            self.go_path.truncate(lengths.1);
            true
        });
        outcome
    }

    fn note_unknown(&mut self, key: &str) {
        if self.unknown.len() < UNKNOWN_MAX {
            let dot = if self.path.is_empty() { "" } else { "." };
            self.unknown.push(format!("unknown field \"{}{dot}{key}\"", self.path));
        }
    }

    fn value(
        &mut self,
        owner: &'a Type,
        kind: &'a FieldType,
        value: &mut Value,
    ) -> Result<(), String> {
        match (kind, &mut *value) {
            (FieldType::Raw | FieldType::Json | FieldType::FieldsV1, _)
            | (FieldType::String, Value::String(_))
            | (FieldType::Bool, Value::Bool(_))
            | (FieldType::Double, Value::Number(_)) => Ok(()),
            (FieldType::Int32, Value::Number(number)) => {
                let fits = number.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
                if fits { Ok(()) } else { Err(self.wrong_number(owner, "int32", number)) }
            }
            (FieldType::Int64, Value::Number(number)) => {
                if number.is_i64() {
                    Ok(())
                } else {
                    Err(self.wrong_number(owner, "int64", number))
                }
            }
            (FieldType::IntOrString, Value::String(_)) => Ok(()),
            (FieldType::IntOrString, Value::Number(number)) => {
                let fits = number.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
                let why =
                    format!("json: cannot unmarshal number {number} into Go value of type int32");
                if fits { Ok(()) } else { Err(why) }
            }
            (FieldType::Bytes, Value::String(_) | Value::Array(_)) => octets::normalize(value)
                .map_err(|why| match why {
                    NoBytes::Text(at) => format!("illegal base64 data at input byte {at}"),
                    NoBytes::Item(Value::Number(number)) => {
                        self.wrong_number(owner, "uint8", &number)
                    }
                    NoBytes::Item(item) => self.cannot(owner, json_name(&item), "uint8"),
                    NoBytes::Kind => self.wrong_type(owner, kind, value),
                }),
            (FieldType::Quantity, Value::String(_) | Value::Number(_)) => {
                Quantity::from_value(value).map(|_| ()).map_err(|error| error.to_string())?;
                if value.is_number() {
                    *value = Value::String(value.to_string());
                }
                Ok(())
            }
            (FieldType::Time | FieldType::MicroTime, Value::String(text)) => time(text),
            (FieldType::Object(id), Value::Object(map)) => self.object(self.schema.get(*id), map),
            (FieldType::List(item), Value::Array(list)) => {
                self.list(list, |walk, value| walk.item(owner, item, value))
            }
            (FieldType::Map(item), Value::Object(map)) => {
                self.map(map, |walk, value| walk.item(owner, item, value))
            }
            _ => Err(self.wrong_type(owner, kind, value)),
        }
    }

    /// What is an object of a type, a list of them, or something else that is left alone.
    fn alternative(&mut self, id: TypeId, value: &mut Value) -> Result<(), String> {
        match value {
            Value::Object(map) => self.object(self.schema.get(id), map),
            Value::Array(list) => self.list(list, |walk, value| walk.alternative(id, value)),
            _ => Ok(()),
        }
    }

    fn map(
        &mut self,
        map: &mut Map<String, Value>,
        fit: impl Fn(&mut Self, &mut Value) -> Result<(), String>,
    ) -> Result<(), String> {
        map.iter_mut()
            .try_for_each(|(key, value)| self.below(&format!(".{key}"), |walk| fit(walk, value)))
    }

    fn list(
        &mut self,
        list: &mut [Value],
        fit: impl Fn(&mut Self, &mut Value) -> Result<(), String>,
    ) -> Result<(), String> {
        list.iter_mut().enumerate().try_for_each(|(index, value)| {
            self.below(&format!("[{index}]"), |walk| fit(walk, value))
        })
    }

    fn below<T>(&mut self, step: &str, fit: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        self.path.push_str(step);
        let outcome = fit(self);
        self.path.truncate(before);
        outcome
    }

    /// A list item or map value: null becomes the zero value of its type.
    fn item(
        &mut self,
        owner: &'a Type,
        kind: &'a FieldType,
        value: &mut Value,
    ) -> Result<(), String> {
        if value.is_null() {
            *value = match kind {
                FieldType::String | FieldType::Bytes => "".into(),
                FieldType::Bool => false.into(),
                FieldType::Int32 | FieldType::Int64 | FieldType::Double => 0.into(),
                FieldType::Quantity => "0".into(),
                FieldType::Object(_) | FieldType::Map(_) => Value::Object(Map::new()),
                FieldType::List(_) => Value::Array(Vec::new()),
                _ => Value::Null,
            };
            return Ok(());
        }
        self.value(owner, kind, value)
    }

    fn wrong_number(&self, owner: &Type, wanted: &str, number: &Number) -> String {
        self.cannot(owner, &format!("number {number}"), wanted)
    }

    fn wrong_type(&self, owner: &Type, kind: &FieldType, value: &Value) -> String {
        match kind {
            // These read themselves and know no field.
            FieldType::Quantity => "quantities must match the regular expression \
                                    '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                .to_owned(),
            FieldType::IntOrString | FieldType::Time | FieldType::MicroTime => {
                format!("json: cannot unmarshal {} into Go value of type string", json_name(value))
            }
            _ => self.cannot(owner, json_name(value), &self.go_type(kind)),
        }
    }

    fn cannot(&self, owner: &Type, found: &str, wanted: &str) -> String {
        format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {wanted}",
            owner.short_name(),
            self.go_path
        )
    }

    fn go_type(&self, kind: &FieldType) -> String {
        match kind {
            FieldType::String => "string".to_owned(),
            FieldType::Bool => "bool".to_owned(),
            FieldType::Int32 => "int32".to_owned(),
            FieldType::Int64 => "int64".to_owned(),
            FieldType::Double => "float64".to_owned(),
            FieldType::Bytes => "[]uint8".to_owned(),
            FieldType::Quantity => "resource.Quantity".to_owned(),
            FieldType::IntOrString => "intstr.IntOrString".to_owned(),
            FieldType::Time => "v1.Time".to_owned(),
            FieldType::MicroTime => "v1.MicroTime".to_owned(),
            FieldType::FieldsV1 | FieldType::Raw | FieldType::Json => "interface {}".to_owned(),
            FieldType::Object(id) => self.schema.get(*id).go_name().to_owned(),
            FieldType::List(item) => format!("[]{}", self.go_type(item)),
            FieldType::Map(item) => format!("map[string]{}", self.go_type(item)),
        }
    }
}

/// What Go's decoder calls a JSON value.
pub(super) fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn time(text: &str) -> Result<(), String> {
    match minik_meta::time::parse(text) {
        Some(_) => Ok(()),
        None => Err(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \
             \"2006\""
        )),
    }
}
