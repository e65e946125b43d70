//! JSON paths of printer columns: enough of kubectl's language to name one value.
//!
//! `.spec.a`, `['a.b']`, `[0]`, `[-1]`, `[*]`, `.*`, `..a`, `[?(@.type=="Ready")]`.

use std::fmt;

use serde_json::Value;

use crate::schema::Text;

/// Most values a path may lead to.
const FOUND_MAX: usize = 10_000;

/// A compiled path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath(Box<[Step]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(Text),
    Index(i64),
    Every,
    /// The field anywhere below.
    Below(Text),
    /// Items for which the field at the path compares so.
    Where {
        path: JsonPath,
        test: Test,
        value: Literal,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Literal {
    Text(String),
    /// As it is written.
    Number(String),
    Bool(bool),
    None,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPathError(String);

impl fmt::Display for JsonPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JsonPathError {}

impl JsonPath {
    /// Compiles a path.
    ///
    /// # Errors
    /// What cannot be read, in words.
    pub fn parse(text: &str) -> Result<JsonPath, JsonPathError> {
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (step, after) = step(rest)?;
            steps.extend(step);
            rest = after;
        }
        Ok(JsonPath(steps.into()))
    }

    /// The first value the path leads to.
    pub fn first<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.all(object).into_iter().next()
    }

    fn all<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![object];
        for step in &self.0 {
            let mut next = Vec::new();
            for value in found {
                step.follow(value, &mut next);
            }
            next.truncate(FOUND_MAX);
            found = next;
        }
        found
    }

    /// The names of the fields, if the path consists of nothing else.
    pub fn fields(&self) -> Option<Vec<&str>> {
        let is_field = |step: &Step| matches!(step, Step::Field(_));
        let names = self.0.iter().filter_map(|step| match step {
            Step::Field(name) => Some(name.as_ref()),
            _ => None,
        });
        self.0.iter().all(is_field).then(|| names.collect())
    }
}

impl Step {
    fn follow<'a>(&self, value: &'a Value, found: &mut Vec<&'a Value>) {
        match (self, value) {
            (Step::Field(name), value) => found.extend(value.get(name.as_ref())),
            (Step::Index(index), Value::Array(list)) => {
                let at = match usize::try_from(*index) {
                    Ok(at) => Some(at),
                    Err(_) => list.len().checked_sub(index.unsigned_abs() as usize),
                };
                found.extend(at.and_then(|at| list.get(at)));
            }
            (Step::Every, Value::Array(list)) => found.extend(list),
            (Step::Every, Value::Object(map)) => found.extend(map.values()),
            (Step::Below(name), value) => below(value, name, found),
            (Step::Where { path, test, value: wanted }, Value::Array(list)) => {
                let holds = |item: &&Value| wanted.compare(*test, path.first(item));
                found.extend(list.iter().filter(holds));
            }
            _ => {}
        }
    }
}

fn below<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    if found.len() >= FOUND_MAX {
        return;
    }
    match value {
        Value::Object(map) => {
            found.extend(map.get(name));
            map.values().for_each(|value| below(value, name, found));
        }
        Value::Array(list) => list.iter().for_each(|value| below(value, name, found)),
        _ => {}
    }
}

impl Literal {
    fn compare(&self, test: Test, found: Option<&Value>) -> bool {
        use std::cmp::Ordering;
        let Some(found) = found else { return false };
        let order = match (self, found) {
            (Literal::None, _) => return test == Test::Exists,
            (Literal::Text(text), Value::String(found)) => Some(found.as_str().cmp(text)),
            (Literal::Number(number), Value::Number(found)) => {
                let number: Option<f64> = number.parse().ok();
                number.zip(found.as_f64()).and_then(|(wanted, found)| found.partial_cmp(&wanted))
            }
            (Literal::Bool(wanted), Value::Bool(found)) => Some(found.cmp(wanted)),
            _ => None,
        };
        match test {
            Test::Exists => true,
            Test::Equal => order == Some(Ordering::Equal),
            Test::Unequal => order != Some(Ordering::Equal),
            Test::Less => order == Some(Ordering::Less),
            Test::LessOrEqual => order.is_some_and(Ordering::is_le),
            Test::Greater => order == Some(Ordering::Greater),
            Test::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

type Parsed<'a> = Result<(Option<Step>, &'a str), JsonPathError>;

fn wrong<T>(why: impl Into<String>) -> Result<T, JsonPathError> {
    Err(JsonPathError(why.into()))
}

fn step(text: &str) -> Parsed<'_> {
    if let Some(rest) = text.strip_prefix("..") {
        let (name, rest) = name(rest)?;
        return Ok((Some(Step::Below(name.into())), rest));
    }
    if let Some(rest) = text.strip_prefix('.') {
        if let Some(rest) = rest.strip_prefix('*') {
            return Ok((Some(Step::Every), rest));
        }
        // `.['a']` is `['a']`, and a dot alone is the object.
        if rest.is_empty() || rest.starts_with('[') {
            return Ok((None, rest));
        }
        let (name, rest) = name(rest)?;
        return Ok((Some(Step::Field(name.into())), rest));
    }
    if let Some(rest) = text.strip_prefix("[?(") {
        let Some(end) = closing(rest) else { return wrong("unterminated filter") };
        let step = filter(&rest[..end])?;
        let Some(rest) = rest[end..].strip_prefix(")]") else {
            return wrong("unterminated filter");
        };
        return Ok((Some(step), rest));
    }
    if let Some(rest) = text.strip_prefix('[') {
        return brackets(rest);
    }
    wrong(format!("unexpected text {text:?}"))
}

fn brackets(rest: &str) -> Parsed<'_> {
    for quote in ['\'', '"'] {
        if let Some(inner) = rest.strip_prefix(quote) {
            let Some(end) = inner.find([quote]).filter(|end| inner[end + 1..].starts_with(']'))
            else {
                return wrong("unterminated quoted field");
            };
            let name = inner[..end].replace("\\.", ".");
            return Ok((Some(Step::Field(name.into())), &inner[end + 2..]));
        }
    }
    let Some(end) = rest.find(']') else { return wrong("unterminated array") };
    let (inside, after) = (rest[..end].trim(), &rest[end + 1..]);
    let step = match inside {
        "*" | ":" => Step::Every,
        "-1:" => Step::Index(-1),
        number => match number.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => return wrong(format!("invalid array index {inside}")),
        },
    };
    Ok((Some(step), after))
}

