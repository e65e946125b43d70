//! Kinds as custom resources bring them, for the cases.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::resource::{NameRule, Resource, Storage, Subresource};
use crate::schema::{Extra, Field, FieldType, ListKind, Presence, Schema, SchemaRef, Type, TypeId};

/// `test.io/v1 Widget` has a schema, `test.io/v1 Anything` none.
pub(super) fn find(api_version: &str, kind: &str) -> Option<&'static Resource> {
    static KINDS: OnceLock<[Resource; 2]> = OnceLock::new();
    let kinds = KINDS.get_or_init(|| {
        let meta = crate::kinds::kinds();
        let _ = meta;
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
    Type { name: name.into(), fields, atomic, hook: None }
}

fn resource(kind: &'static str, mut root: Vec<Field>) -> Resource {
    let text = FieldType::String;
    let map = |item| FieldType::Map(Box::new(item));
    root.extend([
        field("apiVersion", text.clone(), None),
        field("kind", text.clone(), None),
        field("metadata", FieldType::Object(TypeId(2)), None),
    ]);
    let atomic = Extra { map_atomic: true, ..Extra::default() };
    let defaulted = Extra { default: Some("TCP".into()), ..Extra::default() };
    let keys = |keys: &[&'static str]| ListKind::Map(keys.iter().map(|key| Cow::from(*key)).collect());
    let types = vec![
        sorted("test.Root", root, false),
        sorted(
            "test.Spec",
            vec![
                field("size", FieldType::Int64, None),
                field("plain", FieldType::List(Box::new(text.clone())), None),
                list("tags", text.clone(), ListKind::Set),
                list("numbers", FieldType::Int64, ListKind::Set),
                list("ports", FieldType::Object(TypeId(3)), keys(&["port", "protocol"])),
                field("free", map(text.clone()), None),
                field("whole", map(text.clone()), Some(atomic)),
                field("json", FieldType::Json, None),
                raw("open"),
                object("choice", 4),
                field("named", map(FieldType::Object(TypeId(3))), None),
            ],
            false,
        ),
        sorted(
            "test.Meta",
            vec![
                field("name", text.clone(), None),
                field("uid", text.clone(), None),
                field("labels", map(text.clone()), None),
                field("annotations", map(text.clone()), None),
                raw("managedFields"),
            ],
            false,
        ),
        sorted(
            "test.Port",
            vec![
                field("port", FieldType::Int64, None),
                field("protocol", text.clone(), Some(defaulted)),
                field("name", text.clone(), None),
            ],
            false,
        ),
        sorted(
            "test.Choice",
            vec![field("a", text.clone(), None), field("b", text, None)],
            true,
        ),
    ];
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
    }
}
