//! JSON and YAML text to a value, noting keys given twice. Depth is bounded by the parsers.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Number, Value};
use serde_yaml::Spanned;
use serde_yaml::options::DuplicateKeyPolicy;

/// Deepest nesting of YAML; as deep as the JSON parser goes.
const DEPTH_MAX: usize = 128;
/// Most values in one YAML document.
const NODES_MAX: usize = 1_000_000;
/// So many duplicate keys are reported at most.
const DUPLICATES_MAX: usize = 20;

/// A parsed document.
pub(super) struct Parsed {
    pub(super) value: Value,
    /// `duplicate field "…"` for every key given twice; the last value was kept. For YAML one text
    /// about all of them, in the words of upstream's parser.
    pub(super) duplicates: Vec<String>,
}

pub(super) fn json(bytes: &[u8]) -> Result<Parsed, String> {
    serde_json::from_slice(bytes).map_err(|error| match error.is_eof() {
        true => "unexpected end of JSON input".to_owned(),
        false => error.to_string(),
    })
}

/// Nesting from which YAML is parsed on a stack of its own: unoptimized, the parser takes tens of
/// kilobytes for each level, and threads of the server have two megabytes.
const SHALLOW: usize = 30;
/// What the deepest document takes, in bytes.
const DEEP_STACK: usize = 8 * 1024 * 1024;

pub(super) fn yaml(bytes: &[u8]) -> Result<Parsed, String> {
    if nesting_at_most(bytes) <= SHALLOW {
        return yaml_here(bytes);
    }
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(DEEP_STACK);
        let parsing = builder.spawn_scoped(scope, || yaml_here(bytes));
        match parsing.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(_)) => Err("the document cannot be parsed".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
}

/// How deep a document may be nested at most, as far as its characters tell: by all brackets, which may
/// be text, and by the columns that lines begin at.
fn nesting_at_most(bytes: &[u8]) -> usize {
    let brackets = bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    let begin = |line: &[u8]| {
        let begin = line.iter().position(|byte| !matches!(byte, b' ' | b'-' | b'?' | b':'));
        begin.unwrap_or(line.len())
    };
    // A list may begin at the column of the map it is in.
    let columns = bytes.split(|byte| *byte == b'\n').map(begin).max().unwrap_or(0);
    brackets + columns
}

fn yaml_here(bytes: &[u8]) -> Result<Parsed, String> {
    let budget = serde_yaml::budget! {
        max_depth: DEPTH_MAX,
        max_nodes: NODES_MAX,
    };
    let options = serde_yaml::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let parsed: Parsed = serde_yaml::from_slice_with_options(bytes, options.clone())
        .map_err(|error| error.to_string())?;
    if parsed.duplicates.is_empty() {
        return Ok(parsed);
    }
    let Repeated(lines) =
        serde_yaml::from_slice_with_options(bytes, options).map_err(|error| error.to_string())?;
    let mut text = "yaml: unmarshal errors:".to_owned();
    for (line, key) in lines.iter().take(DUPLICATES_MAX) {
        text.push_str(&format!("\n  line {line}: key {key:?} already set in map"));
    }
    Ok(Parsed { duplicates: vec![text], ..parsed })
}

/// Brings objections to fields (`unknown field "…"`, `duplicate field "…"`) into the order in which
/// a reader of the JSON text comes to them.
pub(super) fn in_order(bytes: &[u8], objections: &mut [String]) {
    let Ok(Paths(paths)) = serde_json::from_slice(bytes) else { return };
    let place = |text: &String| {
        let path = text.split('"').nth(1).unwrap_or_default();
        let nth = usize::from(text.starts_with("duplicate"));
        let mut places = paths.iter().enumerate().filter(|(_, one)| *one == path);
        places.nth(nth).map_or(usize::MAX, |(at, _)| at)
    };
    objections.sort_by_cached_key(place);
}

/// The paths of all keys of a document, in the order of the text.
struct Paths(Vec<String>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let notes = RefCell::new(Notes { all: Some(Vec::new()), ..Notes::default() });
        Seed { notes: &notes }.deserialize(deserializer)?;
        Ok(Self(notes.into_inner().all.unwrap_or_default()))
    }
}

/// Keys given again in one map of a YAML document, each with the line of the later value.
struct Repeated(Vec<(u64, String)>);

impl<'de> Deserialize<'de> for Repeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RepeatedVisitor)
    }
}

struct RepeatedVisitor;

