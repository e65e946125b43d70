//! Texts. Positions are counted in characters.

use regex_automata::meta::Regex;

use super::{Args, Handler, format, pattern};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::Value;

pub(super) fn functions(name: &str) -> Option<Handler> {
    Some(match name {
        "strings.quote" => quote,
        "jsonpatch.escapeKey" => |args| match args.values.as_slice() {
            [Value::String(text)] => {
                args.meter.make(text.as_str().len() as u64 * 2)?;
                Ok(Value::text(text.as_str().replace('~', "~0").replace('/', "~1")))
            }
            _ => Err(EvalError::no_such_overload()),
        },
        _ => return None,
    })
}

pub(super) fn methods(name: &str) -> Option<Handler> {
    Some(match name {
        "contains" => |args| test(args, |text, part| text.contains(part)),
        "startsWith" => |args| test(args, |text, part| text.starts_with(part)),
        "endsWith" => |args| test(args, |text, part| text.ends_with(part)),
        "matches" => matches,
        "find" => find,
        "findAll" => find_all,
        "charAt" => char_at,
        "lowerAscii" => |args| changed(args, str::to_ascii_lowercase),
        "upperAscii" => |args| changed(args, str::to_ascii_uppercase),
        "trim" => |args| changed(args, |text| text.trim_matches(is_space).to_owned()),
        "replace" => replace,
        "split" => split,
        "join" => join,
        "substring" => substring,
        "format" => format::format,
        _ => return None,
    })
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{85}'
}

fn test<'a>(args: &mut Args<'_, 'a>, holds: fn(&str, &str) -> bool) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::String(text), Value::String(part)] => {
            Ok(Value::Bool(holds(text.as_str(), part.as_str())))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn changed<'a>(args: &mut Args<'_, 'a>, change: fn(&str) -> String) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::String(text)] => {
            args.meter.make(text.as_str().len() as u64)?;
            Ok(Value::text(change(text.as_str())))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Text, pattern and how many at most; the work of going through the text is counted.
fn with_pattern<'a, T>(
    args: &mut Args<'_, 'a>,
    use_it: impl FnOnce(&Regex, &str, &mut Args<'_, 'a>) -> Result<T, EvalError>,
) -> Result<T, EvalError> {
    let [Value::String(text), Value::String(wanted), ..] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    let (text, wanted) = (text.clone(), wanted.clone());
    let made;
    let regex = match args.regex {
        Some(regex) => regex,
        None => {
            args.meter.work(wanted.as_str().len() as u64 * 64)?;
            let compiled = pattern::compile(wanted.as_str());
            // One that is refused may have grown up to the limit before.
            let size = compiled.as_ref().map_or(pattern::SIZE_MAX, |regex| regex.memory_usage());
            args.meter.work(size as u64 / 8)?;
            made = compiled
                .map_err(|error| EvalError::failed(format!("error parsing regexp: {error}")))?;
            &made
        }
    };
    args.meter.work(pattern::work(regex, text.as_str()))?;
    use_it(regex, text.as_str(), args)
}

/// Also the function.
pub(super) fn matches<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    with_pattern(args, |regex, text, _| Ok(Value::Bool(regex.is_match(text))))
}

fn find<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    with_pattern(args, |regex, text, args| {
        let found = regex.find(text).map_or("", |found| &text[found.range()]);
        args.meter.make(found.len() as u64)?;
        Ok(Value::text(found))
    })
}

fn find_all<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let most = match args.values.get(2) {
        None => usize::MAX,
        Some(Value::Int(most)) => usize::try_from(*most).unwrap_or(usize::MAX),
        Some(_) => return Err(EvalError::no_such_overload()),
    };
    with_pattern(args, |regex, text, args| {
        let mut found = Vec::new();
        for one in regex.find_iter(text).take(most) {
            // The next search may look at all that is left.
            args.meter.work((text.len() - one.start()) as u64 / 8)?;
            let one = &text[one.range()];
            args.meter.make_items(1)?;
            args.meter.make(one.len() as u64)?;
            found.push(Value::text(one));
        }
        Ok(Value::list(found))
    })
}

fn position(number: i64, length: usize) -> Result<usize, EvalError> {
    usize::try_from(number)
        .ok()
        .filter(|at| *at <= length)
        .ok_or_else(|| EvalError::failed(format!("index out of range: {number}")))
}

fn char_at<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [Value::String(text), Value::Int(at)] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    args.meter.work(text.as_str().len() as u64 / 8)?;
    let at = position(*at, text.as_str().chars().count())?;
    Ok(Value::text(text.as_str().chars().nth(at).map(String::from).unwrap_or_default()))
}

