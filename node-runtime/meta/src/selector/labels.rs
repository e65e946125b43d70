//! Label selectors, from a query string or from a `LabelSelector` object.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::SelectorError;
use crate::names;
use crate::object::{self, Object};

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Has the value: `a=b`.
    Equals,
    /// Absent or another value: `a!=b`.
    NotEquals,
    /// One of the values: `a in (b,c)`.
    In,
    /// Absent or none of the values: `a notin (b,c)`.
    NotIn,
    /// Present: `a`.
    Exists,
    /// Absent: `!a`.
    DoesNotExist,
    /// A number above: `a>1`.
    GreaterThan,
    /// A number below: `a<1`.
    LessThan,
}

/// One term of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what, sorted; empty for the two existence operators.
    pub values: Vec<String>,
}

/// All terms must hold. [`LabelSelector::nothing`] matches no object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Requirement {
    /// Makes a term after checking it; the message of an error is upstream's.
    pub fn new(
        key: &str,
        operator: Operator,
        values: impl IntoIterator<Item = String>,
    ) -> Result<Self, SelectorError> {
        let values: BTreeSet<String> = values.into_iter().collect();
        let values: Vec<String> = values.into_iter().collect();
        let requirement = Self { key: key.to_owned(), operator, values };
        match requirement.wrong().as_slice() {
            [] => Ok(requirement),
            [one] => Err(SelectorError::new(one.clone())),
            many => Err(SelectorError::new(format!("[{}]", many.join(", ")))),
        }
    }

    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut say = |field: &str, value: &dyn fmt::Debug, why: &str| {
            wrong.push(format!("{field}: Invalid value: {value:?}: {why}"));
        };
        let key = names::qualified_name(&self.key);
        if !key.is_empty() {
            say("key", &self.key, &key.join("; "));
        }
        let number = |text: &String| text.parse::<i64>().is_ok();
        match (self.operator, self.values.len()) {
            (Operator::In | Operator::NotIn, 0) => {
                say(
                    "values",
                    &self.values,
                    "for 'in', 'notin' operators, values set can't be empty",
                );
            }
            (Operator::Equals | Operator::NotEquals, count) if count != 1 => {
                say("values", &self.values, "exact-match compatibility requires one single value");
            }
            (Operator::Exists | Operator::DoesNotExist, 1..) => {
                say(
                    "values",
                    &self.values,
                    "values set must be empty for exists and does not exist",
                );
            }
            (Operator::GreaterThan | Operator::LessThan, 1) if !number(&self.values[0]) => {
                say(
                    "values[0]",
                    &self.values[0],
                    "for 'Gt', 'Lt' operators, the value must be an integer",
                );
            }
            (Operator::GreaterThan | Operator::LessThan, count) if count != 1 => {
                say(
                    "values",
                    &self.values,
                    "for 'Gt', 'Lt' operators, exactly one value is required",
                );
            }
            _ => {}
        }
        for (index, value) in self.values.iter().enumerate() {
            let bad = names::label_value(value);
            if !bad.is_empty() {
                say(&format!("values[{index}][{}]", self.key), value, &bad.join("; "));
            }
        }
        wrong
    }

    /// Whether the labels satisfy it; `get` returns the value of a label.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        let value = get(&self.key);
        let listed = |value: &str| self.values.iter().any(|one| one == value);
        let compare = |than: fn(&i64, &i64) -> bool| {
            let have = value.and_then(|value| value.parse::<i64>().ok());
            let want = self.values.first().and_then(|value| value.parse::<i64>().ok());
            have.zip(want).is_some_and(|(have, want)| than(&have, &want))
        };
        match self.operator {
            Operator::Equals | Operator::In => value.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => compare(i64::gt),
            Operator::LessThan => compare(i64::lt),
        }
    }
}

