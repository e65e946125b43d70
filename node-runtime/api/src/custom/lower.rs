//! A structural schema in the form of built-in types, for the routines that walk those: structured
//! merge. Made only when one of them asks.

use std::collections::HashMap;

use super::structural::{Additional, Kind, List, Node};
use crate::kinds::kinds;
use crate::schema::{Extra, Field, FieldType, ListKind, Presence, Schema, Text, Type, TypeId};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The schema of a kind of this definition name; its root is the first type.
pub(super) fn lower(name: &str, shape: &Node) -> Schema {
    let mut lowering = Lowering { types: Vec::new(), copied: HashMap::new() };
    lowering.object(name, shape, true);
    Schema { types: lowering.types }
}

struct Lowering {
    types: Vec<Type>,
    /// Built-in types by what they are here.
    copied: HashMap<TypeId, TypeId>,
}

impl Lowering {
    fn object(&mut self, name: &str, shape: &Node, own_fields: bool) -> TypeId {
        let id = TypeId(self.types.len() as u32);
        self.types.push(Type {
            name: Text::Owned(name.to_owned()),
            fields: Vec::new(),
            atomic: shape.map_atomic,
            others: shape.preserve.then_some(FieldType::Json),
            hook: None,
        });
        let required = |name: &str| {
            let checks = shape.checks.as_ref();
            checks.is_some_and(|checks| checks.required.iter().any(|one| one.as_ref() == name))
        };
        let mut fields: Vec<Field> = Vec::with_capacity(shape.properties.len() + 3);
        for (key, node) in &shape.properties {
            if own_fields && matches!(key.as_ref(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            let kind = self.kind(&format!("{name}.{key}"), node);
            fields.push(field(key, kind, Some(node), required(key)));
        }
        if own_fields {
            let metadata = self.metadata();
            fields.push(field("apiVersion", FieldType::String, None, false));
            fields.push(field("kind", FieldType::String, None, false));
            fields.push(field("metadata", FieldType::Object(metadata), None, false));
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        self.types[id.0 as usize].fields = fields;
        id
    }

    fn kind(&mut self, name: &str, node: &Node) -> FieldType {
        match node.kind {
            None if node.int_or_string => FieldType::IntOrString,
            None => FieldType::Json,
            Some(Kind::String) => FieldType::String,
            Some(Kind::Boolean) => FieldType::Bool,
            Some(Kind::Integer) => FieldType::Int64,
            Some(Kind::Number) => FieldType::Double,
            Some(Kind::Array) => match &node.items {
                Some(items) => FieldType::List(Box::new(self.kind(name, items))),
                None => FieldType::List(Box::new(FieldType::Json)),
            },
            Some(Kind::Object) => match &node.additional {
                Some(Additional::Of(others)) => FieldType::Map(Box::new(self.kind(name, others))),
                Some(Additional::Any) => FieldType::Map(Box::new(FieldType::Json)),
                None if node.properties.is_empty() && !node.embedded && node.preserve => {
                    FieldType::Json
                }
                None => FieldType::Object(self.object(name, node, node.embedded)),
            },
        }
    }

    fn metadata(&mut self) -> TypeId {
        let id = kinds().schema().find(OBJECT_META).expect("the table has it");
        self.copy(id)
    }

    /// A built-in type and all it refers to.
    fn copy(&mut self, id: TypeId) -> TypeId {
        if let Some(known) = self.copied.get(&id) {
            return *known;
        }
        let original = kinds().schema().get(id);
        let here = TypeId(self.types.len() as u32);
        self.copied.insert(id, here);
        self.types.push(Type {
            name: original.name.clone(),
            fields: Vec::new(),
            atomic: original.atomic,
            others: None,
            hook: original.hook,
        });
        let mut fields = original.fields.clone();
        for field in &mut fields {
            self.rename(&mut field.kind);
        }
        self.types[here.0 as usize].fields = fields;
        here
    }

    fn rename(&mut self, kind: &mut FieldType) {
        match kind {
            FieldType::Object(id) => *id = self.copy(*id),
            FieldType::List(inner) | FieldType::Map(inner) => self.rename(inner),
            _ => {}
        }
    }
}

fn field(name: &str, kind: FieldType, node: Option<&Node>, required: bool) -> Field {
    let extra = node.and_then(|node| {
        let list = match (&node.list, node.kind) {
            (List::Set, _) => Some(ListKind::Set),
            (List::Map(keys), _) => {
                let keys = keys.iter().map(AsRef::as_ref);
                let own = |key: &str| Text::Owned(key.to_owned());
                Some(ListKind::Map(keys.map(own).collect()))
            }
            (List::Atomic, Some(Kind::Array)) => Some(ListKind::Atomic),
            (List::Atomic, _) => None,
        };
        let default = node.default.as_deref().cloned();
        let any = list.is_some() || node.map_atomic || default.is_some();
        any.then(|| {
            Box::new(Extra { list, map_atomic: node.map_atomic, default, ..Extra::default() })
        })
    });
    Field {
        name: Text::Owned(name.to_owned()),
        proto: [0, 0, 0],
        kind,
        presence: Presence::Pointer,
        required,
        proto_wrapped: false,
        extra,
    }
}
