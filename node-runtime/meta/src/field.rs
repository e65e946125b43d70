//! Paths into objects and what validation says about a field.

use std::fmt;

use serde_json::Value;

/// Where in an object a value is: `spec.containers[0].image`, `data[key]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(String);

impl Path {
    /// The path of the object itself; prints as `<nil>` as upstream's does.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path from its printed form.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The field `name` below this one.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The list item at `index`.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The map entry at `key`.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The printed form; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// What kind of wrong a field is. Names and texts are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldErrorKind {
    /// Something the field names does not exist.
    NotFound,
    /// The field is absent or empty.
    Required,
    /// The value must be unique among its siblings.
    Duplicate,
    /// The value is malformed.
    Invalid,
    /// The value is malformed, and too large to be shown.
    InvalidUnshown,
    /// The value is none of the allowed ones.
    NotSupported,
    /// Well-formed but not permitted here.
    Forbidden,
    /// Longer than allowed.
    TooLong,
    /// Shorter than allowed.
    TooShort,
    /// More items than allowed.
    TooMany,
    /// Fewer items than allowed.
    TooFew,
    /// The type is not the schema's.
    TypeInvalid,
    /// The server's own fault.
    Internal,
}

impl FieldErrorKind {
    /// The machine-readable reason of the cause in a `Status`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid | Self::InvalidUnshown => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooShort => "FieldValueTooShort",
            Self::TooMany => "FieldValueTooMany",
            Self::TooFew => "FieldValueTooFew",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::InvalidUnshown | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooShort => "Too short",
            Self::TooMany => "Too many",
            Self::TooFew => "Too few",
            Self::Internal => "Internal error",
        }
    }

    /// Whether the message repeats the value.
    fn shows_value(self) -> bool {
        !matches!(
            self,
            Self::Required
                | Self::InvalidUnshown
                | Self::Forbidden
                | Self::TooLong
                | Self::TooShort
                | Self::Internal
        )
    }
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// What kind of wrong.
    pub kind: FieldErrorKind,
    /// Where.
    pub path: Path,
    /// The value found, shown for most kinds.
    pub value: Value,
    /// More words, may be empty.
    pub detail: String,
}

impl FieldError {
    /// An error of any kind.
    pub fn new(
        kind: FieldErrorKind,
        path: &Path,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, path: path.clone(), value: value.into(), detail: detail.into() }
    }

    /// The field is missing or empty.
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, path, "", detail)
    }

    /// The value is malformed.
    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, path, value, detail)
    }

    /// The value is none of `allowed`, which are shown in the order given.
    pub fn not_supported<T: AsRef<str>>(
        path: &Path,
        value: impl Into<Value>,
        allowed: &[T],
    ) -> Self {
        let quoted: Vec<String> = allowed.iter().map(|one| format!("{:?}", one.as_ref())).collect();
        let detail = match quoted.is_empty() {
            true => String::new(),
            false => format!("supported values: {}", quoted.join(", ")),
        };
        Self::new(FieldErrorKind::NotSupported, path, value, detail)
    }

    /// Not permitted here.
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, path, "", detail)
    }

    /// Occurs twice.
    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, path, value, "")
    }

    /// Names something that is not there.
    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::NotFound, path, value, "")
    }

    /// Longer than `bytes_max`.
    pub fn too_long(path: &Path, bytes_max: usize) -> Self {
        let unit = if bytes_max == 1 { "byte" } else { "bytes" };
        Self::new(
            FieldErrorKind::TooLong,
            path,
            "<value omitted>",
            format!("may not be more than {bytes_max} {unit}"),
        )
    }

    /// More than `items_max` items.
    pub fn too_many(path: &Path, have: usize, items_max: usize) -> Self {
        let unit = if items_max == 1 { "item" } else { "items" };
        Self::new(
            FieldErrorKind::TooMany,
            path,
            have,
            format!("must have at most {items_max} {unit}"),
        )
    }

    /// Everything after the path: what `causes[].message` holds.
    pub fn body(&self) -> String {
        let mut text = self.kind.text().to_owned();
        if self.kind.shows_value() {
            let shown = match &self.value {
                Value::String(value) => go_quote(value),
                other => other.to_string(),
            };
            text = format!("{text}: {shown}");
        }
        if !self.detail.is_empty() {
            text = format!("{text}: {}", self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

impl std::error::Error for FieldError {}

/// A value as Go's `%+v` prints it: some of upstream's messages show objects so.
pub fn go_plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(go_plain).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let mut entries: Vec<_> =
                map.iter().map(|(key, value)| format!("{key}:{}", go_plain(value))).collect();
            entries.sort_unstable();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// A string as Go's `%q` prints it: upstream's messages quote with it.
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                quoted.push_str(&format!("\\x{:02x}", c as u32));
            }
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_read_as_upstream_prints_them() {
        let path = Path::new("spec").child("containers").index(0).child("name");
        let cases = [
            (FieldError::required(&path, ""), "spec.containers[0].name: Required value"),
            (
                FieldError::invalid(&path, "A\"b", "must be lower case"),
                "spec.containers[0].name: Invalid value: \"A\\\"b\": must be lower case",
            ),
            (
                FieldError::invalid(&Path::new("spec.replicas"), -1, "too small"),
                "spec.replicas: Invalid value: -1: too small",
            ),
            (
                FieldError::invalid(&Path::new("spec"), json!({"a": [1]}), "field is immutable"),
                "spec: Invalid value: {\"a\":[1]}: field is immutable",
            ),
            (
                FieldError::not_supported(&Path::new("spec.type"), "X", &["A", "B"]),
                "spec.type: Unsupported value: \"X\": supported values: \"A\", \"B\"",
            ),
            (FieldError::forbidden(&Path::new("data"), "no"), "data: Forbidden: no"),
            (
                FieldError::new(FieldErrorKind::InvalidUnshown, &Path::new("spec"), "", "no"),
                "spec: Invalid value: no",
            ),
            (
                FieldError::too_long(&Path::new("data"), 1048576),
                "data: Too long: may not be more than 1048576 bytes",
            ),
            (
                FieldError::too_many(&Path::new("a"), 3, 1),
                "a: Too many: 3: must have at most 1 item",
            ),
            (
                FieldError::duplicate(&Path::new("spec").key("k"), "x"),
                "spec[k]: Duplicate value: \"x\"",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }
}