impl LabelSelector {
    /// Selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object: what an absent `LabelSelector` object means.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// All of `requirements`.
    pub fn new(requirements: Vec<Requirement>) -> Self {
        let mut requirements = requirements;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// From a plain map of labels, as Services and ReplicationControllers select. Not checked.
    pub fn from_map(labels: &Object) -> Self {
        let equals = |(key, value): (&String, &Value)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.as_str().unwrap_or_default().to_owned()],
        };
        Self::new(labels.iter().map(equals).collect())
    }

    /// From a `LabelSelector` object: absent selects nothing, an empty one everything.
    pub fn from_object(selector: Option<&Value>) -> Result<Self, SelectorError> {
        let Some(selector) = selector.filter(|selector| !selector.is_null()) else {
            return Ok(Self::nothing());
        };
        let mut requirements = match object::map(selector, &["matchLabels"]) {
            Some(labels) => Self::from_map(labels).requirements,
            None => Vec::new(),
        };
        for expression in object::list(selector, &["matchExpressions"]) {
            let operator = match object::text(expression, &["operator"]) {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError::new(format!(
                        "\"{other}\" is not a valid label selector operator"
                    )));
                }
            };
            let values = object::list(expression, &["values"]).iter();
            let values = values.filter_map(Value::as_str).map(str::to_owned);
            requirements.push(Requirement::new(
                object::text(expression, &["key"]),
                operator,
                values,
            )?);
        }
        Ok(Self::new(requirements))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// The terms.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether all terms hold for these labels (`metadata.labels`).
    pub fn matches(&self, labels: Option<&Object>) -> bool {
        let get = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        self.matches_with(get)
    }

    /// The same with any lookup.
    pub fn matches_with<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|term| term.matches(&get))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.requirements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let (key, values) = (&term.key, term.values.join(","));
            match term.operator {
                Operator::Equals => write!(f, "{comma}{key}={values}"),
                Operator::NotEquals => write!(f, "{comma}{key}!={values}"),
                Operator::In => write!(f, "{comma}{key} in ({values})"),
                Operator::NotIn => write!(f, "{comma}{key} notin ({values})"),
                Operator::Exists => write!(f, "{comma}{key}"),
                Operator::DoesNotExist => write!(f, "{comma}!{key}"),
                Operator::GreaterThan => write!(f, "{comma}{key}>{values}"),
                Operator::LessThan => write!(f, "{comma}{key}<{values}"),
            }?;
        }
        Ok(())
    }
}

impl FromStr for LabelSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: tokens(text), next: 0 };
        Ok(Self::new(parser.selector()?))
    }
}

fn tokens(text: &str) -> Vec<&str> {
    const SYMBOLS: &str = "=!(),><";
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if SYMBOLS.contains(first) {
            if rest.starts_with("==") || rest.starts_with("!=") { 2 } else { 1 }
        } else {
            rest.find(|c: char| SYMBOLS.contains(c) || c.is_ascii_whitespace())
                .unwrap_or(rest.len())
        };
        tokens.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<&'a str>,
    next: usize,
}

