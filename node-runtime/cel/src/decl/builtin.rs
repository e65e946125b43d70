//! Declarations of built-in kinds. Their types refer to each other in circles, so fields are made
//! when they are first asked for.

use std::sync::Arc;

use minik_api::SchemaRef;
use minik_api::schema::{FieldType, ListKind as ApiListKind};

use super::{Decl, DeclKind, FieldDecl, Fields, ListKind, ObjectDecl, REQUEST_MAX, escape};

impl Decl {
    /// The declaration of a built-in kind. Quantities and what may be text or number are dynamic.
    pub fn builtin(schema: &SchemaRef) -> Arc<Decl> {
        let name: &str = &schema.root().name;
        let object = object_of(name, schema.clone());
        Decl::new(DeclKind::Object(object), 0, 2)
    }
}

fn object_of(name: &str, schema: SchemaRef) -> Arc<ObjectDecl> {
    ObjectDecl::later(name, move || fields_of(&schema))
}

fn fields_of(schema: &SchemaRef) -> Fields {
    let mut fields = Fields::new();
    for field in &schema.root().fields {
        let json: &str = &field.name;
        let list = match field.list_kind() {
            Some(ApiListKind::Set) => ListKind::Set,
            Some(ApiListKind::Map(keys)) => {
                ListKind::Map(keys.iter().map(|key| Box::from(AsRef::<str>::as_ref(key))).collect())
            }
            Some(ApiListKind::Atomic) | None => ListKind::Atomic,
        };
        let decl = decl_of(schema, &field.kind, list);
        if let Some(escaped) = escape(json) {
            fields.insert(escaped.into(), FieldDecl { json: json.into(), decl });
        }
    }
    fields
}

fn decl_of(schema: &SchemaRef, kind: &FieldType, list: ListKind) -> Arc<Decl> {
    let whole = REQUEST_MAX - 2;
    match kind {
        FieldType::String => Decl::string(),
        FieldType::Bool => Decl::new(DeclKind::Bool, 0, 4),
        FieldType::Int32 | FieldType::Int64 => Decl::new(DeclKind::Int, 0, 1),
        FieldType::Double => Decl::new(DeclKind::Double, 0, 1),
        FieldType::Bytes => Decl::new(DeclKind::Bytes, whole, 2),
        FieldType::Time | FieldType::MicroTime => Decl::new(DeclKind::DateTime, 32, 21),
        FieldType::Quantity
        | FieldType::IntOrString
        | FieldType::FieldsV1
        | FieldType::Raw
        | FieldType::Json => Decl::json(),
        FieldType::Object(id) => {
            let schema = SchemaRef::new(Arc::clone(schema.schema()), *id);
            let name = schema.root().name.to_string();
            Decl::new(DeclKind::Object(object_of(&name, schema)), 0, 2)
        }
        FieldType::List(items) => {
            let items = decl_of(schema, items, ListKind::Atomic);
            let size = whole / (items.bytes_min + 1);
            Decl::new(DeclKind::List(items, list), size, 2)
        }
        FieldType::Map(values) => {
            let values = decl_of(schema, values, ListKind::Atomic);
            let size = whole / (values.bytes_min + 6);
            Decl::new(DeclKind::Map(values), size, 2)
        }
    }
}
