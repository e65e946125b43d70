//! Reads the two texts of the table (`table/README.md` has their format).
//!
//! The texts are compiled in and covered by tests, so a mistake in them is a panic that names the
//! line.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Group, KindTable};
use crate::defaults;
use crate::resource::{Cell, Column, NameRule, Resource, ScalePaths, Storage, Subresource};
use crate::schema::{Field, FieldType, ListKind, Presence, Schema, SchemaRef, Text, Type, TypeId};

type Line = &'static str;

const META_V1: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

pub(super) fn table(types: &'static str, kinds: &'static str) -> KindTable {
    let schema = Arc::new(schema(types));
    let (groups, mut all) = resources(kinds, &schema);
    all.push(delete_options(&schema));
    let (bodies, resources) = all.into_iter().partition(|one| one.plural == "-");
    KindTable::new(schema, groups, resources, bodies)
}

fn schema(text: &'static str) -> Schema {
    let lines = || text.lines().filter(|line| !line.starts_with('#'));
    let names = lines().filter_map(|line| line.strip_prefix("= ")).map(first_word);
    let ids: HashMap<&str, TypeId> = names.zip((0..).map(TypeId)).collect();
    let mut types: Vec<Type> = Vec::with_capacity(ids.len());
    for line in lines() {
        match line.strip_prefix("= ") {
            Some(head) => types.push(Type {
                name: first_word(head).into(),
                fields: Vec::new(),
                atomic: head.ends_with(" M=atomic"),
                others: None,
                hook: defaults::hook(first_word(head)),
            }),
            None => {
                let owner = types.last_mut().expect("a field line follows a type line");
                let field = field(line, &owner.name, &ids);
                owner.fields.push(field);
            }
        }
    }
    for one in &mut types {
        one.fields.shrink_to_fit();
        debug_assert!(one.fields.is_sorted_by(|a, b| a.name < b.name), "{}", one.name);
    }
    Schema { types }
}

fn field(line: Line, owner: &str, ids: &HashMap<&str, TypeId>) -> Field {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let numbers = words.next().unwrap_or_default();
    let kind = field_type(words.next().unwrap_or_default(), owner, ids)
        .unwrap_or_else(|| panic!("table of types, {owner}: {line}"));
    let mut field = Field {
        name: name.into(),
        proto: proto(numbers),
        kind,
        presence: Presence::Omit,
        required: false,
        proto_wrapped: false,
        extra: None,
    };
    for word in words {
        flag(&mut field, word);
    }
    field
}

fn proto(text: &str) -> [u16; 3] {
    let mut path = [0; 3];
    for (number, text) in path.iter_mut().zip(text.split('.')) {
        *number = text.parse().unwrap_or_default();
    }
    path
}

fn field_type(text: Line, owner: &str, ids: &HashMap<&str, TypeId>) -> Option<FieldType> {
    let rest = text.get(1..)?;
    Some(match text.as_bytes()[0] {
        b's' => FieldType::String,
        b'b' => FieldType::Bool,
        b'i' => FieldType::Int32,
        b'l' => FieldType::Int64,
        b'd' => FieldType::Double,
        b'y' => FieldType::Bytes,
        b'q' => FieldType::Quantity,
        b'x' => FieldType::IntOrString,
        b't' => FieldType::Time,
        b'u' => FieldType::MicroTime,
        b'f' => FieldType::FieldsV1,
        b'a' => FieldType::Raw,
        b'j' => FieldType::Json,
        b'[' => FieldType::List(Box::new(field_type(rest, owner, ids)?)),
        b'{' => FieldType::Map(Box::new(field_type(rest, owner, ids)?)),
        b'@' if rest.contains('.') => FieldType::Object(*ids.get(rest)?),
        b'@' => {
            let package = &owner[..owner.rfind('.')?];
            FieldType::Object(*ids.get(format!("{package}.{rest}").as_str())?)
        }
        _ => return None,
    })
}

