//! Texts and bytes in quotes.

/// Prefix (`r`, `b`, both) and quote of a literal that begins here.
pub(super) fn opening(rest: &str) -> Option<(&str, &'static str)> {
    let prefix = rest.bytes().take_while(|byte| byte.is_ascii_alphabetic()).take(3).count();
    let prefix = &rest[..prefix];
    let known = matches!(prefix.to_ascii_lowercase().as_str(), "" | "r" | "b" | "rb" | "br");
    let after = &rest[prefix.len()..];
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| after.starts_with(quote))?;
    known.then_some((prefix, quote))
}

/// How many bytes of `rest` stand before the closing quote.
pub(super) fn body_length(rest: &str, quote: &str, raw: bool) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if rest.as_bytes()[at..].starts_with(quote.as_bytes()) {
            return Some(at);
        }
        match bytes[at] {
            b'\\' if !raw => at += 2,
            b'\n' | b'\r' if quote.len() == 1 => return None,
            _ => at += 1,
        }
    }
    None
}

/// A text without its quotes, with escapes resolved.
pub(super) fn text(body: &str, raw: bool) -> Result<String, &'static str> {
    if raw {
        return Ok(body.to_owned());
    }
    let mut out = String::with_capacity(body.len());
    unescape(body, |piece| {
        match piece {
            Piece::Char(c) => out.push(c),
            Piece::Code(code) | Piece::Byte(code) => {
                out.push(char::from_u32(code).ok_or("invalid unicode code point")?);
            }
        }
        Ok(())
    })?;
    Ok(out)
}

/// Bytes without their quotes, with escapes resolved.
pub(super) fn bytes(body: &str, raw: bool) -> Result<Vec<u8>, &'static str> {
    if raw {
        return Ok(body.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(body.len());
    unescape(body, |piece| {
        match piece {
            Piece::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Piece::Byte(byte) => out.push(u8::try_from(byte).map_err(|_| "byte out of range")?),
            Piece::Code(_) => return Err("unicode escapes are not allowed in bytes"),
        }
        Ok(())
    })?;
    Ok(out)
}

enum Piece {
    /// As written.
    Char(char),
    /// `\u`, `\U`
    Code(u32),
    /// `\x` and octal: a byte in bytes, a code point in texts.
    Byte(u32),
}

fn unescape(
    body: &str,
    mut push: impl FnMut(Piece) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(Piece::Char(c))?;
            continue;
        }
        let escape = chars.next().ok_or("unable to unescape string")?;
        let (digits, radix, first) = match escape {
            'a' => whole(&mut push, '\u{7}')?,
            'b' => whole(&mut push, '\u{8}')?,
            'f' => whole(&mut push, '\u{c}')?,
            'n' => whole(&mut push, '\n')?,
            'r' => whole(&mut push, '\r')?,
            't' => whole(&mut push, '\t')?,
            'v' => whole(&mut push, '\u{b}')?,
            '\\' | '\'' | '"' | '`' | '?' => whole(&mut push, escape)?,
            'x' | 'X' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            '0'..='3' => (2, 8, escape as u32 - '0' as u32),
            _ => return Err("unable to unescape string"),
        };
        let mut code = first;
        for _ in 0..digits {
            let digit = chars.next().and_then(|c| c.to_digit(radix));
            code = code * radix + digit.ok_or("unable to unescape string")?;
        }
        match escape {
            'u' | 'U' => push(Piece::Code(code))?,
            _ if digits > 0 => push(Piece::Byte(code))?,
            _ => {}
        }
    }
    Ok(())
}

/// An escape that stands for one character; nothing is left to read of it.
fn whole(
    push: &mut impl FnMut(Piece) -> Result<(), &'static str>,
    c: char,
) -> Result<(u32, u32, u32), &'static str> {
    push(Piece::Char(c))?;
    Ok((0, 16, 0))
}
