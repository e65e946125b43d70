//! Types, limits and formats of values, in the words of upstream's validator.
//!
//! What did not change since the stored object is let pass, so that a schema may become stricter
//! without blocking objects that were good when they were written.

use minik_meta::field::FieldErrorKind;
use minik_meta::{FieldError, Path};
use serde_json::{Map, Value};

use super::lists::same_item;
use super::structural::{Bound, Checks, Kind, Node};

/// Errors of one object are reported up to this number.
const ERRORS_MAX: usize = 200;

/// What is wrong with the values of `new`, leaving out what is as in `old`.
pub(super) fn check(shape: &Node, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut walk = Walk { path: String::new(), errors: Vec::new() };
    walk.value(shape, new, old);
    walk.errors
}

struct Walk {
    path: String,
    errors: Vec<FieldError>,
}

impl Walk {
    fn say(&mut self, kind: FieldErrorKind, value: impl Into<Value>, detail: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            let path = Path::new(self.path.as_str());
            self.errors.push(FieldError::new(kind, &path, value, detail));
        }
    }

    fn invalid(&mut self, value: impl Into<Value>, what: &str) {
        let detail = format!("{} in body {what}", self.path);
        self.say(FieldErrorKind::Invalid, value, detail);
    }

    /// A value of the wrong type is shown as the name of the type it has.
    fn wrong_type(&mut self, wanted: &str, found: &str) {
        let detail = format!("{} in body must be of type {wanted}: {found:?}", self.path);
        self.say(FieldErrorKind::TypeInvalid, found, detail);
    }

    fn below<'a>(
        &mut self,
        step: std::fmt::Arguments<'_>,
        shape: &Node,
        new: &'a Value,
        old: Option<&'a Value>,
    ) {
        let before = self.path.len();
        std::fmt::write(&mut self.path, step).expect("writing to a String");
        self.value(shape, new, old);
        self.path.truncate(before);
    }

    fn value(&mut self, shape: &Node, new: &Value, old: Option<&Value>) {
        if old == Some(new) {
            return;
        }
        self.kind(shape, new);
        if let Some(checks) = &shape.checks {
            self.combined(checks, new, old);
            match new {
                Value::String(text) => self.text(checks, text),
                Value::Number(_) => self.number(checks, new),
                Value::Array(list) => self.list(checks, list),
                _ => {}
            }
            self.allowed(checks, new);
            if let Value::Object(map) = new {
                self.object(checks, map);
            }
        }
        self.inside(shape, new, old);
    }

    fn inside(&mut self, shape: &Node, new: &Value, old: Option<&Value>) {
        match new {
            Value::Object(map) => {
                for (key, value) in map {
                    let Some(field) = shape.field(key) else { continue };
                    let dot = if self.path.is_empty() { "" } else { "." };
                    let old = old.and_then(|old| old.get(key));
                    self.below(format_args!("{dot}{key}"), field, value, old);
                }
            }
            Value::Array(list) => {
                let Some(items) = shape.items.as_deref() else { return };
                let before = old.and_then(Value::as_array);
                for (index, value) in list.iter().enumerate() {
                    let old = before.and_then(|before| same_item(&shape.list, value, before));
                    self.below(format_args!("[{index}]"), items, value, old);
                }
            }
            _ => {}
        }
    }

    fn kind(&mut self, shape: &Node, new: &Value) {
        let wanted = match (shape.kind, shape.int_or_string) {
            (Some(kind), _) => kind.name(),
            (None, true) => "integer,string",
            (None, false) => return,
        };
        if new.is_null() {
            if !shape.nullable {
                self.wrong_type(wanted, "null");
            }
            return;
        }
        let found = kind_of(new);
        let fits = match shape.kind {
            None => matches!(found, Kind::Integer | Kind::String) || is_integer(new),
            Some(Kind::Number) => matches!(found, Kind::Integer | Kind::Number),
            Some(Kind::Integer) => is_integer(new),
            Some(kind) => found == kind,
        };
        if fits {
            return;
        }
        let format = shape.checks.as_ref().and_then(|checks| checks.format);
        match format {
            // Upstream names the formats where there is one, of the value found, too.
            Some(format) if !matches!(found, Kind::String | Kind::Array) => {
                let found = match found {
                    Kind::Integer => "int64",
                    Kind::Number => "double",
                    _ => "",
                };
                self.wrong_type(format.name, found);
            }
            _ => self.wrong_type(wanted, found.name()),
        }
    }

    fn text(&mut self, checks: &Checks, text: &str) {
        let length = text.chars().count() as u64;
        if let Some(max) = checks.length.exceeds(length) {
            let error = FieldError::too_long(&Path::new(self.path.as_str()), max as usize);
            self.errors.push(error);
        }
        if let Some(min) = checks.length.falls_below(length) {
            self.invalid(text, &format!("should be at least {min} chars long"));
        }
        if let Some(pattern) = checks.pattern.as_ref().filter(|one| !one.matches(text)) {
            self.invalid(text, &format!("should match '{}'", pattern.text()));
        }
        if let Some(format) = checks.format.filter(|format| !format.matches(text)) {
            let detail = format!(
                "{} in body must be of type {}: {}",
                self.path,
                format.name,
                minik_meta::field::go_quote(text)
            );
            self.say(FieldErrorKind::TypeInvalid, text, detail);
        }
    }

    fn number(&mut self, checks: &Checks, value: &Value) {
        let Some(number) = value.as_f64() else { return };
        if let Some(by) = checks.multiple_of.filter(|by| *by != 0.0) {
            let times = number / by;
            if (times - times.round()).abs() > 1e-9 * times.abs().max(1.0) {
                self.invalid(value.clone(), &format!("should be a multiple of {by}"));
            }
        }
        if let Some(Bound { value: max, exclusive }) = checks.maximum {
            if exclusive && number >= max {
                self.invalid(value.clone(), &format!("should be less than {max}"));
            } else if number > max {
                self.invalid(value.clone(), &format!("should be less than or equal to {max}"));
            }
        }
        if let Some(Bound { value: min, exclusive }) = checks.minimum {
            if exclusive && number <= min {
                self.invalid(value.clone(), &format!("should be greater than {min}"));
            } else if number < min {
                self.invalid(value.clone(), &format!("should be greater than or equal to {min}"));
            }
        }
    }

    fn list(&mut self, checks: &Checks, list: &[Value]) {
        let count = list.len() as u64;
        if let Some(min) = checks.items.falls_below(count) {
            self.invalid(count, &format!("should have at least {min} items"));
        }
        if let Some(max) = checks.items.exceeds(count) {
            let path = Path::new(self.path.as_str());
            self.errors.push(FieldError::too_many(&path, list.len(), max as usize));
        }
        let twice = |(index, one): (usize, &Value)| list[..index].contains(one);
        if checks.unique && list.iter().enumerate().any(twice) {
            self.invalid("", "shouldn't contain duplicates");
        }
    }

    fn object(&mut self, checks: &Checks, map: &Map<String, Value>) {
        let count = map.len() as u64;
        if let Some(min) = checks.properties.falls_below(count) {
            self.invalid(count, &format!("should have at least {min} properties"));
        }
        if let Some(max) = checks.properties.exceeds(count) {
            let path = Path::new(self.path.as_str());
            self.errors.push(FieldError::too_many(&path, map.len(), max as usize));
        }
        for key in checks.required.iter().filter(|key| !map.contains_key(key.as_ref())) {
            let path = Path::new(self.path.as_str()).child(key);
            self.errors.push(FieldError::required(&path, ""));
        }
    }

    fn allowed(&mut self, checks: &Checks, value: &Value) {
        if checks.allowed.is_empty()
            || checks.allowed.iter().any(|one| crate::patch::json::same(one, value))
        {
            return;
        }
        let shown: Vec<String> = checks
            .allowed
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect();
        let path = Path::new(self.path.as_str());
        self.errors.push(FieldError::not_supported(&path, value.clone(), &shown));
    }

    /// `allOf`, `anyOf`, `oneOf`, `not`.
    fn combined(&mut self, checks: &Checks, new: &Value, old: Option<&Value>) {
        let path = self.path.clone();
        let attempt = |node: &Node| {
            let mut walk = Walk { path: path.clone(), errors: Vec::new() };
            walk.value(node, new, old);
            walk.errors
        };
        if !checks.any_of.is_empty() {
            let tried: Vec<_> = checks.any_of.iter().map(attempt).collect();
            if tried.iter().all(|errors| !errors.is_empty()) {
                self.whole("must validate at least one schema (anyOf)");
                self.errors.extend(nearest(tried));
            }
        }
        if !checks.one_of.is_empty() {
            let tried: Vec<_> = checks.one_of.iter().map(attempt).collect();
            match tried.iter().filter(|errors| errors.is_empty()).count() {
                0 => {
                    self.whole("must validate one and only one schema (oneOf). Found none valid");
                    self.errors.extend(nearest(tried));
                }
                1 => {}
                several => self.whole(&format!(
                    "must validate one and only one schema (oneOf). Found {several} valid \
                     alternatives"
                )),
            }
        }
        if !checks.all_of.is_empty() {
            let tried: Vec<_> = checks.all_of.iter().map(attempt).collect();
            let failed = tried.iter().filter(|errors| !errors.is_empty()).count();
            let none = if failed == tried.len() { ". None validated" } else { "" };
            self.errors.extend(tried.into_iter().flatten());
            if failed > 0 {
                self.whole(&format!("must validate all the schemas (allOf){none}"));
            }
        }
        if checks.not.as_ref().is_some_and(|node| attempt(node).is_empty()) {
            self.whole("must not validate the schema (not)");
        }
    }

    /// Failures of combinations name the value in words and have no path of their own.
    fn whole(&mut self, what: &str) {
        if self.errors.len() < ERRORS_MAX {
            let detail = format!("{:?} {what}", self.path);
            self.errors.push(FieldError::invalid(&Path::root(), "", detail));
        }
    }
}

/// The errors of the alternative that was nearest.
fn nearest(tried: Vec<Vec<FieldError>>) -> Vec<FieldError> {
    tried.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Object(_) => Kind::Object,
        Value::Array(_) => Kind::Array,
        Value::Bool(_) => Kind::Boolean,
        Value::Number(number) if number.is_f64() => Kind::Number,
        Value::Number(_) => Kind::Integer,
        Value::String(_) | Value::Null => Kind::String,
    }
}

/// Whether it is a whole number, however it is written.
fn is_integer(value: &Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => {
            number.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() < 1e15)
        }
        Value::Number(_) => true,
        _ => false,
    }
}
