//! Structural schemas in a compact form: one [`Node`] per field, list item or map value.

use serde_json::{Map, Value};

use super::format::Format;
use super::pattern::Pattern;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `object`
    Object,
    /// `array`
    Array,
    /// `string`
    String,
    /// `integer`
    Integer,
    /// `number`
    Number,
    /// `boolean`
    Boolean,
}

/// How the items of a list are identified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum List {
    /// The list is one value.
    #[default]
    Atomic,
    /// Each value at most once.
    Set,
    /// Objects with these keys.
    Map(Box<[Box<str>]>),
}

/// What an object may hold besides its properties.
#[derive(Debug)]
pub enum Additional {
    /// Anything.
    Any,
    /// Values of this shape.
    Of(Box<Node>),
}

/// The schema of one value.
#[derive(Debug, Default)]
pub struct Node {
    /// Its type; none for integer-or-string and for anything at all.
    pub kind: Option<Kind>,
    /// Whether null is a value of its own.
    pub nullable: bool,
    /// Whether fields that are not named are kept.
    pub preserve: bool,
    /// Whether it is a Kubernetes object of its own, with `apiVersion`, `kind` and `metadata`.
    pub embedded: bool,
    /// Whether it is an integer or a string.
    pub int_or_string: bool,
    /// Whether apply replaces the object as a whole.
    pub map_atomic: bool,
    /// How apply and validation identify list items.
    pub list: List,
    /// Named fields, sorted by name.
    pub properties: Box<[(Box<str>, Node)]>,
    /// Shape of list items.
    pub items: Option<Box<Node>>,
    /// What else an object holds.
    pub additional: Option<Additional>,
    /// The value that absence stands for.
    pub default: Option<Box<Value>>,
    /// What values must satisfy beyond their type.
    pub checks: Option<Box<Checks>>,
}

/// What a value must satisfy beyond its type.
#[derive(Debug, Default)]
pub struct Checks {
    pub(super) required: Box<[Box<str>]>,
    pub(super) allowed: Box<[Value]>,
    pub(super) format: Option<Format>,
    pub(super) pattern: Option<Pattern>,
    pub(super) minimum: Option<Bound>,
    pub(super) maximum: Option<Bound>,
    pub(super) multiple_of: Option<f64>,
    pub(super) length: Range,
    pub(super) items: Range,
    pub(super) properties: Range,
    pub(super) unique: bool,
    pub(super) all_of: Box<[Node]>,
    pub(super) any_of: Box<[Node]>,
    pub(super) one_of: Box<[Node]>,
    pub(super) not: Option<Box<Node>>,
}

/// A limit of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) value: f64,
    pub(super) exclusive: bool,
}

/// Limits of a count, both included. No count in a request is as large as the largest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    min: u32,
    max: u32,
}

impl Default for Range {
    fn default() -> Self {
        Range { min: 0, max: u32::MAX }
    }
}

impl Range {
    fn of(schema: &Map<String, Value>, min: &str, max: &str) -> Range {
        let limit = |key: &str| {
            let limit = schema.get(key).and_then(Value::as_u64)?;
            Some(u32::try_from(limit).unwrap_or(u32::MAX))
        };
        Range { min: limit(min).unwrap_or(0), max: limit(max).unwrap_or(u32::MAX) }
    }

    /// The lower limit, if `count` is below it.
    pub(super) fn falls_below(self, count: u64) -> Option<u64> {
        Some(u64::from(self.min)).filter(|min| count < *min)
    }

    /// The upper limit, if `count` is above it.
    pub(super) fn exceeds(self, count: u64) -> Option<u64> {
        Some(u64::from(self.max)).filter(|max| count > *max)
    }
}

