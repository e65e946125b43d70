//! What holds for all objects, tried on many made-up ones.

use serde_json::{Map, Value, json};

use super::super::compare::compare;
use super::super::merge::merge;
use super::super::shape::Shape;
use super::super::walk::{fields_of, without};
use super::super::{BuiltInVersions, Write, apply, equal, fields, settle, track};
use crate::kinds::kinds;
use crate::schema::{FieldType, ListKind, Schema, Type};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A made-up object of a type, with few fields and few values, so that they meet.
fn object(dice: &mut Dice, schema: &Schema, ty: &Type, depth: u32) -> Value {
    let mut map = Map::new();
    for field in &ty.fields {
        if depth > 5 || dice.roll(4) != 0 {
            continue;
        }
        let keys = match field.list_kind() {
            Some(ListKind::Map(keys)) => keys.as_slice(),
            _ => &[],
        };
        let mut made = value(dice, schema, &field.kind, depth + 1);
        if let (Value::Array(items), Some(kind)) = (&mut made, field.list_kind()) {
            complete(dice, items, keys, kind);
        }
        map.insert(field.name.to_string(), made);
    }
    Value::Object(map)
}

/// Gives items their keys and removes those that are there already.
fn complete(
    dice: &mut Dice,
    items: &mut Vec<Value>,
    keys: &[crate::schema::Text],
    kind: &ListKind,
) {
    for item in items.iter_mut().filter(|item| item.is_object()) {
        for key in keys {
            item[key.as_ref()] = match key.as_ref() {
                "port" | "containerPort" => json!(dice.roll(3)),
                _ => json!(format!("k{}", dice.roll(3))),
            };
        }
    }
    let mut seen: Vec<Vec<Value>> = Vec::new();
    items.retain(|item| {
        let own: Vec<Value> = match kind {
            ListKind::Atomic => return true,
            ListKind::Set => vec![item.clone()],
            ListKind::Map(keys) => keys.iter().map(|key| item[key.as_ref()].clone()).collect(),
        };
        let is_new = !seen.contains(&own);
        seen.push(own);
        is_new
    });
}