/// A field name up to the next dot or bracket; a backslash takes the next character as it is.
fn name(text: &str) -> Result<(String, &str), JsonPathError> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, escaped)) => name.push(escaped),
                None => return wrong("unterminated escape"),
            },
            '.' | '[' => return finish(name, &text[at..]),
            ' ' | '{' | '}' | '(' | ')' | ']' | '\'' | '"' => {
                return wrong(format!("unexpected character {c:?} in a field name"));
            }
            c => name.push(c),
        }
    }
    finish(name, "")
}

fn finish(name: String, rest: &str) -> Result<(String, &str), JsonPathError> {
    if name.is_empty() { wrong("a field name is empty") } else { Ok((name, rest)) }
}

/// Where the parenthesis ends that was just opened.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return Some(at),
            (None, ')') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn filter(text: &str) -> Result<Step, JsonPathError> {
    const TESTS: &[(&str, Test)] = &[
        ("==", Test::Equal),
        ("!=", Test::Unequal),
        ("<=", Test::LessOrEqual),
        (">=", Test::GreaterOrEqual),
        ("<", Test::Less),
        (">", Test::Greater),
    ];
    let found = TESTS.iter().filter_map(|(sign, test)| Some((text.find(sign)?, *sign, *test)));
    let first = found.min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
    let (left, test, right) = match first {
        Some((at, sign, test)) => (&text[..at], test, text[at + sign.len()..].trim()),
        None => (text, Test::Exists, ""),
    };
    let Some(path) = left.trim().strip_prefix('@') else {
        return wrong(format!("unsupported filter {text:?}"));
    };
    let quoted = |quote: char| right.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    let value = match right {
        "" => Literal::None,
        "true" => Literal::Bool(true),
        "false" => Literal::Bool(false),
        text => match quoted('"').or_else(|| quoted('\'')) {
            Some(text) => Literal::Text(text.to_owned()),
            None if text.parse::<f64>().is_ok() => Literal::Number(text.to_owned()),
            None => return wrong(format!("unsupported value {text:?} in a filter")),
        },
    };
    Ok(Step::Where { path: JsonPath::parse(path)?, test, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use test_case::test_case;

    #[test_case(".spec.a", Some(json!(1)))]
    #[test_case("spec.a", None; "a path starts with a dot")]
    #[test_case(".spec.missing", None)]
    #[test_case(".metadata.labels['app.io/x']", Some(json!("y")))]
    #[test_case(".metadata.labels.app\\.io/x", Some(json!("y")))]
    #[test_case(".spec.list[0].name", Some(json!("p")))]
    #[test_case(".spec.list[-1].name", Some(json!("q")))]
    #[test_case(".spec.list[*].name", Some(json!("p")))]
    #[test_case(".spec.list[?(@.name==\"q\")].ready", Some(json!(true)))]
    #[test_case(".spec.list[?(@.name=='q')].ready", Some(json!(true)))]
    #[test_case(".spec.list[?(@.n>1)].name", Some(json!("q")))]
    #[test_case(".spec.list[?(@.ready)].name", Some(json!("q")))]
    #[test_case("..ready", Some(json!(true)))]
    fn leads_to(path: &str, expected: Option<Value>) {
        let object = json!({
            "metadata": {"labels": {"app.io/x": "y"}},
            "spec": {"a": 1, "list": [{"name": "p", "n": 1}, {"name": "q", "ready": true, "n": 2}]},
        });
        let found = JsonPath::parse(path).ok().and_then(|path| path.first(&object).cloned());
        assert_eq!(found, expected);
    }

    #[test_case(".a[")]
    #[test_case(".a[x]")]
    #[test_case(".a[?(@.b==\"c\"]")]
    #[test_case("a b")]
    fn is_no_path(text: &str) {
        assert!(JsonPath::parse(text).is_err());
    }

    #[test]
    fn plain_fields() {
        assert_eq!(JsonPath::parse(".spec.a").unwrap().fields(), Some(vec!["spec", "a"]));
        assert_eq!(JsonPath::parse(".spec[0]").unwrap().fields(), None);
    }
}
