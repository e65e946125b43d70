//! Patterns of strings: RE2 as Go has it, compiled when first used, in a form that stays small.

use std::fmt;
use std::sync::OnceLock;

use regex_automata::meta::{Config, Regex};
use regex_automata::util::syntax;

/// Largest compiled pattern, in bytes.
pub const SIZE_MAX: usize = 1 << 20;

/// A pattern of a schema.
pub(super) struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Pattern {
        Pattern { text: text.into(), compiled: OnceLock::new() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it occurs in `text`. Patterns that cannot be compiled were refused with their
    /// definition, so nothing matches them.
    pub(super) fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&self.text).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

/// Compiles a pattern; also that of an expression in CEL.
///
/// # Errors
/// Why it is none: what it says is not RE2, or what it makes is too large.
pub fn compile(text: &str) -> Result<Regex, String> {
    // No automata that are built while matching: they are fast, and tens of kilobytes each.
    let config = Config::new()
        .hybrid(false)
        .dfa(false)
        .onepass(false)
        .auto_prefilter(false)
        .nfa_size_limit(Some(SIZE_MAX));
    regex_automata::meta::Builder::new()
        .configure(config)
        .syntax(syntax::Config::new().nest_limit(200))
        .build(&ascii_classes(text)?)
        .map_err(|error| match error.syntax_error() {
            Some(error) => error.to_string(),
            None => error.to_string(),
        })
}

/// Go's `\d`, `\s`, `\w` and `\b` know ASCII only; says so to a library that knows more.
fn ascii_classes(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match (chars.next(), in_class) {
                (Some('d'), false) => out.push_str("[0-9]"),
                (Some('d'), true) => out.push_str("0-9"),
                (Some('D'), false) => out.push_str("[^0-9]"),
                (Some('w'), false) => out.push_str("[0-9A-Za-z_]"),
                (Some('w'), true) => out.push_str("0-9A-Za-z_"),
                (Some('W'), false) => out.push_str("[^0-9A-Za-z_]"),
                (Some('s'), false) => out.push_str("[\\t\\n\\f\\r ]"),
                (Some('s'), true) => out.push_str("\\t\\n\\f\\r "),
                (Some('S'), false) => out.push_str("[^\\t\\n\\f\\r ]"),
                (Some('b'), false) => out.push_str("(?-u:\\b)"),
                (Some('z'), false) => out.push_str("\\z"),
                // Go takes any escaped punctuation; so does the library, but for a few.
                (Some(other), _) if other.is_ascii_punctuation() => {
                    out.push('\\');
                    out.push(other);
                }
                (Some(other), _) => {
                    out.push('\\');
                    out.push(other);
                }
                (None, _) => out.push('\\'),
            },
            '[' if in_class => match named_class(chars.as_str())? {
                Some(name) => {
                    out.push('[');
                    out.push_str(name);
                    chars = chars.as_str()[name.len()..].chars();
                }
                // Any other bracket inside a class is itself in Go.
                None => out.push_str("\\["),
            },
            '[' => {
                in_class = true;
                out.push('[');
                let mut rest = chars.clone();
                if rest.next() == Some('^') {
                    out.push('^');
                    chars = rest;
                }
                // A bracket that comes first is one of the characters.
                let mut rest = chars.clone();
                if rest.next() == Some(']') {
                    out.push_str("\\]");
                    chars = rest;
                }
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            // Set operations of the library; plain characters in Go.
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Classes that have a name, as in `[[:alpha:]]`.
const NAMED: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// The rest of `[:alpha:]` behind its first bracket, if that is what stands there.
fn named_class(rest: &str) -> Result<Option<&str>, String> {
    let Some(end) = rest.strip_prefix(':').and_then(|rest| rest.find(":]")) else {
        return Ok(None);
    };
    let name = &rest[1..=end];
    match NAMED.contains(&name.strip_prefix('^').unwrap_or(name)) {
        true => Ok(Some(&rest[..end + 3])),
        false => Err(format!("invalid character class range: `[:{name}:]`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case(r"^\d+$", "12", true)]
    #[test_case(r"^\d+$", "٣", false; "digits are ascii")]
    #[test_case(r"^[\w-]+$", "a_b-9", true)]
    #[test_case(r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$", "* * * * */5", true)]
    #[test_case(r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$", "* * * *", false)]
    #[test_case(r"^[[:alpha:]]+$", "abc", true)]
    #[test_case(r"^[[:alpha:]_]+$", "a_b", true)]
    #[test_case(r"^[a[]+$", "a[", true; "a bracket in a class")]
    #[test_case(r"^[]a]+$", "]a", true; "a bracket first in a class")]
    #[test_case(r"^[[:^alpha:]x[:digit:]]+$", "x1-", true; "named classes beside others")]
    #[test_case(r"^[@[:]+$", "[:@", true; "a name that never begins")]
    #[test_case(r"^[:a:]+$", "a:", true; "colons in a class")]
    #[test_case(r"^[a&&b]+$", "a&b", true; "ampersands are themselves")]
    #[test_case(r"b", "abc", true; "patterns are not anchored")]
    #[test_case(r"^\p{Greek}+$", "αβγ", true; "unicode classes")]
    fn as_go_matches(pattern: &str, text: &str, expected: bool) {
        assert_eq!(compile(pattern).map(|regex| regex.is_match(text)), Ok(expected));
    }

    #[test]
    fn what_is_no_pattern() {
        assert!(compile("(").is_err());
        assert!(compile("(?=a)").is_err());
        let unnamed = compile("[[:letter:]]").expect_err("no class has that name");
        assert_eq!(unnamed, "invalid character class range: `[:letter:]`");
        // Nothing that is no pattern does worse than that.
        for text in ["[@[:]", "[[:", "[[::]]", "[[:]", "[[:é:]]", "[a[:alpha:", "\\", "[\\"] {
            let _ = compile(text);
        }
        assert!(compile("(a{1000}){1000}").is_err());
    }
}