fn flag(field: &mut Field, word: Line) {
    match word {
        "r" => field.required = true,
        "z" => field.presence = Presence::Zero,
        "p" => field.presence = Presence::Pointer,
        "s" => field.presence = Presence::Struct,
        "w" => field.proto_wrapped = true,
        _ => {
            let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("flag {word}"));
            let extra = field.extra.get_or_insert_default();
            match key {
                "L" => extra.list = Some(list_kind(value)),
                "M" => extra.map_atomic = value == "atomic",
                "K" => extra.merge_key = Some(value.into()),
                "S" => extra.strategy = value.into(),
                "E" => extra.allowed = value.split(',').map(allowed).collect(),
                "D" => {
                    let value = serde_json::from_str(value);
                    extra.default = Some(value.unwrap_or_else(|_| panic!("default {word}")));
                }
                _ => panic!("flag {word}"),
            }
        }
    }
}

/// A value of an enumeration; spaces in it are escaped.
fn allowed(text: Line) -> Text {
    if text.contains("%20") { text.replace("%20", " ").into() } else { text.into() }
}

fn list_kind(value: Line) -> ListKind {
    match value.split_once(':') {
        Some(("map", keys)) => ListKind::Map(keys.split(',').map(Text::from).collect()),
        _ if value == "set" => ListKind::Set,
        _ => ListKind::Atomic,
    }
}

fn resources(text: &'static str, schema: &Arc<Schema>) -> (Vec<Group>, Vec<Resource>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut resources: Vec<Resource> = Vec::new();
    let (mut group, mut version) = ("", "");
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&'static str> = line.split_whitespace().collect();
        match (line.starts_with(' '), words.as_slice()) {
            (false, ["group", name, v]) => {
                (group, version) = (if *name == "-" { "" } else { name }, v);
                add_version(&mut groups, group, version);
            }
            (false, ["kind", kind, plural, singular, scope]) => {
                let mut one = resource(group, version, kind, schema);
                one.plural = (*plural).into();
                one.singular = (*singular).into();
                one.storage.plural = one.plural.clone();
                one.namespaced = *scope == "namespaced";
                resources.push(one);
            }
            (true, words) => {
                let one = resources.last_mut().expect("a property line follows a kind line");
                property(one, words, line);
            }
            _ => panic!("table of kinds: {line}"),
        }
    }
    for one in &mut resources {
        one.subresources.sort_by(|a, b| a.name.cmp(&b.name));
    }
    (groups, resources)
}

fn add_version(groups: &mut Vec<Group>, group: &'static str, version: &'static str) {
    match groups.iter_mut().find(|one| one.name == group) {
        Some(known) if known.versions.iter().any(|one| one == version) => {}
        Some(known) => known.versions.push(version.into()),
        None => groups.push(Group { name: group.into(), versions: vec![version.into()] }),
    }
}

fn resource(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    schema: &Arc<Schema>,
) -> Resource {
    let root = schema
        .find(&definition(group, version, kind))
        .unwrap_or_else(|| panic!("table of kinds: no type of {kind} in {group}/{version}"));
    Resource {
        group: group.into(),
        version: version.into(),
        kind: kind.into(),
        list_kind: format!("{kind}List").into(),
        plural: "".into(),
        singular: "".into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: false,
        verbs: ALL_VERBS.iter().map(|verb| Text::from(*verb)).collect(),
        subresources: Vec::new(),
        schema: SchemaRef::new(schema.clone(), root),
        columns: vec![column("Name", "string", 0, ".metadata.name")],
        selectable_fields: Vec::new(),
        storage: Storage { group: group.into(), version: version.into(), plural: "".into() },
        name_rule: NameRule::Subdomain,
        has_generation: false,
        scale: None,
        custom: None,
    }
}

