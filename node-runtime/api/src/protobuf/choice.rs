//! The fields of a custom resource's schema that are one of two things. In JSON the value says which;
//! in protobuf each alternative has a field of its own in a small message.

use crate::schema::{Field, Type, TypeId};

/// What a field may be besides a schema; each knows the type of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// `items`: `{ 1: schema, 2: schemas… }`
    Schemas(TypeId),
    /// `additionalProperties`: `{ 1: flag, 2: schema }`
    Flag(TypeId),
    /// `dependencies`: `{ 1: schema, 2: texts… }`
    Texts(TypeId),
}

impl Choice {
    /// The number of the field with the one schema.
    pub(super) fn schema(self) -> u32 {
        match self {
            Choice::Schemas(_) | Choice::Texts(_) => 1,
            Choice::Flag(_) => 2,
        }
    }

    /// The type of the schema.
    pub(super) fn of(self) -> TypeId {
        let (Choice::Schemas(id) | Choice::Flag(id) | Choice::Texts(id)) = self;
        id
    }
}

/// What `field` of `shape` may be, if it is such a field.
pub(super) fn choice(shape: &Type, field: &Field) -> Option<Choice> {
    let id = shape.alternative(field)?;
    match field.name.as_ref() {
        "items" => Some(Choice::Schemas(id)),
        "additionalItems" | "additionalProperties" => Some(Choice::Flag(id)),
        "dependencies" => Some(Choice::Texts(id)),
        _ => None,
    }
}
