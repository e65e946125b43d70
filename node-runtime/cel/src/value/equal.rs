//! Whether two values are the same.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use super::{Key, Library, List, Map, Object, Value, order};
use crate::budget::{Meter, Stop};
use crate::decl::{Decl, DeclKind, ListKind};

impl<'a> Value<'a> {
    /// Whether they are equal. Numbers of different types may be, other types are not; lists that
    /// are sets or keyed are in any order. Looking into large values uses the budget up.
    pub(crate) fn equals(&self, other: &Value<'a>, meter: &mut Meter) -> Result<bool, Stop> {
        meter.work(1)?;
        Ok(match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(left), Value::Bool(right)) => left == right,
            (Value::String(left), Value::String(right)) => {
                meter.work(left.as_str().len().min(right.as_str().len()) as u64 / 16)?;
                left.as_str() == right.as_str()
            }
            (Value::Bytes(left), Value::Bytes(right)) => {
                meter.work(left.len().min(right.len()) as u64 / 16)?;
                left == right
            }
            (Value::Timestamp(left), Value::Timestamp(right)) => left == right,
            (Value::Duration(left), Value::Duration(right)) => left == right,
            (Value::Type(left), Value::Type(right)) => left.bare_name() == right.bare_name(),
            (Value::List(left), Value::List(right)) => left.equals(right, meter)?,
            (Value::Map(left), Value::Map(right)) => left.equals(right, meter)?,
            (Value::Object(left), Value::Object(right)) => left.equals(right, meter)?,
            (Value::Optional(None), Value::Optional(None)) => true,
            (Value::Optional(Some(left)), Value::Optional(Some(right))) => {
                left.equals(right, meter)?
            }
            (Value::Library(left), Value::Library(right)) => left.equals(right),
            _ => order::numbers(self, other) == Some(Ordering::Equal),
        })
    }
}

impl<'a> List<'a> {
    /// Declared of either list: literals have no kind of their own.
    pub(crate) fn kind(&self) -> Option<&ListKind> {
        match self {
            List::Json(_, decl) => match &decl.kind {
                DeclKind::List(_, kind) => Some(kind),
                _ => None,
            },
            List::Owned(_) => None,
        }
    }

    fn equals(&self, other: &List<'a>, meter: &mut Meter) -> Result<bool, Stop> {
        if self.len() != other.len() {
            return Ok(false);
        }
        let unordered = self.kind().filter(|kind| **kind != ListKind::Atomic);
        if unordered.is_some_and(|_| !self.is_empty()) {
            return self.equals_in_any_order(other, meter);
        }
        for index in 0..self.len() {
            let (Some(left), Some(right)) = (self.get(index), other.get(index)) else {
                return Ok(false);
            };
            if !left.equals(&right, meter)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn equals_in_any_order(&self, other: &List<'a>, meter: &mut Meter) -> Result<bool, Stop> {
        let mut own: HashMap<String, Value<'a>> = HashMap::with_capacity(self.len());
        for item in self.iter() {
            own.insert(self.identity(&item, meter)?, item);
        }
        for item in other.iter() {
            let identity = self.identity(&item, meter)?;
            let Some(same) = own.get(&identity) else { return Ok(false) };
            if !same.equals(&item, meter)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A text that items share if they stand for the same: the item of a set, the keys of a keyed
    /// list's item.
    pub(crate) fn identity(&self, item: &Value<'a>, meter: &mut Meter) -> Result<String, Stop> {
        let identity = self.bare_identity(item);
        meter.work(identity.len() as u64 + 1)?;
        Ok(identity)
    }

    fn bare_identity(&self, item: &Value<'a>) -> String {
        let scalar = |value: &Value<'a>| match Key::of(value) {
            Some(key) => format!("{key:?}"),
            None => format!("{:?}", value.to_json()),
        };
        match self.kind() {
            Some(ListKind::Map(keys)) => {
                let field = |key: &str| match item {
                    Value::Object(Object::Json(fields, _)) | Value::Map(Map::Json(fields, _)) => {
                        format!("{:?}", fields.get(key))
                    }
                    Value::Map(map) => {
                        format!("{:?}", map.get_text(key).map(|value| value.to_json()))
                    }
                    other => scalar(other),
                };
                keys.iter().map(|key| field(key)).collect::<Vec<_>>().join("\u{0}")
            }
            _ => scalar(item),
        }
    }
}

impl<'a> Map<'a> {
    fn equals(&self, other: &Map<'a>, meter: &mut Meter) -> Result<bool, Stop> {
        if self.len() != other.len() {
            return Ok(false);
        }
        for (key, value) in self.entries() {
            meter.work(1 + key.size() / 16)?;
            match other.get(&key) {
                Some(same) if value.equals(&same, meter)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl<'a> Object<'a> {
    fn equals(&self, other: &Object<'a>, meter: &mut Meter) -> Result<bool, Stop> {
        match (self, other) {
            (Object::Json(left, decl), Object::Json(right, _)) => {
                let declared: HashMap<&str, &Arc<Decl>> = decl
                    .fields()
                    .values()
                    .map(|field| (field.json.as_ref(), &field.decl))
                    .collect();
                fields_equal(left, right, &declared, meter)
            }
            (Object::Built(left_name, left), Object::Built(right_name, right)) => {
                if left_name != right_name || left.len() != right.len() {
                    return Ok(false);
                }
                for (name, value) in left.iter() {
                    match other.get(name) {
                        Some(same) if value.equals(&same, meter)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Fields that are not declared are compared, too, as they are.
fn fields_equal(
    left: &JsonMap<String, Json>,
    right: &JsonMap<String, Json>,
    declared: &HashMap<&str, &Arc<Decl>>,
    meter: &mut Meter,
) -> Result<bool, Stop> {
    if left.len() != right.len() {
        return Ok(false);
    }
    let any = Decl::json();
    for (name, value) in left {
        let Some(same) = right.get(name) else { return Ok(false) };
        let decl = declared.get(name.as_str()).copied().unwrap_or(&any);
        if !Value::of_json(value, decl).equals(&Value::of_json(same, decl), meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Library<'_> {
    fn equals(&self, other: &Library<'_>) -> bool {
        match (self, other) {
            (Library::Url(left), Library::Url(right)) => left == right,
            (Library::Ip(left), Library::Ip(right)) => left == right,
            (Library::Cidr(left), Library::Cidr(right)) => left == right,
            (Library::Quantity(left), Library::Quantity(right)) => left == right,
            (Library::Semver(left), Library::Semver(right)) => left.same_precedence(right),
            (Library::Format(left), Library::Format(right)) => left.name == right.name,
            (Library::ResourceCheck(_, left), Library::ResourceCheck(_, right)) => left == right,
            (Library::PathCheck(_, left), Library::PathCheck(_, right))
            | (Library::GroupCheck(_, left), Library::GroupCheck(_, right)) => left == right,
            (Library::Decision(left), Library::Decision(right)) => left == right,
            _ => false,
        }
    }
}