/// `io.k8s.api.apps.v1.Deployment`: the definition that a kind's type has.
fn definition(group: &str, version: &str, kind: &str) -> String {
    let package = match group {
        "" => "io.k8s.api.core",
        "apiextensions.k8s.io" => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
        "apiregistration.k8s.io" => "io.k8s.kube-aggregator.pkg.apis.apiregistration",
        group => &format!("io.k8s.api.{}", group.split('.').next().unwrap_or_default()),
    };
    format!("{package}.{version}.{kind}")
}

fn property(one: &mut Resource, words: &[&'static str], line: Line) {
    let texts = |words: &[&'static str]| words.iter().map(|word| Text::from(*word)).collect();
    match words {
        ["short", names @ ..] => one.short_names = texts(names),
        ["categories", names @ ..] => one.categories = texts(names),
        ["verbs", verbs @ ..] => one.verbs = texts(verbs),
        ["select", fields @ ..] => one.selectable_fields = texts(fields),
        ["generation"] => one.has_generation = true,
        ["noname"] => one.columns.clear(),
        ["tablename", cell] => one.columns[0].cell = cell_of(cell),
        ["name", rule] => one.name_rule = name_rule(rule),
        ["stored", place] => (one.storage.group, one.storage.version) = split_version(place),
        ["scale", spec, status, selector] => {
            one.scale = Some(ScalePaths {
                spec_replicas: (*spec).into(),
                status_replicas: (*status).into(),
                selector: (*selector).into(),
            });
        }
        ["sub", name, verbs @ ..] => {
            let (name, kind) = name.split_once('=').unwrap_or((name, ""));
            let (group, version, kind) = match kind.rsplit_once('/') {
                _ if kind.is_empty() => (one.group.clone(), one.version.clone(), one.kind.clone()),
                None => (one.group.clone(), one.version.clone(), kind.into()),
                Some((place, kind)) => {
                    let (group, version) = split_version(place);
                    (group, version, kind.into())
                }
            };
            let verbs = texts(verbs);
            one.subresources.push(Subresource { name: name.into(), group, version, kind, verbs });
        }
        ["col", priority, kind, name, cell] => {
            one.columns.push(column(name, kind, priority.parse().unwrap_or_default(), cell));
        }
        _ => panic!("table of kinds: {line}"),
    }
}

fn split_version(place: &'static str) -> (Text, Text) {
    let (group, version) = place.split_once('/').unwrap_or(("", place));
    (group.into(), version.into())
}

fn name_rule(rule: &str) -> NameRule {
    match rule {
        "label" => NameRule::Label,
        "dns1035" => NameRule::Label1035,
        "path" => NameRule::PathSegment,
        "address" => NameRule::Address,
        _ => panic!("table of kinds: name {rule}"),
    }
}

fn column(name: &'static str, kind: &'static str, priority: i32, cell: &'static str) -> Column {
    let is_name = name == "Name" && priority == 0;
    Column {
        name: if name.contains('_') { name.replace('_', " ").into() } else { name.into() },
        kind: kind.into(),
        format: if is_name { "name".into() } else { "".into() },
        description: "".into(),
        priority,
        cell: cell_of(cell),
    }
}

fn cell_of(text: &'static str) -> Cell {
    match (text.strip_prefix('@'), text.split_once('|')) {
        (Some(name), _) => Cell::Named(name.into()),
        (None, Some((path, otherwise))) => Cell::Path(path.into(), otherwise.into()),
        (None, None) => Cell::Path(text.into(), "".into()),
    }
}

fn delete_options(schema: &Arc<Schema>) -> Resource {
    let root = schema.find(&format!("{META_V1}.DeleteOptions")).expect("the table has it");
    let mut one = resource("", "v1", "Binding", schema);
    one.kind = "DeleteOptions".into();
    one.plural = "-".into();
    one.schema = SchemaRef::new(schema.clone(), root);
    one
}

fn first_word(text: Line) -> Line {
    text.split(' ').next().unwrap_or_default()
}
