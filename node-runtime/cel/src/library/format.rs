//! `'%s is %d'.format([…])`

use std::fmt::Write;

use super::Args;
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::library::time::format_timestamp;
use crate::value::{List, Value, go_duration, go_float};

/// Most digits after the point.
const PRECISION_MAX: usize = 1000;
/// Deepest list or map that is shown.
const DEPTH_MAX: usize = 100;

pub(super) fn format<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [Value::String(text), Value::List(values)] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    let (text, values) = (text.clone(), values.clone());
    let price = (text.as_str().len() as f64 * super::prices::PER_CHARACTER).ceil() as u64;
    args.meter.charge(price)?;
    let mut out = String::new();
    let mut rest = text.as_str();
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (clause, after) = Clause::read(rest)?;
        let piece = clause.show(&argument(&values, next)?, args)?;
        args.meter.charge((piece.len() as f64 * super::prices::PER_CHARACTER).ceil() as u64)?;
        args.meter.make(piece.len() as u64)?;
        out.push_str(&piece);
        next += 1;
        rest = after;
    }
    args.meter.make(text.as_str().len() as u64)?;
    out.push_str(rest);
    Ok(Value::text(out))
}

fn argument<'a>(values: &List<'a>, at: usize) -> Evaluated<'a> {
    values.get(at).ok_or_else(|| EvalError::failed(format!("index {at} out of range")))
}

struct Clause {
    verb: char,
    precision: usize,
}

impl Clause {
    fn read(text: &str) -> Result<(Clause, &str), EvalError> {
        let wrong =
            |why: String| EvalError::failed(format!("could not parse formatting clause: {why}"));
        let (mut precision, mut rest) = (6, text);
        if let Some(after) = text.strip_prefix('.') {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            precision = after[..digits]
                .parse()
                .ok()
                .filter(|precision| *precision <= PRECISION_MAX)
                .ok_or_else(|| wrong("error while parsing precision".to_owned()))?;
            rest = &after[digits..];
        }
        let Some(verb) = rest.chars().next() else {
            return Err(wrong("unexpected end of string".to_owned()));
        };
        if !"sdfebxXo".contains(verb) {
            return Err(wrong(format!("unrecognized formatting clause \"{verb}\"")));
        }
        Ok((Clause { verb, precision }, &rest[verb.len_utf8()..]))
    }

    fn show(&self, value: &Value<'_>, args: &mut Args<'_, '_>) -> Result<String, EvalError> {
        let refused = |what: &str, takes: &str| {
            let given = value.type_name();
            let why = format!("{what} clause can only be used on {takes}, was given {given}");
            EvalError::failed(format!("error during formatting: {why}"))
        };
        let precision = self.precision;
        Ok(match (self.verb, value) {
            ('s', value) => {
                let mut out = String::new();
                show_text(value, &mut out, 0, args)?;
                out
            }
            ('d', Value::Int(number)) => number.to_string(),
            ('d', Value::Uint(number)) => number.to_string(),
            ('d', _) => return Err(refused("decimal", "integers")),
            ('f' | 'e', Value::Double(number)) if !number.is_finite() => match *number {
                number if number.is_nan() => "NaN".to_owned(),
                number if number > 0.0 => "Infinity".to_owned(),
                _ => "-Infinity".to_owned(),
            },
            ('f', Value::Double(number)) => format!("{number:.precision$}"),
            ('f', _) => return Err(refused("fixed-point", "doubles")),
            ('e', Value::Double(number)) => scientific(*number, precision),
            ('e', _) => return Err(refused("scientific", "doubles")),
            ('b', Value::Int(number)) => signed(*number, |number| format!("{number:b}")),
            ('b', Value::Uint(number)) => format!("{number:b}"),
            ('b', Value::Bool(truth)) => u8::from(*truth).to_string(),
            ('b', _) => {
                return Err(refused(
                    "only integers and bools can be formatted as binary; binary",
                    "integers and bools",
                ));
            }
            ('o', Value::Int(number)) => signed(*number, |number| format!("{number:o}")),
            ('o', Value::Uint(number)) => format!("{number:o}"),
            ('o', _) => return Err(refused("octal", "integers")),
            (verb, value) => {
                let hex = hex(value)
                    .ok_or_else(|| refused("hex", "integers, byte buffers, and strings"))?;
                if verb == 'X' { hex.to_uppercase() } else { hex }
            }
        })
    }
}

fn signed(number: i64, show: fn(u64) -> String) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", show(number.unsigned_abs()))
}

fn hex(value: &Value<'_>) -> Option<String> {
    let bytes = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Some(match value {
        Value::Int(number) => signed(*number, |number| format!("{number:x}")),
        Value::Uint(number) => format!("{number:x}"),
        Value::String(text) => bytes(text.as_str().as_bytes()),
        Value::Bytes(all) => bytes(all),
        _ => return None,
    })
}

fn scientific(number: f64, precision: usize) -> String {
    let shown = format!("{number:.precision$e}");
    let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn show_text(
    value: &Value<'_>,
    out: &mut String,
    depth: usize,
    args: &mut Args<'_, '_>,
) -> Result<(), EvalError> {
    let before = out.len();
    let inner = depth > 0;
    if depth > DEPTH_MAX {
        return Err(EvalError::failed("value is nested too deeply to be formatted"));
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Uint(number) => out.push_str(&number.to_string()),
        Value::Double(number) => out.push_str(&go_float(*number)),
        Value::String(text) if inner => {
            let _ = write!(out, "\"{}\"", text.as_str());
        }
        Value::String(text) => out.push_str(text.as_str()),
        Value::Bytes(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
        Value::Timestamp(at) if inner => {
            let _ = write!(out, "timestamp(\"{}\")", format_timestamp(*at));
        }
        Value::Timestamp(at) => out.push_str(&format_timestamp(*at)),
        Value::Duration(nanos) if inner => {
            let _ = write!(out, "duration(\"{}\")", go_duration(*nanos));
        }
        Value::Duration(nanos) => out.push_str(&go_duration(*nanos)),
        Value::Type(ty) => out.push_str(ty.bare_name()),
        Value::List(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                show_text(&item, out, depth + 1, args)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            args.meter.work(map.len() as u64)?;
            let mut entries = map.entries();
            entries.sort_by_key(|(key, _)| key.as_str().map(str::to_owned));
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                show_text(key, out, depth + 1, args)?;
                out.push_str(": ");
                show_text(value, out, depth + 1, args)?;
            }
            out.push('}');
        }
        Value::Object(_) | Value::Optional(_) | Value::Library(_) => {
            let given = value.type_name();
            let why = "string clause can only be used on strings, bools, bytes, ints, doubles, \
                       maps, lists, types, durations, and timestamps, was given";
            return Err(EvalError::failed(format!("error during formatting: {why} {given}")));
        }
    }
    // What is inside was counted when it was added.
    let grown = (out.len() - before) as u64;
    args.meter.make(if matches!(value, Value::List(_) | Value::Map(_)) { 2 } else { grown })?;
    Ok(())
}