impl Node {
    /// Compiles a schema that was accepted when its definition was written. What cannot be read is
    /// left out.
    pub fn compile(schema: &Value) -> Node {
        let empty = Map::new();
        let schema = schema.as_object().unwrap_or(&empty);
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
        let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
        let mut properties: Vec<(Box<str>, Node)> = fields(schema, "properties")
            .map(|(name, schema)| (name.as_str().into(), Node::compile(schema)))
            .collect();
        properties.sort_by(|a, b| a.0.cmp(&b.0));
        let additional = match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Some(Additional::Any),
            Some(schema @ Value::Object(_)) => {
                Some(Additional::Of(Box::new(Node::compile(schema))))
            }
            _ => None,
        };
        Node {
            kind: kind(text("type")),
            nullable: flag("nullable"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            map_atomic: text("x-kubernetes-map-type") == "atomic",
            list: list(schema),
            properties: properties.into(),
            items: schema
                .get("items")
                .filter(|items| items.is_object())
                .map(|items| Box::new(Node::compile(items))),
            additional,
            default: schema.get("default").filter(|one| !one.is_null()).cloned().map(Box::new),
            checks: Checks::compile(schema),
        }
    }

    /// The schema of a named field.
    pub fn property(&self, name: &str) -> Option<&Node> {
        let at = self.properties.binary_search_by(|(known, _)| known.as_ref().cmp(name)).ok()?;
        Some(&self.properties[at].1)
    }

    /// The schema of values of fields that are not named.
    pub fn others(&self) -> Option<&Node> {
        match &self.additional {
            Some(Additional::Of(node)) => Some(node),
            _ => None,
        }
    }

    /// The schema of any field.
    pub fn field(&self, name: &str) -> Option<&Node> {
        self.property(name).or_else(|| self.others())
    }
}

impl Checks {
    fn compile(schema: &Map<String, Value>) -> Option<Box<Checks>> {
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
        let bound = |key: &str, exclusive: &str| {
            let value = schema.get(key).and_then(Value::as_f64)?;
            Some(Bound { value, exclusive: flag(exclusive) })
        };
        let nodes =
            |key: &str| -> Box<[Node]> { list_of(schema, key).map(Node::compile).collect() };
        let text = |key: &str| schema.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
        let checks = Checks {
            required: texts(schema, "required"),
            allowed: list_of(schema, "enum").cloned().collect(),
            format: text("format").and_then(Format::find),
            pattern: text("pattern").map(Pattern::new),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: schema.get("multipleOf").and_then(Value::as_f64),
            length: Range::of(schema, "minLength", "maxLength"),
            items: Range::of(schema, "minItems", "maxItems"),
            properties: Range::of(schema, "minProperties", "maxProperties"),
            unique: flag("uniqueItems"),
            all_of: nodes("allOf"),
            any_of: nodes("anyOf"),
            one_of: nodes("oneOf"),
            not: schema.get("not").map(|schema| Box::new(Node::compile(schema))),
        };
        (!checks.is_empty()).then(|| Box::new(checks))
    }

    fn is_empty(&self) -> bool {
        let ranges = [self.length, self.items, self.properties];
        self.required.is_empty()
            && self.allowed.is_empty()
            && self.format.is_none()
            && self.pattern.is_none()
            && self.minimum.is_none()
            && self.maximum.is_none()
            && self.multiple_of.is_none()
            && ranges.iter().all(|range| *range == Range::default())
            && !self.unique
            && self.all_of.is_empty()
            && self.any_of.is_empty()
            && self.one_of.is_empty()
            && self.not.is_none()
    }
}

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "object" => Kind::Object,
        "array" => Kind::Array,
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        _ => return None,
    })
}

impl Kind {
    /// As schemas and messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
        }
    }
}

fn list(schema: &Map<String, Value>) -> List {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => List::Set,
        Some("map") => List::Map(texts(schema, "x-kubernetes-list-map-keys")),
        _ => List::Atomic,
    }
}

fn fields<'a>(
    schema: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema.get(key).and_then(Value::as_object).into_iter().flatten()
}

fn list_of<'a>(schema: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn texts(schema: &Map<String, Value>, key: &str) -> Box<[Box<str>]> {
    list_of(schema, key).filter_map(Value::as_str).map(Box::from).collect()
}
