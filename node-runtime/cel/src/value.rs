//! Values: what expressions are given and what they make.
//!
//! JSON is not copied: lists, maps and objects of it are looked into when an expression does.

mod equal;
mod json;
mod map;
pub(crate) mod order;
mod show;

use std::net::IpAddr;
use std::sync::Arc;

use minik_meta::quantity::Quantity;
use serde_json::{Map as JsonMap, Value as Json};
use time::OffsetDateTime;

use crate::authorizer::{AuthorizerValue, Decision, ResourceCheck};
use crate::budget::{Meter, Stop};
use crate::decl::{Decl, ObjectDecl};
use crate::library::named::NamedFormat;
use crate::library::net::Cidr;
use crate::library::semver::Semver;
use crate::library::url::Url;
use crate::types::{Opaque, Type};
pub(crate) use map::Key;
pub use map::OwnedMap;
pub(crate) use show::{go_duration, go_float};

/// A value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// 64 bits with sign.
    Int(i64),
    /// 64 bits without.
    Uint(u64),
    /// 64-bit floating point.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A point in time between the years 1 and 9999.
    Timestamp(OffsetDateTime),
    /// Nanoseconds.
    Duration(i64),
    /// A list.
    List(List<'a>),
    /// A map.
    Map(Map<'a>),
    /// An object with declared fields, or one that a mutation builds.
    Object(Object<'a>),
    /// Something or nothing.
    Optional(Option<Arc<Value<'a>>>),
    /// A type.
    Type(Arc<Type>),
    /// Made by a library.
    Library(Library<'a>),
}

/// Text of the input or of its own.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// Of the input.
    Borrowed(&'a str),
    /// Made by an expression.
    Shared(Arc<str>),
}

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// Of the input, with what is declared of it; none if nothing is.
    Json(&'a [Json], Arc<Decl>),
    /// Made by an expression.
    Owned(Arc<Vec<Value<'a>>>),
}

/// A map.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// Of the input, with what is declared of its values.
    Json(&'a JsonMap<String, Json>, Arc<Decl>),
    /// Made by an expression.
    Owned(Arc<OwnedMap<'a>>),
}

/// An object.
#[derive(Clone, Debug)]
pub enum Object<'a> {
    /// Of the input, with its fields.
    Json(&'a JsonMap<String, Json>, Arc<ObjectDecl>),
    /// `Object{…}` or `JSONPatch{…}`: its name and its fields.
    Built(Arc<str>, Arc<Vec<(Box<str>, Value<'a>)>>),
}

/// What libraries make.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is named after its function")]
pub enum Library<'a> {
    Url(Arc<Url>),
    Ip(IpAddr),
    Cidr(Cidr),
    Quantity(Quantity),
    Semver(Arc<Semver>),
    Format(&'static NamedFormat),
    Authorizer(AuthorizerValue<'a>),
    PathCheck(AuthorizerValue<'a>, Arc<str>),
    GroupCheck(AuthorizerValue<'a>, Arc<str>),
    ResourceCheck(AuthorizerValue<'a>, Arc<ResourceCheck>),
    Decision(Arc<Decision>),
}

impl Library<'_> {
    pub(crate) fn opaque(&self) -> Opaque {
        match self {
            Library::Url(_) => Opaque::Url,
            Library::Ip(_) => Opaque::Ip,
            Library::Cidr(_) => Opaque::Cidr,
            Library::Quantity(_) => Opaque::Quantity,
            Library::Semver(_) => Opaque::Semver,
            Library::Format(_) => Opaque::Format,
            Library::Authorizer(_) => Opaque::Authorizer,
            Library::PathCheck(_, _) => Opaque::PathCheck,
            Library::GroupCheck(_, _) => Opaque::GroupCheck,
            Library::ResourceCheck(_, _) => Opaque::ResourceCheck,
            Library::Decision(_) => Opaque::Decision,
        }
    }
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl<'a> List<'a> {
    /// How many items.
    pub fn len(&self) -> usize {
        match self {
            List::Json(items, _) => items.len(),
            List::Owned(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at an index.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            List::Json(items, decl) => {
                items.get(index).map(|item| Value::of_json(item, &json::items_of(decl)))
            }
            List::Owned(items) => items.get(index).cloned(),
        }
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> Map<'a> {
    /// How many entries.
    pub fn len(&self) -> usize {
        match self {
            Map::Json(entries, _) => entries.len(),
            Map::Owned(entries) => entries.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key; none if it is not there or cannot be a key.
    pub fn get(&self, key: &Value<'a>) -> Option<Value<'a>> {
        match self {
            Map::Json(entries, decl) => match key {
                Value::String(key) => {
                    let value = entries.get(key.as_str())?;
                    Some(Value::of_json(value, &json::values_of(decl)))
                }
                _ => None,
            },
            Map::Owned(entries) => entries.get(key).cloned(),
        }
    }

    /// The value of a text key.
    pub fn get_text(&self, key: &str) -> Option<Value<'a>> {
        match self {
            Map::Json(entries, decl) => {
                entries.get(key).map(|value| Value::of_json(value, &json::values_of(decl)))
            }
            Map::Owned(entries) => entries.get_key(&Key::Text(key.into())).cloned(),
        }
    }

    /// The entries in order.
    pub fn entries(&self) -> Vec<(Value<'a>, Value<'a>)> {
        match self {
            Map::Json(entries, decl) => {
                let values = json::values_of(decl);
                let entry = |(key, value): (&'a String, &'a Json)| {
                    (Value::String(Text::Borrowed(key)), Value::of_json(value, &values))
                };
                entries.iter().map(entry).collect()
            }
            Map::Owned(entries) => entries.entries().to_vec(),
        }
    }
}

impl<'a> Object<'a> {
    /// The value of a field by its name in expressions.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Object::Json(fields, decl) => {
                let field = decl.field(name)?;
                let value = fields.get(field.json.as_ref())?;
                Some(Value::of_json(value, &field.decl))
            }
            Object::Built(_, fields) => {
                fields.iter().find(|(one, _)| one.as_ref() == name).map(|(_, value)| value.clone())
            }
        }
    }
}

impl<'a> Value<'a> {
    /// A text that an expression made.
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Value<'a> {
        Value::String(Text::Shared(text.into()))
    }

    /// A list that an expression made.
    pub(crate) fn list(items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::Owned(Arc::new(items)))
    }

    pub(crate) fn some(value: Value<'a>) -> Value<'a> {
        Value::Optional(Some(Arc::new(value)))
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Truth, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The name of its type: what `type()` answers and messages say.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Optional(_) => "optional_type",
            Value::Type(_) => "type",
            Value::Object(Object::Json(_, decl)) => decl.name(),
            Value::Object(Object::Built(name, _)) => name,
            Value::Library(library) => library.opaque().name(),
        }
    }

    /// Its type.
    pub(crate) fn ty(&self) -> Type {
        match self {
            Value::Object(Object::Json(_, decl)) => Type::Object(Arc::clone(decl)),
            Value::Object(Object::Built(name, _)) => Type::Object(ObjectDecl::open(name)),
            Value::Library(library) => Type::Opaque(library.opaque()),
            _ => Type::named(self.type_name()).unwrap_or(Type::Dyn),
        }
    }

    /// Whether lists and maps that expressions made are nested deeper in it.
    pub(crate) fn is_deeper(&self, than: u32, meter: &mut Meter) -> Result<bool, Stop> {
        meter.work(1)?;
        let Some(than) = than.checked_sub(1) else { return Ok(true) };
        let inner: Box<dyn Iterator<Item = &Value<'a>>> = match self {
            Value::List(List::Owned(items)) => Box::new(items.iter()),
            Value::Map(Map::Owned(map)) => Box::new(map.entries().iter().map(|(_, value)| value)),
            Value::Object(Object::Built(_, fields)) => {
                Box::new(fields.iter().map(|(_, value)| value))
            }
            Value::Optional(Some(inner)) => Box::new(std::iter::once(inner.as_ref())),
            _ => return Ok(false),
        };
        for one in inner {
            if one.is_deeper(than, meter)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Characters, bytes, items or entries; one for all else. What costs are counted in.
    pub(crate) fn size(&self) -> u64 {
        match self {
            // Characters at most; counting them would cost as much as what is paid for.
            Value::String(text) => text.as_str().len() as u64,
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::List(list) => list.len() as u64,
            Value::Map(map) => map.len() as u64,
            _ => 1,
        }
    }
}
