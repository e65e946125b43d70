//! A value together with where it is, and a list of what is wrong.

use minik_meta::field::FieldErrorKind;
use minik_meta::{FieldError, Path, Quantity};
use serde_json::Value;

/// What every rule that finds something adds to.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<FieldError>);

/// A value and its path. Absent values are null.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) path: Path,
    pub(super) value: &'a Value,
}

impl<'a> At<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { path: Path::root(), value }
    }

    pub(super) fn get(&self, key: &str) -> At<'a> {
        At { path: self.path.child(key), value: self.value.get(key).unwrap_or(&Value::Null) }
    }

    pub(super) fn down(&self, keys: &[&str]) -> At<'a> {
        keys.iter().fold(self.clone(), |at, key| at.get(key))
    }

    pub(super) fn items(&self) -> impl Iterator<Item = At<'a>> {
        let path = self.path.clone();
        let list = self.value.as_array().map_or(&[][..], Vec::as_slice);
        list.iter().enumerate().map(move |(index, value)| At { path: path.index(index), value })
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> {
        let path = self.path.clone();
        let map = self.value.as_object().into_iter().flatten();
        map.map(move |(key, value)| (key.as_str(), At { path: path.key(key), value }))
    }

    pub(super) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// Itself, unless absent.
    pub(super) fn present(self) -> Option<At<'a>> {
        (!self.is_absent()).then_some(self)
    }

    /// Absent, or an empty text, list or map.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        }
    }

    pub(super) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    pub(super) fn integer(&self) -> Option<i64> {
        self.value.as_i64()
    }

    pub(super) fn is_true(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        match self.value {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        }
    }

    pub(super) fn quantity(&self) -> Option<Quantity> {
        Quantity::from_value(self.value).ok()
    }
}

impl Errors {
    pub(crate) fn into_vec(self) -> Vec<FieldError> {
        self.0
    }

    pub(super) fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// Whether something was already said about exactly this path.
    pub(super) fn about(&self, path: &Path) -> bool {
        self.0.iter().any(|error| error.path == *path)
    }

    pub(super) fn required(&mut self, at: &At<'_>, detail: &str) {
        self.push(FieldError::required(&at.path, detail));
    }

    /// Adds an error if the value is absent or empty. Returns whether it is there.
    pub(super) fn require(&mut self, at: &At<'_>) -> bool {
        if at.is_empty() {
            self.required(at, "");
        }
        !at.is_empty()
    }

    pub(super) fn invalid(&mut self, at: &At<'_>, detail: &str) {
        self.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }

    pub(super) fn forbidden(&mut self, at: &At<'_>, detail: &str) {
        self.push(FieldError::forbidden(&at.path, detail));
    }

    pub(super) fn duplicate(&mut self, at: &At<'_>) {
        self.push(FieldError::duplicate(&at.path, at.value.clone()));
    }

    pub(super) fn not_found(&mut self, at: &At<'_>) {
        self.push(FieldError::new(FieldErrorKind::NotFound, &at.path, at.value.clone(), ""));
    }

    /// One `Invalid` for each message.
    pub(super) fn all_invalid(&mut self, at: &At<'_>, messages: Vec<String>) {
        for message in messages {
            self.invalid(at, &message);
        }
    }

    /// The value, if there is one, must be among `allowed` (sorted).
    pub(super) fn one_of(&mut self, at: &At<'_>, allowed: &[&str]) {
        if !at.is_empty() && !allowed.contains(&at.text()) {
            self.push(FieldError::not_supported(&at.path, at.value.clone(), allowed));
        }
    }

    /// The number, if there is one, must not be negative.
    pub(super) fn not_negative(&mut self, at: &At<'_>) {
        if at.integer().is_some_and(|number| number < 0) {
            self.invalid(at, "must be greater than or equal to 0");
        }
    }

    /// The number, if there is one, must be in the closed range.
    pub(super) fn in_range(&mut self, at: &At<'_>, low: i64, high: i64) {
        if let Some(number) = at.integer() {
            self.all_invalid(at, minik_meta::names::in_range(number, low, high));
        }
    }

    /// The value must be what it was.
    pub(super) fn immutable(&mut self, new: &At<'_>, old: &At<'_>) {
        if new.value != old.value {
            self.invalid(new, "field is immutable");
        }
    }

    /// At most one of the fields of a union may be set, and at least one where `required`.
    pub(super) fn one_field(&mut self, at: &At<'_>, fields: &[&str], what: &str, required: bool) {
        let mut set = fields.iter().filter(|field| !at.get(field).is_absent());
        if set.next().is_none() {
            if required {
                self.required(at, &format!("must specify a {what} type"));
            }
            return;
        }
        for field in set {
            self.forbidden(&at.get(field), &format!("may not specify more than 1 {what} type"));
        }
    }
}
