//! Words of CEL, which names in its expressions must not be.
//!
//! Source: the CEL language definition, "Syntax".

/// Words that mean something in expressions.
pub const KEYWORDS: &[&str] = &["true", "false", "null", "in"];

/// Words that are kept for the languages expressions are embedded in.
pub const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether it is a keyword or reserved.
pub fn is_word(name: &str) -> bool {
    KEYWORDS.contains(&name) || RESERVED.contains(&name)
}

/// Whether something can be called that in an expression.
pub fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
    first && characters.all(|c| c == '_' || c.is_ascii_alphanumeric()) && !is_word(name)
}
