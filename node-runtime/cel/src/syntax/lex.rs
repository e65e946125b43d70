//! The words of an expression.

use super::literal;

/// Longest expression, in characters.
const LENGTH_MAX: usize = 100_000;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    Ident(String),
    Int(u64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    /// An operator or bracket.
    Sign(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) word: Word,
    pub(super) at: u32,
    pub(super) end: u32,
}

/// What is wrong, and at which byte.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: u32,
    pub(super) message: String,
}

impl Wrong {
    pub(super) fn new(at: u32, message: impl Into<String>) -> Wrong {
        Wrong { at, message: message.into() }
    }

    pub(super) fn syntax(at: u32, message: impl std::fmt::Display) -> Wrong {
        Wrong { at, message: format!("Syntax error: {message}") }
    }
}

/// Longest first, so that `<=` is not `<`.
const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%",
];

pub(super) fn words(text: &str) -> Result<Vec<Token>, Wrong> {
    let length = text.chars().count();
    if length > LENGTH_MAX {
        let why =
            format!("expression code point size exceeds limit: size: {length}, limit {LENGTH_MAX}");
        return Err(Wrong::new(0, why));
    }
    let mut words = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.chars().next().unwrap_or_default();
        if matches!(first, ' ' | '\t' | '\n' | '\r' | '\u{c}') {
            at += 1;
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (word, length) = word(rest, at as u32)?;
        words.push(Token { word, at: at as u32, end: (at + length) as u32 });
        at += length;
    }
    let end = text.len() as u32;
    words.push(Token { word: Word::End, at: end, end });
    Ok(words)
}

fn word(rest: &str, at: u32) -> Result<(Word, usize), Wrong> {
    if let Some((prefix, quote)) = literal::opening(rest) {
        return text_word(rest, at, prefix, quote);
    }
    let first = rest.chars().next().unwrap_or_default();
    let second = rest[first.len_utf8()..].chars().next().unwrap_or_default();
    if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
        return number(rest, at);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = rest.find(|c: char| !name(c)).unwrap_or(rest.len());
        return Ok((Word::Ident(rest[..length].to_owned()), length));
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) => Ok((Word::Sign(sign), sign.len())),
        None => Err(Wrong::syntax(at, format_args!("token recognition error at: '{first}'"))),
    }
}

fn text_word(rest: &str, at: u32, prefix: &str, quote: &str) -> Result<(Word, usize), Wrong> {
    let raw = prefix.contains(['r', 'R']);
    let bytes = prefix.contains(['b', 'B']);
    let start = prefix.len() + quote.len();
    let Some(length) = literal::body_length(&rest[start..], quote, raw) else {
        let shown: String = rest.chars().take(20).collect();
        return Err(Wrong::syntax(at, format_args!("token recognition error at: '{shown}'")));
    };
    let body = &rest[start..start + length];
    let whole = start + length + quote.len();
    let invalid = |why: &str| Wrong::syntax(at, format_args!("invalid literal: {why}"));
    let word = match bytes {
        true => Word::Bytes(literal::bytes(body, raw).map_err(invalid)?),
        false => Word::String(literal::text(body, raw).map_err(invalid)?),
    };
    Ok((word, whole))
}

fn number(rest: &str, at: u32) -> Result<(Word, usize), Wrong> {
    let bytes = rest.as_bytes();
    if rest.starts_with("0x") || rest.starts_with("0X") {
        let digits = rest[2..].bytes().take_while(u8::is_ascii_hexdigit).count();
        let end = 2 + digits;
        return integer(rest, &rest[2..end], 16, end, at);
    }
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    let mut float = false;
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        float = true;
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            float = true;
            end += 1 + sign + exponent;
        }
    }
    if !float {
        return integer(rest, &rest[..end], 10, end, at);
    }
    match rest[..end].parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((Word::Double(number), end)),
        _ => Err(Wrong::new(at, "invalid double literal")),
    }
}

fn integer(
    rest: &str,
    digits: &str,
    radix: u32,
    end: usize,
    at: u32,
) -> Result<(Word, usize), Wrong> {
    let number = u64::from_str_radix(digits, radix);
    let unsigned = matches!(rest.as_bytes().get(end), Some(b'u' | b'U'));
    match (number, unsigned) {
        (Ok(number), true) => Ok((Word::Uint(number), end + 1)),
        (Ok(number), false) => Ok((Word::Int(number), end)),
        (Err(_), true) => Err(Wrong::new(at, "invalid uint literal")),
        (Err(_), false) => Err(Wrong::new(at, "invalid int literal")),
    }
}
