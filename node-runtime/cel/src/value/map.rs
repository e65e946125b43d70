//! Maps that expressions make.

use std::collections::HashMap;

use super::Value;

/// A map with keys of any type that may be one, in the order they were put in.
#[derive(Clone, Debug, Default)]
pub struct OwnedMap<'a> {
    entries: Vec<(Value<'a>, Value<'a>)>,
    index: HashMap<Key, usize>,
}

/// What makes two keys the same: `1`, `1u` and `1.0` are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Text(Box<str>),
}

impl Key {
    pub(crate) fn of(value: &Value<'_>) -> Option<Key> {
        Some(match value {
            Value::Bool(truth) => Key::Bool(*truth),
            Value::Int(number) => Key::Int(*number),
            Value::Uint(number) => i64::try_from(*number).map_or(Key::Uint(*number), Key::Int),
            Value::Double(number) => {
                let whole = *number as i64;
                if whole as f64 != *number {
                    return None;
                }
                Key::Int(whole)
            }
            Value::String(text) => Key::Text(text.as_str().into()),
            _ => return None,
        })
    }
}

impl<'a> OwnedMap<'a> {
    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &Value<'a>) -> Option<&Value<'a>> {
        self.get_key(&Key::of(key)?)
    }

    pub(crate) fn get_key(&self, key: &Key) -> Option<&Value<'a>> {
        self.index.get(key).map(|at| &self.entries[*at].1)
    }

    /// The entries in order.
    pub fn entries(&self) -> &[(Value<'a>, Value<'a>)] {
        &self.entries
    }

    /// Puts an entry in; whether its key was not there yet, or why it cannot be a key.
    pub(crate) fn insert(&mut self, key: Value<'a>, value: Value<'a>) -> Result<bool, String> {
        let Some(index) = Key::of(&key).filter(|_| !matches!(key, Value::Double(_))) else {
            return Err(format!("unsupported key type: {}", key.type_name()));
        };
        let at = self.entries.len();
        if self.index.contains_key(&index) {
            return Ok(false);
        }
        self.index.insert(index, at);
        self.entries.push((key, value));
        Ok(true)
    }
}
