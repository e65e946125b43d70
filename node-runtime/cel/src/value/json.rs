//! From JSON to values by what is declared, and back.

use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map as JsonMap, Value as Json};

use super::{List, Map, Object, Text, Value, go_duration, go_float};
use crate::decl::{Decl, DeclKind, REQUEST_MAX};
use crate::library::time::{self, format_timestamp};

static ANY: LazyLock<Arc<Decl>> = LazyLock::new(Decl::json);

pub(super) fn items_of(decl: &Arc<Decl>) -> Arc<Decl> {
    match &decl.kind {
        DeclKind::List(items, _) => Arc::clone(items),
        _ => Arc::clone(&ANY),
    }
}

pub(super) fn values_of(decl: &Arc<Decl>) -> Arc<Decl> {
    match &decl.kind {
        DeclKind::Map(values) => Arc::clone(values),
        _ => Arc::clone(&ANY),
    }
}

impl<'a> Value<'a> {
    /// The value of JSON. What is not of the declared kind is seen as it is written: rules are for
    /// values that the schema lets pass.
    pub fn of_json(json: &'a Json, decl: &Arc<Decl>) -> Value<'a> {
        let text = json.as_str();
        match (&decl.kind, json) {
            (DeclKind::Object(object), Json::Object(fields)) => {
                Value::Object(Object::Json(fields, Arc::clone(object)))
            }
            (DeclKind::Map(_), Json::Object(entries)) => {
                Value::Map(Map::Json(entries, Arc::clone(decl)))
            }
            (DeclKind::List(_, _), Json::Array(items)) => {
                Value::List(List::Json(items, Arc::clone(decl)))
            }
            (DeclKind::Double, Json::Number(number)) => {
                Value::Double(number.as_f64().unwrap_or(f64::NAN))
            }
            (DeclKind::Bytes, Json::String(text)) => match BASE64_STANDARD.decode(text) {
                Ok(bytes) => Value::Bytes(bytes.into()),
                Err(_) => any(json),
            },
            (DeclKind::Date, _) => {
                text.and_then(time::parse_date).map_or_else(|| any(json), Value::Timestamp)
            }
            (DeclKind::DateTime, _) => {
                text.and_then(time::parse_date_time).map_or_else(|| any(json), Value::Timestamp)
            }
            (DeclKind::Duration, _) => text
                .and_then(time::parse_schema_duration)
                .map_or_else(|| any(json), Value::Duration),
            _ => any(json),
        }
    }

    /// JSON of the value: what mutations write. Types that JSON does not have become text; those
    /// that libraries make, and types themselves, cannot.
    ///
    /// # Errors
    /// What of it cannot be written, or that it is larger than any request.
    pub fn to_json(&self) -> Result<Json, String> {
        let mut left = REQUEST_MAX;
        self.write_json(&mut left)
    }

    /// `left` counts down: lists may hold the same list many times, and become huge when written.
    fn write_json(&self, left: &mut u64) -> Result<Json, String> {
        let size = match self {
            Value::String(_) | Value::Bytes(_) => self.size() + 2,
            _ => 2,
        };
        spend(size, left)?;
        Ok(match self {
            Value::Null | Value::Optional(None) => Json::Null,
            Value::Bool(truth) => Json::Bool(*truth),
            Value::Int(number) => (*number).into(),
            Value::Uint(number) => (*number).into(),
            Value::Double(number) => match serde_json::Number::from_f64(*number) {
                Some(number) => Json::Number(number),
                None => return Err(format!("{} is no JSON number", go_float(*number))),
            },
            Value::String(text) => text.as_str().into(),
            Value::Bytes(bytes) => BASE64_STANDARD.encode(bytes).into(),
            Value::Timestamp(at) => format_timestamp(*at).into(),
            Value::Duration(nanos) => go_duration(*nanos).into(),
            Value::Optional(Some(value)) => value.write_json(left)?,
            // As it was written, with fields that expressions do not see.
            Value::List(List::Json(items, _)) => {
                items.iter().try_for_each(|item| weigh(item, left))?;
                Json::Array(items.to_vec())
            }
            Value::Map(Map::Json(fields, _)) | Value::Object(Object::Json(fields, _)) => {
                fields.values().try_for_each(|value| weigh(value, left))?;
                Json::Object((*fields).clone())
            }
            Value::List(list) => {
                list.iter().map(|item| item.write_json(left)).collect::<Result<_, _>>()?
            }
            Value::Map(map) => {
                let mut object = JsonMap::new();
                for (key, value) in map.entries() {
                    let Value::String(key) = &key else {
                        return Err(format!("a key is {}, not string", key.type_name()));
                    };
                    object.insert(key.as_str().to_owned(), value.write_json(left)?);
                }
                Json::Object(object)
            }
            Value::Object(Object::Built(_, fields)) => {
                let mut object = JsonMap::new();
                for (name, value) in fields.iter() {
                    let name = crate::decl::unescape(name).unwrap_or_else(|| name.to_string());
                    object.insert(name, value.write_json(left)?);
                }
                Json::Object(object)
            }
            Value::Type(_) | Value::Library(_) => {
                return Err(format!("{} cannot be written as JSON", self.type_name()));
            }
        })
    }
}

fn spend(size: u64, left: &mut u64) -> Result<(), String> {
    *left = left.checked_sub(size).ok_or("value is too large to be written as JSON")?;
    Ok(())
}

/// Counts what copying JSON makes.
fn weigh(json: &Json, left: &mut u64) -> Result<(), String> {
    spend(2 + json.as_str().map_or(0, str::len) as u64, left)?;
    match json {
        Json::Array(items) => items.iter().try_for_each(|item| weigh(item, left)),
        Json::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            spend(name.len() as u64, left)?;
            weigh(value, left)
        }),
        _ => Ok(()),
    }
}

/// JSON as it is written.
fn any(json: &Json) -> Value<'_> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::Uint(number),
            (None, None) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Text::Borrowed(text)),
        Json::Array(items) => Value::List(List::Json(items, Arc::clone(&ANY))),
        Json::Object(entries) => Value::Map(Map::Json(entries, Arc::clone(&ANY))),
    }
}
