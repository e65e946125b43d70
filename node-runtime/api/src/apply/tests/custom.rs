//! Kinds as custom resources bring them, for the cases.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::resource::{NameRule, Resource, Storage, Subresource};
use crate::schema::{Extra, Field, FieldType, ListKind, Presence, Schema, SchemaRef, Type, TypeId};

/// `test.io/v1 Widget` has a schema, `test.io/v1 Anything` none.
pub(super) fn find(api_version: &str, kind: &str) -> Option<&'static Resource> {
    static KINDS: OnceLock<[Resource; 2]> = OnceLock::new();
    let kinds = KINDS.get_or_init(|| {
        [
            resource("Widget", vec![object("spec", 1), raw("status")]),
            resource("Anything", vec![raw("spec"), raw("status")]),
        ]
    });
    kinds.iter().find(|one| one.kind == kind && one.api_version() == api_version)
}

fn field(name: &'static str, kind: FieldType, extra: Option<Extra>) -> Field {
    Field {
        name: name.into(),
        proto: Default::default(),
        kind,
        presence: Presence::Pointer,
        required: false,
        proto_wrapped: false,
        extra: extra.map(Box::new),
    }
}

fn object(name: &'static str, id: u32) -> Field {
    field(name, FieldType::Object(TypeId(id)), None)
}

fn raw(name: &'static str) -> Field {
    field(name, FieldType::Raw, None)
}

fn list(name: &'static str, item: FieldType, kind: ListKind) -> Field {
    let extra = Extra { list: Some(kind), ..Extra::default() };
    field(name, FieldType::List(Box::new(item)), Some(extra))
}

fn sorted(name: &'static str, mut fields: Vec<Field>, atomic: bool) -> Type {
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    Type { name: name.into(), fields, atomic, others: None, hook: None }
}

/// The types of a kind whose object has these fields besides the usual ones.
fn types(mut root: Vec<Field>) -> Vec<Type> {
    let text = FieldType::String;
    root.extend([
        field("apiVersion", text.clone(), None),
        field("kind", text.clone(), None),
        field("metadata", FieldType::Object(TypeId(2)), None),
    ]);
    let meta = vec![
        field("name", text.clone(), None),
        field("uid", text.clone(), None),
        field("labels", map(text.clone()), None),
        field("annotations", map(text.clone()), None),
        raw("managedFields"),
    ];
    let defaulted = Extra { default: Some("TCP".into()), ..Extra::default() };
    let port = vec![
        field("port", FieldType::Int64, None),
        field("protocol", text.clone(), Some(defaulted)),
        field("name", text.clone(), None),
    ];
    let choice = vec![field("a", text.clone(), None), field("b", text, None)];
    vec![
        sorted("test.Root", root, false),
        sorted("test.Spec", spec(), false),
        sorted("test.Meta", meta, false),
        sorted("test.Port", port, false),
        sorted("test.Choice", choice, true),
    ]
}

fn map(item: FieldType) -> FieldType {
    FieldType::Map(Box::new(item))
}

fn spec() -> Vec<Field> {
    let text = FieldType::String;
    let port = FieldType::Object(TypeId(3));
    let atomic = Extra { map_atomic: true, ..Extra::default() };
    vec![
        field("size", FieldType::Int64, None),
        field("plain", FieldType::List(Box::new(text.clone())), None),
        list("tags", text.clone(), ListKind::Set),
        list("numbers", FieldType::Int64, ListKind::Set),
        list("ports", port.clone(), ListKind::Map(vec!["port".into(), "protocol".into()])),
        field("free", map(text.clone()), None),
        field("whole", map(text), Some(atomic)),
        field("json", FieldType::Json, None),
        raw("open"),
        object("choice", 4),
        field("named", map(port), None),
    ]
}

fn resource(kind: &'static str, root: Vec<Field>) -> Resource {
    let types = types(root);
    let schema = SchemaRef::new(Arc::new(Schema { types }), TypeId(0));
    let status = Subresource {
        name: "status".into(),
        group: "test.io".into(),
        version: "v1".into(),
        kind: kind.into(),
        verbs: Vec::new(),
    };
    let plural: Cow<'static, str> = format!("{}s", kind.to_lowercase()).into();
    Resource {
        group: "test.io".into(),
        version: "v1".into(),
        kind: kind.into(),
        list_kind: format!("{kind}List").into(),
        plural: plural.clone(),
        singular: kind.to_lowercase().into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        verbs: Vec::new(),
        subresources: vec![status],
        schema,
        columns: Vec::new(),
        selectable_fields: Vec::new(),
        storage: Storage { group: "test.io".into(), version: "v1".into(), plural },
        name_rule: NameRule::Subdomain,
        has_generation: true,
        scale: None,
        custom: None,
    }
}
