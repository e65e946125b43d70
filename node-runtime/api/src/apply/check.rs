//! Whether an applied configuration fits the schema, in the words of upstream.

use std::collections::BTreeSet;
use std::fmt;

use minik_meta::field::go_quote;
use serde_json::{Map, Value};

use super::element::PathElement;
use super::set::path_text;
use super::shape::Shape;
use crate::schema::{Field, FieldType, ListKind, Schema, SchemaRef, Type};

/// So many mistakes are reported at most.
const MISTAKES_MAX: usize = 50;

/// What does not fit, each with its path. There is at least one.
#[derive(Debug)]
pub(super) struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => f.write_str(one),
            all => write!(f, "errors:\n  {}", all.join("\n  ")),
        }
    }
}

/// Checks types, unknown fields, and the keys of list items.
pub(super) fn check(schema: &SchemaRef, config: &Value) -> Result<(), Mistakes> {
    let mut walk = Walk { schema: schema.schema(), path: Vec::new(), mistakes: Vec::new() };
    match config {
        Value::Object(fields) => walk.object(schema.root(), fields),
        other => walk.wrong("map", other),
    }
    match walk.mistakes.is_empty() {
        true => Ok(()),
        false => Err(Mistakes(walk.mistakes)),
    }
}

struct Walk<'s> {
    schema: &'s Schema,
    path: Vec<PathElement>,
    mistakes: Vec<String>,
}

impl<'s> Walk<'s> {
    fn note(&mut self, what: impl fmt::Display) {
        if self.mistakes.len() < MISTAKES_MAX {
            let path = path_text(&self.path);
            let colon = if path.is_empty() { "" } else { ": " };
            self.mistakes.push(format!("{path}{colon}{what}"));
        }
    }

    fn wrong(&mut self, wanted: &str, found: &Value) {
        self.note(format_args!("expected {wanted}, got &{{{}}}", go_value(found)));
    }

    fn below(&mut self, element: PathElement, check: impl FnOnce(&mut Self)) {
        self.path.push(element);
        check(self);
        self.path.pop();
    }

    fn object(&mut self, ty: &'s Type, fields: &Map<String, Value>) {
        for (key, value) in fields {
            let field = ty.field(key);
            let element = PathElement::field(key);
            match field {
                Some(field) => self.below(element, |walk| walk.field(field, value)),
                None if let Some(others) = &ty.others => {
                    self.below(element, |walk| walk.value(others, value));
                }
                // The rest of the object is not looked at, as upstream does.
                None => {
                    return self.below(element, |walk| walk.note("field not declared in schema"));
                }
            }
        }
    }

    fn field(&mut self, field: &'s Field, value: &Value) {
        match (&field.kind, field.list_kind(), value) {
            (
                FieldType::List(item),
                Some(ListKind::Set | ListKind::Map(_)),
                Value::Array(items),
            ) => self.unique_items(Shape::of_field(self.schema, field), item, items),
            (kind, _, value) => self.value(kind, value),
        }
    }

    fn unique_items(&mut self, shape: Shape<'_>, kind: &'s FieldType, items: &[Value]) {
        let mut seen = BTreeSet::new();
        for (at, item) in items.iter().enumerate() {
            let element = match shape.element(item) {
                Ok(element) => element,
                Err(why) => return self.note(format_args!("element {at}: {why}")),
            };
            if !seen.insert(element.clone()) {
                self.note(format_args!("duplicate entries for key {element}"));
            }
            self.below(element, |walk| walk.value(kind, item));
        }
    }

    fn value(&mut self, kind: &'s FieldType, value: &Value) {
        match (kind, value) {
            (_, Value::Null) | (FieldType::Json | FieldType::Raw | FieldType::FieldsV1, _) => {}
            (FieldType::Object(id), Value::Object(fields)) => {
                self.object(self.schema.get(*id), fields);
            }
            (FieldType::Map(item), Value::Object(fields)) => {
                for (key, value) in fields {
                    self.below(PathElement::field(key), |walk| walk.value(item, value));
                }
            }
            (FieldType::List(item), Value::Array(items)) => {
                for (at, value) in (0..).zip(items) {
                    self.below(PathElement::Index(at), |walk| walk.value(item, value));
                }
            }
            (FieldType::Object(_) | FieldType::Map(_), other) => self.wrong("map", other),
            (FieldType::List(_), other) => self.wrong("list", other),
            (kind, value) => self.scalar(kind, value),
        }
    }

    fn scalar(&mut self, kind: &FieldType, value: &Value) {
        match (kind, value) {
            (FieldType::Int32 | FieldType::Int64 | FieldType::Double, Value::Number(_))
            | (FieldType::String | FieldType::Bytes, Value::String(_))
            | (FieldType::Bool, Value::Bool(_)) => {}
            (FieldType::Int32 | FieldType::Int64 | FieldType::Double, other) => {
                let found = go_type(other);
                self.note(format_args!("expected numeric (int or float), got {found}"));
            }
            (FieldType::String | FieldType::Bytes, other) => self.note(format_args!(
                "expected string, got &value.valueUnstructured{{Value:{}}}",
                go_literal(other)
            )),
            (FieldType::Bool, other) => self.wrong("boolean", other),
            (_, other @ (Value::Array(_) | Value::Object(_))) => self.wrong("any scalar", other),
            _ => {}
        }
    }
}

/// As Go's `%T` names it.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// As Go's `%v` prints it.
fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" "))
        }
        Value::Object(fields) => {
            let mut pairs: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}:{}", go_value(value))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        scalar => scalar.to_string(),
    }
}

/// As Go's `%#v` prints it.
fn go_literal(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => go_quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_literal).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let mut pairs: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}:{}", go_quote(key), go_literal(value)))
                .collect();
            pairs.sort();
            format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
        }
        scalar => scalar.to_string(),
    }
}
