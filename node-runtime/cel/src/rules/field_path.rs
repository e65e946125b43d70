//! `fieldPath` of a rule: `.spec.name` or `.labels['a/b']`, which the schema must have.

use serde_json::Value;

/// The path as errors print it; none if the schema has no such field.
pub(super) fn resolve(path: &str, schema: &Value) -> Option<String> {
    let (mut rest, mut schema) = (path, schema);
    let mut printed = String::new();
    while !rest.is_empty() {
        let name;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            name = after[..end].to_owned();
            rest = &after[end..];
        } else {
            let after = rest.strip_prefix("['")?;
            let (text, length) = quoted(after)?;
            name = text;
            rest = after[length..].strip_prefix(']')?;
        }
        if name.is_empty() {
            return None;
        }
        match schema.get("properties").filter(|properties| properties.is_object()) {
            Some(properties) => {
                schema = properties.get(&name)?;
                if !printed.is_empty() {
                    printed.push('.');
                }
                printed.push_str(&name);
            }
            None => {
                schema = schema.get("additionalProperties").filter(|one| one.is_object())?;
                printed.push_str(&format!("[{name}]"));
            }
        }
    }
    Some(printed)
}

/// A text up to its closing quote, and how many bytes of it were read.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((out, at + 1)),
            '\\' => out.push(match chars.next()?.1 {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                '\'' => '\'',
                '\\' => '\\',
                _ => return None,
            }),
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use test_case::test_case;

    #[test_case(".spec.name", Some("spec.name"))]
    #[test_case(".spec['na.me']", Some("spec.na.me"))]
    #[test_case(".labels['a/b']", Some("labels[a/b]"))]
    #[test_case(".labels.app", Some("labels[app]"))]
    #[test_case("['spec']", Some("spec"))]
    #[test_case("spec", None; "without a dot")]
    #[test_case(".nope", None)]
    #[test_case(".spec.", None)]
    #[test_case(".spec..name", None)]
    #[test_case(".list[0]", None)]
    #[test_case(".labels['a", None)]
    #[test_case(".labels['\\q']", None)]
    fn paths(path: &str, expected: Option<&str>) {
        let schema = json!({"properties": {
            "spec": {"properties": {"name": {}, "na.me": {}}},
            "labels": {"additionalProperties": {"type": "string"}},
            "list": {"items": {}}}});
        assert_eq!(resolve(path, &schema).as_deref(), expected);
    }
}
