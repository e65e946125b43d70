//! One step of a path into an object, and how it is ordered and written.

use std::cmp::Ordering;
use std::fmt;

use minik_meta::field::go_quote;
use serde_json::{Map, Number, Value};

use super::equal;

/// How a child is found in the value that holds it.
#[derive(Clone, Debug)]
pub(super) enum PathElement {
    /// A field of an object or a key of a map.
    Field(Box<str>),
    /// The list item whose fields have these values; sorted by name.
    Key(Vec<(Box<str>, Value)>),
    /// The list item that is this scalar.
    Value(Value),
    /// The list item at this place.
    Index(i64),
}

/// Why a serialized path element was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A kind of element of the future: to be left out.
    Unknown,
    /// Not an element.
    Broken(String),
}

impl PathElement {
    /// The element of a field.
    pub(super) fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// Reads `f:name`, `k:{"name":"value"}`, `v:"value"` or `i:0`.
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        let broken = |why: &str| Unreadable::Broken(why.to_owned());
        let Some((kind, rest)) = text.split_at_checked(2) else {
            return Err(broken("key must be 2 characters long:"));
        };
        let json = || -> Result<Value, Unreadable> {
            serde_json::from_str(rest).map_err(|error| Unreadable::Broken(error.to_string()))
        };
        match kind {
            "f:" => Ok(Self::field(rest)),
            "v:" => Ok(Self::Value(json()?)),
            "k:" => match json()? {
                Value::Object(fields) => Ok(Self::key(fields)),
                _ => Err(broken("a key must be an object")),
            },
            "i:" => match rest.parse() {
                Ok(index) => Ok(Self::Index(index)),
                Err(_) => Err(broken("an index must be a number")),
            },
            _ if kind.ends_with(':') => Err(Unreadable::Unknown),
            _ => Err(Unreadable::Broken(format!("missing colon: {text}"))),
        }
    }

    fn key(fields: Map<String, Value>) -> Self {
        let mut fields: Vec<_> =
            fields.into_iter().map(|(name, value)| (name.into_boxed_str(), value)).collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Key(fields)
    }

    /// As it is written in managed fields.
    pub(super) fn serialized(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
            Self::Key(fields) => {
                let pairs: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{}:{value}", Value::from(name.as_ref())))
                    .collect();
                format!("k:{{{}}}", pairs.join(","))
            }
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Value(a), Self::Value(b)) => compare_values(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let pairs = a.iter().zip(b);
                let mut orders =
                    pairs.map(|(a, b)| a.0.cmp(&b.0).then_with(|| compare_values(&a.1, &b.1)));
                orders.find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for PathElement {}

/// As messages show it: `.spec`, `[name="web"]`, `[="a"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={}]", shown(value)),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{name}={}", shown(value))?;
                }
                f.write_str("]")
            }
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => go_quote(text),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

/// Numbers first, then text, booleans, lists, objects, null.
pub(super) fn compare_values(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0_u8,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => {
            if equal(a, b) { Ordering::Equal } else { a.to_string().cmp(&b.to_string()) }
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

/// Whole numbers exactly, others as floating point numbers.
pub(super) fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return a.cmp(&b);
    }
    let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
    a.total_cmp(&b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("f:spec", ".spec")]
    #[test_case("f:app.kubernetes.io/name", ".app.kubernetes.io/name")]
    #[test_case("f:", "."; "an empty name is a name")]
    #[test_case(r#"k:{"name":"web"}"#, r#"[name="web"]"#)]
    #[test_case(
        r#"k:{"containerPort":80,"protocol":"TCP"}"#,
        r#"[containerPort=80,protocol="TCP"]"#
    )]
    #[test_case(r#"v:"a""#, r#"[="a"]"#)]
    #[test_case("v:3", "[=3]")]
    #[test_case("v:true", "[=true]")]
    #[test_case("i:2", "[2]")]
    fn there_and_back(serialized: &str, shown: &str) {
        let element = PathElement::parse(serialized).unwrap();
        assert_eq!(element.serialized(), serialized);
        assert_eq!(element.to_string(), shown);
    }

    #[test]
    fn keys_are_sorted_by_name() {
        let element = PathElement::parse(r#"k:{"protocol":"TCP","containerPort":80}"#).unwrap();
        assert_eq!(element.serialized(), r#"k:{"containerPort":80,"protocol":"TCP"}"#);
    }

    #[test_case(""; "empty")]
    #[test_case("f"; "short")]
    #[test_case("spec"; "no colon")]
    #[test_case("v:{"; "broken value")]
    #[test_case("k:[]"; "key that is a list")]
    #[test_case("k:1"; "key that is a number")]
    #[test_case("i:x"; "index that is a word")]
    fn what_is_no_element(text: &str) {
        assert!(matches!(PathElement::parse(text), Err(Unreadable::Broken(_))));
    }

    #[test]
    fn elements_of_the_future_are_told_apart() {
        assert_eq!(PathElement::parse("z:1"), Err(Unreadable::Unknown));
    }

    #[test]
    fn order() {
        let sorted = [
            "f:a",
            "f:b",
            r#"k:{"a":1}"#,
            r#"k:{"a":1,"b":1}"#,
            r#"k:{"a":2}"#,
            r#"k:{"a":"1"}"#,
            "v:1",
            "v:2.5",
            "v:10",
            r#"v:"a""#,
            "v:false",
            "v:true",
            "i:1",
            "i:2",
        ];
        let elements = sorted.map(|text| PathElement::parse(text).unwrap());
        assert!(elements.is_sorted_by(|a, b| a < b), "{elements:?}");
        assert_eq!(PathElement::parse("v:1"), PathElement::parse("v:1.0"));
    }
}