/// `indexOf` and `lastIndexOf`.
pub(super) fn index_of<'a>(args: &mut Args<'_, 'a>, last: bool) -> Evaluated<'a> {
    let (text, part, from) = match args.values.as_slice() {
        [Value::String(text), Value::String(part)] => (text.as_str(), part.as_str(), None),
        [Value::String(text), Value::String(part), Value::Int(from)] => {
            (text.as_str(), part.as_str(), Some(*from))
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    args.meter.work(text.len() as u64 / 4)?;
    let length = text.chars().count();
    let from = match from {
        Some(from) => Some(position(from, length)?),
        None => None,
    };
    let byte_of = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    let found = match (last, from) {
        (false, from) => {
            let start = byte_of(from.unwrap_or(0));
            text[start..].find(part).map(|at| start + at)
        }
        (true, None) => text.rfind(part),
        (true, Some(from)) => {
            // The match may begin at `from` at the latest.
            let end = text.len().min(byte_of(from) + part.len());
            let end = (end..=text.len()).find(|at| text.is_char_boundary(*at));
            text[..end.unwrap_or(text.len())].rfind(part)
        }
    };
    let index = found.map_or(-1, |byte| text[..byte].chars().count() as i64);
    Ok(Value::Int(index))
}

fn replace<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let (text, from, to, most) = match args.values.as_slice() {
        [Value::String(text), Value::String(from), Value::String(to)] => (text, from, to, -1),
        [Value::String(text), Value::String(from), Value::String(to), Value::Int(most)] => {
            (text, from, to, *most)
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    let (text, from, to) = (text.as_str(), from.as_str(), to.as_str());
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    args.meter.work(text.len() as u64)?;
    let count = match from.is_empty() {
        true => text.chars().count() + 1,
        false => text.matches(from).count(),
    };
    let grown = (count.min(most) as u64).saturating_mul(to.len() as u64);
    args.meter.charge((grown as f64 * super::prices::PER_CHARACTER) as u64)?;
    args.meter.make(grown.saturating_add(text.len() as u64))?;
    Ok(Value::text(text.replacen(from, to, most)))
}

fn split<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let (text, separator, most) = match args.values.as_slice() {
        [Value::String(text), Value::String(separator)] => (text.as_str(), separator.as_str(), -1),
        [Value::String(text), Value::String(separator), Value::Int(most)] => {
            (text.as_str(), separator.as_str(), *most)
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    args.meter.work(text.len() as u64)?;
    if most == 0 || (text.is_empty() && separator.is_empty()) {
        return Ok(Value::list(Vec::new()));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (part, after) = next_part(text, separator, parts.len() + 1 == most);
        args.meter.make_items(1)?;
        args.meter.make(part.len() as u64)?;
        parts.push(Value::text(part));
        rest = after;
    }
    Ok(Value::list(parts))
}

/// The text up to the separator and what comes after it. An empty one separates characters.
fn next_part<'t>(text: &'t str, separator: &str, last: bool) -> (&'t str, Option<&'t str>) {
    if last {
        return (text, None);
    }
    if separator.is_empty() {
        let length = text.chars().next().map_or(0, char::len_utf8);
        let rest = &text[length..];
        return (&text[..length], (!rest.is_empty()).then_some(rest));
    }
    match text.split_once(separator) {
        Some((part, rest)) => (part, Some(rest)),
        None => (text, None),
    }
}

fn join<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let (list, separator) = match args.values.as_slice() {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(separator)] => (list, separator.as_str()),
        _ => return Err(EvalError::no_such_overload()),
    };
    args.meter.work(list.len() as u64)?;
    let mut length = (list.len() as u64).saturating_mul(separator.len() as u64);
    for item in list.iter() {
        let text = item.as_str().ok_or_else(EvalError::no_such_overload)?;
        length = length.saturating_add(text.len() as u64);
    }
    args.meter.charge((length as f64 * 2.0 * super::prices::PER_CHARACTER).ceil() as u64)?;
    args.meter.make(length)?;
    let mut joined = String::with_capacity(length as usize);
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            joined.push_str(separator);
        }
        joined.push_str(item.as_str().unwrap_or_default());
    }
    Ok(Value::text(joined))
}

fn substring<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let (text, start, end) = match args.values.as_slice() {
        [Value::String(text), Value::Int(start)] => (text.as_str(), *start, None),
        [Value::String(text), Value::Int(start), Value::Int(end)] => {
            (text.as_str(), *start, Some(*end))
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    let length = text.chars().count();
    let start = position(start, length)?;
    let end = match end {
        Some(end) => position(end, length)?,
        None => length,
    };
    if start > end {
        let why = format!("invalid substring range. start: {start}, end: {end}");
        return Err(EvalError::failed(why));
    }
    let byte_of = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    let part = &text[byte_of(start)..byte_of(end)];
    args.meter.make(part.len() as u64)?;
    Ok(Value::text(part))
}

fn quote<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [Value::String(text)] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    args.meter.make(text.as_str().len() as u64 * 2 + 2)?;
    let mut quoted = String::from("\"");
    for c in text.as_str().chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(Value::text(quoted))
}
