//! Field selectors: equality on the few fields a kind lets clients select by.

use std::fmt;
use std::str::FromStr;

use super::SelectorError;

/// One term: field, `=` or `!=`, value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Path as the kind declares it, for instance `spec.nodeName`.
    pub field: String,
    /// The value compared with.
    pub value: String,
    /// Whether the field must equal the value, or must not.
    pub equals: bool,
}

/// All terms must hold. Empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms, in order of their text.
    pub requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether all terms hold; `get` returns a field's text, empty where absent.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> std::borrow::Cow<'a, str>) -> bool {
        self.requirements.iter().all(|term| (get(&term.field) == term.value) == term.equals)
    }

    /// The value `field` must have, if one term fixes it.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|term| term.equals && term.field == field)
            .map(|term| term.value.as_str())
    }
}

impl FromStr for FieldSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut requirements = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let Some((field, operator, value)) = split_term(part) else {
                return Err(SelectorError::new(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                value: unescape(value)?,
                equals: operator != "!=",
            });
        }
        Ok(Self { requirements })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.requirements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let operator = if term.equals { "=" } else { "!=" };
            let value = term.value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
            write!(f, "{comma}{}{operator}{value}", term.field)?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash protects.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, &str, &str)> {
    let at = term
        .find(['!', '='])
        .filter(|at| term[*at..].starts_with('=') || term[*at..].starts_with("!="))?;
    let operator = ["!=", "==", "="].into_iter().find(|one| term[at..].starts_with(one))?;
    Some((&term[..at], operator, &term[at + operator.len()..]))
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => value.push(c),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(SelectorError::new(format!(
                        "invalid field selector: invalid escape sequence: {sequence}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(SelectorError::new(format!(
                    "invalid field selector: unescaped character in value: {}",
                    c as u32
                )));
            }
            c => value.push(c),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("", "")]
    #[test_case("metadata.name=x", "metadata.name=x")]
    #[test_case("metadata.name==x", "metadata.name=x")]
    #[test_case("status.phase!=Running,spec.nodeName=n1", "spec.nodeName=n1,status.phase!=Running")]
    #[test_case(r"a=b\,c\=d\\", r"a=b\,c\=d\\"; "escapes")]
    #[test_case("a=", "a="; "empty value")]
    fn read_and_written(text: &str, expected: &str) {
        assert_eq!(text.parse::<FieldSelector>().unwrap().to_string(), expected);
    }

    #[test_case("abc", "invalid selector: 'abc'; can't understand 'abc'")]
    #[test_case(r"a=\x", r"invalid field selector: invalid escape sequence: \x")]
    #[test_case("a=b=c", "invalid field selector: unescaped character in value: 61")]
    fn refused(text: &str, expected: &str) {
        assert_eq!(text.parse::<FieldSelector>().unwrap_err().to_string(), expected);
    }

    #[test]
    fn matching() {
        let selector: FieldSelector = "spec.nodeName=n1,status.phase!=Failed".parse().unwrap();
        let pod = |node: &'static str, phase: &'static str| {
            selector.matches(|field| match field {
                "spec.nodeName" => node.into(),
                "status.phase" => phase.into(),
                _ => "".into(),
            })
        };
        assert!(pod("n1", "Running"));
        assert!(!pod("n2", "Running"));
        assert!(!pod("n1", "Failed"));
        assert_eq!(selector.exact("spec.nodeName"), Some("n1"));
        assert_eq!(selector.exact("status.phase"), None);
    }
}