impl<'de> Visitor<'de> for RepeatedVisitor {
    type Value = Repeated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Repeated, E> {
        Ok(Repeated(Vec::new()))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Repeated, E> {
        Ok(Repeated(Vec::new()))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Repeated, E> {
        Ok(Repeated(Vec::new()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Repeated, E> {
        Ok(Repeated(Vec::new()))
    }

    fn visit_str<E>(self, _: &str) -> Result<Repeated, E> {
        Ok(Repeated(Vec::new()))
    }

    fn visit_unit<E>(self) -> Result<Repeated, E> {
        Ok(Repeated(Vec::new()))
    }

    fn visit_none<E>(self) -> Result<Repeated, E> {
        Ok(Repeated(Vec::new()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Repeated, D::Error> {
        Repeated::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Repeated, A::Error> {
        let mut all = Vec::new();
        while let Some(Repeated(more)) = items.next_element()? {
            all.extend(more);
        }
        Ok(Repeated(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Repeated, A::Error> {
        let (mut all, mut seen) = (Vec::new(), HashSet::new());
        while let Some(Key(key)) = entries.next_key()? {
            let value: Spanned<Repeated> = entries.next_value()?;
            all.extend(value.value.0);
            if seen.contains(&key) {
                all.push((value.referenced.line(), key));
            } else {
                seen.insert(key);
            }
        }
        Ok(Repeated(all))
    }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let notes = RefCell::new(Notes::default());
        let value = Seed { notes: &notes }.deserialize(deserializer)?;
        Ok(Self { value, duplicates: notes.into_inner().duplicates })
    }
}

#[derive(Default)]
struct Notes {
    path: String,
    duplicates: Vec<String>,
    /// The paths of all keys, where they are wanted.
    all: Option<Vec<String>>,
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    notes: &'a RefCell<Notes>,
}

impl Seed<'_> {
    /// Runs `read` with `step` appended to the path.
    fn below<T>(self, step: fmt::Arguments<'_>, read: impl FnOnce(Self) -> T) -> T {
        let before = self.notes.borrow().path.len();
        fmt::write(&mut self.notes.borrow_mut().path, step).expect("writing to a String");
        let result = read(self);
        self.notes.borrow_mut().path.truncate(before);
        result
    }

    fn note_path(self) {
        let mut notes = self.notes.borrow_mut();
        let Notes { path, all: Some(all), .. } = &mut *notes else { return };
        all.push(path.clone());
    }

    fn note_duplicate(self, key: &str) {
        let mut notes = self.notes.borrow_mut();
        if notes.duplicates.len() < DUPLICATES_MAX {
            let dot = if notes.path.is_empty() { "" } else { "." };
            let text = format!("duplicate field \"{}{dot}{key}\"", notes.path);
            if !notes.duplicates.contains(&text) {
                notes.duplicates.push(text);
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that JSON cannot hold"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        self.deserialize(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let index = list.len();
            match self.below(format_args!("[{index}]"), |seed| items.next_element_seed(seed))? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<Key>()? {
            let dot = if self.notes.borrow().path.is_empty() { "" } else { "." };
            let value = self.below(format_args!("{dot}{}", key.0), |seed| {
                seed.note_path();
                entries.next_value_seed(seed)
            })?;
            if map.contains_key(&key.0) {
                self.note_duplicate(&key.0);
            }
            map.insert(key.0, value);
        }
        Ok(Value::Object(map))
    }
}

/// A map key; YAML's numbers and booleans become text, as JSON has only text.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let notes = RefCell::new(Notes::default());
        match (Seed { notes: &notes }).deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            value @ (Value::Number(_) | Value::Bool(_)) => Ok(Self(value.to_string())),
            Value::Null => Ok(Self("null".to_owned())),
            _ => Err(D::Error::custom("a key that is a list or a map")),
        }
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("a: 1", 0)]
    #[test_case("a: [1, {b: [2]}]\nc: []", 4; "brackets")]
    #[test_case("a:\n  b:\n  - c: 1", 4; "columns")]
    #[test_case("- - - 1", 6; "lists in lists")]
    fn nesting_is_never_thought_less(text: &str, expected: usize) {
        assert_eq!(nesting_at_most(text.as_bytes()), expected);
    }

    #[test_case(127, true)]
    #[test_case(129, false)]
    #[test_case(100_000, false)]
    fn deep_documents(depth: usize, fine: bool) {
        let maps = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let lists = format!("{}1", "- ".repeat(depth));
        // Brackets that count as text and hide others.
        let hidden = format!("{{'{}': {maps}}}", "]".repeat(depth));
        for text in [maps, lists, hidden] {
            assert_eq!(yaml(text.as_bytes()).is_ok(), fine);
        }
    }
}