fn value(dice: &mut Dice, schema: &Schema, kind: &FieldType, depth: u32) -> Value {
    match kind {
        FieldType::Bool => (dice.roll(2) == 0).into(),
        FieldType::Int32 | FieldType::Int64 | FieldType::Double | FieldType::IntOrString => {
            dice.roll(3).into()
        }
        FieldType::Quantity => dice.roll(3).to_string().into(),
        FieldType::Time => "2026-01-01T00:00:00Z".into(),
        FieldType::MicroTime => "2026-01-01T00:00:00.000000Z".into(),
        FieldType::String | FieldType::Bytes => format!("k{}", dice.roll(3)).into(),
        FieldType::Raw | FieldType::Json | FieldType::FieldsV1 => {
            json!({"k": dice.roll(2), "l": [dice.roll(2)]})
        }
        FieldType::Object(id) => object(dice, schema, schema.get(*id), depth),
        FieldType::List(item) => {
            (0..dice.roll(4)).map(|_| value(dice, schema, item, depth)).collect()
        }
        FieldType::Map(item) => (0..dice.roll(3))
            .map(|_| (format!("k{}", dice.roll(3)), value(dice, schema, item, depth)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// Calls `check` with pairs of made-up objects of several kinds.
fn each_pair(check: impl Fn(&Write<'_>, &Value, &Value)) {
    let mut dice = Dice(7);
    for kind in [("", "Pod"), ("apps", "Deployment"), ("", "Service"), ("batch", "CronJob")] {
        let resource = kinds().by_kind(kind.0, "v1", kind.1).expect("a kind");
        let schema = resource.schema.schema();
        let write = Write {
            resource,
            subresource: "",
            manager: "a",
            now: "2026-01-01T00:00:00Z",
            versions: &BuiltInVersions,
        };
        for _ in 0..150 {
            let mut make = || {
                let mut made = object(&mut dice, schema, resource.schema.root(), 0);
                made["apiVersion"] = resource.api_version().into();
                made["kind"] = resource.kind.as_ref().into();
                made["metadata"]["name"] = "x".into();
                made["metadata"]["uid"] = "u".into();
                if let Some(metadata) = made["metadata"].as_object_mut() {
                    metadata.shift_remove("managedFields");
                }
                made
            };
            let (one, other) = (make(), make());
            check(&write, &one, &other);
        }
    }
}

#[test]
fn sets_come_back_from_their_text() {
    each_pair(|write, one, _| {
        let set = fields_of(Shape::root(&write.resource.schema), one);
        assert_eq!(fields::read(&fields::write(&set)), Ok(set));
    });
}

#[test]
fn nothing_differs_from_itself() {
    each_pair(|write, one, other| {
        let shape = Shape::root(&write.resource.schema);
        assert!(compare(shape, one, one).is_empty());
        let (there, back) = (compare(shape, one, other), compare(shape, other, one));
        assert_eq!((there.added, there.removed), (back.removed, back.added));
        assert_eq!(there.modified, back.modified);
    });
}

#[test]
fn what_is_merged_is_there_and_can_be_taken_out() {
    each_pair(|write, one, other| {
        let shape = Shape::root(&write.resource.schema);
        let merged = merge(shape, one, other);
        assert!(equal(&merge(shape, &merged, other), &merged), "{merged}");
        let difference = compare(shape, &merged, other);
        assert!(difference.added.is_empty() && difference.modified.is_empty(), "{difference:?}");
        let added = compare(shape, one, &merged).added;
        let rest = without(shape, &merged, &added);
        assert!(compare(shape, one, &rest).added.is_empty(), "{rest}");
    });
}

#[test]
fn applying_again_changes_nothing() {
    each_pair(|write, one, other| {
        let mut live = one.clone();
        track(write, None, &mut live);
        let applied = apply(write, Some(&live), other, true).expect("forced");
        if applied["metadata"].get("managedFields").is_none() {
            // Nobody owns anything: the next apply is the first again.
            return;
        }
        let mut again = apply(write, Some(&applied), other, false).expect("its own");
        settle(&applied, &mut again);
        assert_eq!(again, applied);
        let later = Write { manager: "b", now: "2026-01-01T00:00:09Z", ..*write };
        let mut same = applied.clone();
        track(&later, Some(&applied), &mut same);
        assert_eq!(same, applied, "no change, no owner");
    });
}

#[test]
fn a_forced_apply_takes_exactly_what_it_says() {
    each_pair(|write, one, other| {
        let live = apply(write, None, one, false).expect("the first");
        let second = Write { manager: "b", ..*write };
        let taken = apply(&second, Some(&live), other, true).expect("forced");
        let shape = Shape::root(&write.resource.schema);
        let difference = compare(shape, &taken, other);
        assert!(difference.modified.is_empty(), "{difference:?}");
        let back = apply(write, Some(&taken), one, true).expect("forced back");
        let difference = compare(shape, &back, one);
        assert!(difference.modified.is_empty(), "{difference:?}");
    });
}

#[test]
fn large_objects_in_a_bad_order_take_no_longer() {
    // Twice as much in twice the time: this ends at once, or not before tomorrow.
    const KEYS: usize = 60_000;
    let resource = kinds().by_kind("", "v1", "ConfigMap").expect("a kind");
    let write = Write {
        resource,
        subresource: "",
        manager: "a",
        now: "2026-01-01T00:00:00Z",
        versions: &BuiltInVersions,
    };
    let name = |at: usize| format!("x.io/{:06}", KEYS - at);
    let data: Map<String, Value> = (0..KEYS).map(|at| (name(at), "".into())).collect();
    let finalizers: Vec<String> = (0..KEYS).map(name).collect();
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "x", "finalizers": finalizers}, "data": data,
    });
    let mut live = apply(&write, None, &config, false).expect("the first");
    let text = live["metadata"]["managedFields"][0]["fieldsV1"].as_object().cloned();
    let data = text.and_then(|text| text["f:data"].as_object().cloned()).expect("owned");
    let reversed: Map<String, Value> = data.into_iter().rev().collect();
    live["metadata"]["managedFields"][0]["fieldsV1"]["f:data"] = reversed.into();
    let mut smaller = config.clone();
    smaller["data"] = json!({"k": "v"});
    let applied = apply(&write, Some(&live), &smaller, false).expect("its own");
    assert_eq!(applied["data"], json!({"k": "v"}));
}
