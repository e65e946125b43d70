//! Names of properties as names in expressions: `a-b` is `a__dash__b`.

use minik_meta::cel::is_word;

/// The name of a property in expressions; none if it cannot be written there.
pub fn escape(name: &str) -> Option<String> {
    if is_word(name) {
        return Some(format!("__{name}__"));
    }
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let mut taken = 1;
        match c {
            '_' if rest.starts_with("__") => {
                out.push_str("__underscores__");
                taken = 2;
            }
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            _ => return None,
        }
        rest = &rest[taken..];
    }
    Some(out)
}

/// The property that a name in an expression stands for; none if it has an unknown escape.
pub fn unescape(name: &str) -> Option<String> {
    let inner = name.strip_prefix("__").and_then(|name| name.strip_suffix("__"));
    if let Some(word) = inner.filter(|word| is_word(word)) {
        return Some(word.to_owned());
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(start) = rest.find("__") {
        let after = &rest[start + 2..];
        let end = after.find("__")?;
        out.push_str(&rest[..start]);
        out.push_str(match &after[..end] {
            "underscores" => "__",
            "dot" => ".",
            "dash" => "-",
            "slash" => "/",
            _ => return None,
        });
        rest = &after[end + 2..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("plain", Some("plain"))]
    #[test_case("a-b", Some("a__dash__b"))]
    #[test_case("a.b/c", Some("a__dot__b__slash__c"))]
    #[test_case("a__b", Some("a__underscores__b"))]
    #[test_case("___", Some("__underscores___"))]
    #[test_case("namespace", Some("__namespace__"))]
    #[test_case("in", Some("__in__"))]
    #[test_case("int", Some("int"); "a type is no keyword")]
    #[test_case("$ref", None)]
    #[test_case("9a", None)]
    #[test_case("", None)]
    #[test_case("é", None)]
    fn escaping(name: &str, expected: Option<&str>) {
        assert_eq!(escape(name).as_deref(), expected);
        if let Some(escaped) = expected {
            assert_eq!(unescape(escaped).as_deref(), Some(name));
        }
    }

    #[test]
    fn unknown_escapes() {
        assert_eq!(unescape("a__what__b"), None);
        assert_eq!(unescape("a__b"), None);
    }
}
