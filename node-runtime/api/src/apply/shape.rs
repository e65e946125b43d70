//! How apply sees a place: what is owned as a whole, and what is owned in parts.

use serde_json::Value;

use super::element::PathElement;
use crate::schema::{Field, FieldType, ListKind, Schema, SchemaRef, Text, Type};

/// What apply does with the values at a place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape<'s> {
    /// A scalar: owned as a whole.
    Scalar,
    /// A list, map or object that is owned as a whole.
    Atomic,
    /// An object, owned field by field.
    Struct(&'s Schema, &'s Type),
    /// A map, owned key by key.
    Map(&'s Schema, &'s FieldType),
    /// A list of scalars, each there once, owned one by one.
    Set,
    /// A list of objects, told apart and owned by keys.
    Keyed(&'s Schema, &'s FieldType, &'s [Text]),
    /// Anything: what it is decides the value.
    Deduced,
    /// An object nobody described: owned key by key.
    Open,
}

impl<'s> Shape<'s> {
    pub(super) fn root(schema: &'s SchemaRef) -> Self {
        Self::Struct(schema.schema(), schema.root())
    }

    pub(super) fn of_field(schema: &'s Schema, field: &'s Field) -> Self {
        if field.map_atomic() {
            return Self::Atomic;
        }
        match (&field.kind, field.list_kind()) {
            (FieldType::List(_), Some(ListKind::Set)) => Self::Set,
            (FieldType::List(item), Some(ListKind::Map(keys))) => Self::Keyed(schema, item, keys),
            (kind, _) => Self::of_type(schema, kind),
        }
    }

    /// Of a list item or map value: there nothing is said about lists, so they are atomic.
    fn of_type(schema: &'s Schema, kind: &'s FieldType) -> Self {
        match kind {
            FieldType::Object(id) => match schema.get(*id) {
                ty if ty.atomic => Self::Atomic,
                ty => Self::Struct(schema, ty),
            },
            FieldType::Map(item) => Self::Map(schema, item),
            FieldType::List(_) => Self::Atomic,
            FieldType::Raw | FieldType::Json | FieldType::FieldsV1 => Self::Deduced,
            FieldType::String
            | FieldType::Bool
            | FieldType::Int32
            | FieldType::Int64
            | FieldType::Double
            | FieldType::Bytes
            | FieldType::Quantity
            | FieldType::IntOrString
            | FieldType::Time
            | FieldType::MicroTime => Self::Scalar,
        }
    }

    /// Decides by the value where the schema does not. Null can be anything; it is taken as an
    /// object without fields.
    pub(super) fn concrete(self, value: Option<&Value>) -> Self {
        match (self, value) {
            (Self::Deduced, Some(Value::Array(_))) => Self::Atomic,
            (Self::Deduced, None | Some(Value::Object(_) | Value::Null)) => Self::Open,
            (Self::Deduced, Some(_)) => Self::Scalar,
            (known, _) => known,
        }
    }

    /// Of the value of a field or key.
    pub(super) fn child(self, name: &str) -> Self {
        match self {
            Self::Struct(schema, ty) => match ty.field(name) {
                Some(field) => Self::of_field(schema, field),
                None => Self::Deduced,
            },
            Self::Map(schema, item) => Self::of_type(schema, item),
            _ => Self::Deduced,
        }
    }

    /// Of the items of a list that is owned in parts.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Keyed(schema, item, _) => Self::of_type(schema, item),
            Self::Set => Self::Scalar,
            _ => Self::Deduced,
        }
    }

    /// Whether `name` is a field of a described object, as opposed to a key of a map.
    pub(super) fn declares(self, name: &str) -> bool {
        matches!(self, Self::Struct(_, ty) if ty.field(name).is_some())
    }

    pub(super) fn is_same_kind(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// What tells an item of a list that is owned in parts from the others.
    ///
    /// # Errors
    /// In upstream's words, why it cannot be told.
    pub(super) fn element(self, item: &Value) -> Result<PathElement, String> {
        match self {
            Self::Keyed(schema, kind, keys) => keyed_element(schema, kind, keys, item),
            Self::Set => set_element(item),
            _ => Err("invalid indexing of non-associative list".to_owned()),
        }
    }
}

fn keyed_element(
    schema: &Schema,
    kind: &FieldType,
    keys: &[Text],
    item: &Value,
) -> Result<PathElement, String> {
    let fields = match item {
        Value::Object(fields) => fields,
        Value::Null => {
            return Err("associative list with keys may not have a null element".to_owned());
        }
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let default = |key: &str| match kind {
        FieldType::Object(id) => schema.get(*id).field(key)?.default_value(),
        _ => None,
    };
    let mut found: Vec<(Box<str>, Value)> = Vec::with_capacity(keys.len());
    for key in keys {
        let value = fields.get(key.as_ref()).or_else(|| default(key)).ok_or_else(|| {
            format!(
                "associative list with keys has an element that omits key field {key:?} (and \
                 doesn't have default value)"
            )
        })?;
        found.push((key.as_ref().into(), value.clone()));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(PathElement::Key(found))
}

fn set_element(item: &Value) -> Result<PathElement, String> {
    match item {
        Value::Object(_) => {
            Err("associative list without keys has an element that's a map type".to_owned())
        }
        Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
        Value::Null => {
            Err("associative list without keys has an element that's an explicit null".to_owned())
        }
        scalar => Ok(PathElement::Value(scalar.clone())),
    }
}