impl<'a> Parser<'a> {
    /// The token ahead, empty at the end.
    fn peek(&self) -> &'a str {
        self.tokens.get(self.next).copied().unwrap_or_default()
    }

    fn take(&mut self) -> &'a str {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                "" => return Ok(requirements),
                token if token == "!" || is_word(token) => {
                    requirements.push(self.requirement().map_err(|error| {
                        SelectorError::new(format!("unable to parse requirement: {error}"))
                    })?);
                }
                token => {
                    return Err(expected(token, "!, identifier, or 'end of string'"));
                }
            }
            match self.take() {
                "" => return Ok(requirements),
                "," if self.peek() == "!" || is_word(self.peek()) => {}
                "," => return Err(expected(self.peek(), "identifier after ','")),
                token => return Err(expected(token, "',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let absent = self.peek() == "!";
        if absent {
            self.take();
        }
        let key = self.take();
        if !is_word(key) {
            return Err(expected(key, "identifier"));
        }
        if absent || matches!(self.peek(), "" | ",") {
            let operator = if absent { Operator::DoesNotExist } else { Operator::Exists };
            return Requirement::new(key, operator, []);
        }
        let operator = match self.take() {
            "=" | "==" => Operator::Equals,
            "!=" => Operator::NotEquals,
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            ">" => Operator::GreaterThan,
            "<" => Operator::LessThan,
            other => return Err(expected(other, "in, notin, =, ==, !=, gt, lt")),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ if matches!(self.peek(), "" | ",") => vec![String::new()],
            _ if is_word(self.peek()) => vec![self.take().to_owned()],
            _ => return Err(expected(self.peek(), "identifier")),
        };
        Requirement::new(key, operator, values)
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        if self.peek() != "(" {
            return Err(SelectorError::new(format!("found '{}' expected: '('", self.peek())));
        }
        self.take();
        let mut values = Vec::new();
        loop {
            // An empty place between commas or parentheses is the empty value.
            let value = if is_word(self.peek()) { self.take() } else { "" };
            values.push(value.to_owned());
            match self.take() {
                "," => {}
                ")" => return Ok(values),
                token => return Err(expected(token, "',' or ')'")),
            }
        }
    }
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.starts_with(['=', '!', '(', ')', ',', '>', '<'])
}

fn expected(found: &str, what: &str) -> SelectorError {
    SelectorError::new(format!("found '{found}', expected: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use test_case::test_case;

    #[test_case("", ""; "everything")]
    #[test_case("a=b", "a=b")]
    #[test_case("a==b", "a=b")]
    #[test_case(" b = c , a!=d ", "a!=d,b=c"; "sorted by key")]
    #[test_case("a in (z, b)", "a in (b,z)")]
    #[test_case("a notin (b)", "a notin (b)")]
    #[test_case("a", "a")]
    #[test_case("!a", "!a")]
    #[test_case("a>1,b<2", "a>1,b<2")]
    #[test_case("a=", "a=")]
    #[test_case("a in ()", "a in ()")]
    #[test_case("a in (,b)", "a in (,b)")]
    #[test_case("in in (in)", "in in (in)"; "keywords as names")]
    fn read_and_written(text: &str, expected: &str) {
        assert_eq!(text.parse::<LabelSelector>().unwrap().to_string(), expected);
    }

    #[test_case("a,,b", "found ',', expected: identifier after ','")]
    #[test_case("=a", "found '=', expected: !, identifier, or 'end of string'")]
    #[test_case(
        "a b",
        "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"
    )]
    #[test_case("a in b", "unable to parse requirement: found 'b' expected: '('")]
    #[test_case("a in (b", "unable to parse requirement: found '', expected: ',' or ')'")]
    #[test_case(
        "a>x",
        "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"
    )]
    fn refused(text: &str, expected: &str) {
        assert_eq!(text.parse::<LabelSelector>().unwrap_err().to_string(), expected);
    }

    #[test_case("app=web", true)]
    #[test_case("app!=web", false)]
    #[test_case("tier!=x", true; "absent is not equal")]
    #[test_case("app in (web,db),n>3", true)]
    #[test_case("n<5", false)]
    #[test_case("tier notin (x)", true)]
    #[test_case("tier", false)]
    #[test_case("!tier,app", true)]
    fn matching(text: &str, expected: bool) {
        let labels = json!({"app": "web", "n": "5"});
        let selector: LabelSelector = text.parse().unwrap();
        assert_eq!(selector.matches(labels.as_object()), expected);
    }

    #[test]
    fn from_objects() {
        let selector = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}],
        });
        let selector = LabelSelector::from_object(Some(&selector)).unwrap();
        assert_eq!(selector.to_string(), "app=web,tier notin (x)");
        assert!(LabelSelector::from_object(Some(&json!({}))).unwrap().matches(None));
        assert!(!LabelSelector::from_object(None).unwrap().matches(None));
        let wrong = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
        assert!(LabelSelector::from_object(Some(&wrong)).is_err());
    }
}
