//! `semver()`

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Args, Handler};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::{Library, Value};

/// Longest version that is read.
const TEXT_MAX: usize = 1000;

/// A version.
#[derive(Clone, Debug)]
pub struct Semver {
    major: u64,
    minor: u64,
    patch: u64,
    pre: Vec<Part>,
}

/// A part of what stands behind the dash. Numbers come before names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Name(Box<str>),
}

impl Semver {
    /// Whether neither comes before the other; builds do not matter.
    pub(crate) fn same_precedence(&self, other: &Semver) -> bool {
        compare(self, other) == Ordering::Equal
    }

    fn parse(text: &str) -> Result<Semver, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        if text.len() > TEXT_MAX {
            return Err("Version string is too long".to_owned());
        }
        let (text, build) = text.split_once('+').map_or((text, None), |(a, b)| (a, Some(b)));
        let (core, pre) = text.split_once('-').map_or((text, None), |(a, b)| (a, Some(b)));
        let mut numbers = core.splitn(3, '.');
        let mut next = |what: &str| match numbers.next() {
            None => Err("No Major.Minor.Patch elements found".to_owned()),
            Some(text) => number(text, what),
        };
        let (major, minor, patch) = (next("major")?, next("minor")?, next("patch")?);
        let pre = match pre {
            None => Vec::new(),
            Some(pre) => pre.split('.').map(part).collect::<Result<_, _>>()?,
        };
        for part in build.into_iter().flat_map(|build| build.split('.')) {
            if part.is_empty() || !part.bytes().all(is_identifier) {
                return Err(format!("Invalid character(s) found in build meta data {part:?}"));
            }
        }
        Ok(Semver { major, minor, patch, pre })
    }

    /// Without a `v`, with all three numbers and no zeros before them.
    fn normalize(text: &str) -> Result<String, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text
            .splitn(3, '.')
            .map(|part| {
                let bare = part.trim_start_matches('0');
                let number = bare.starts_with(|c: char| c.is_ascii_digit());
                if part.len() <= 1 {
                    part.to_owned()
                } else if number {
                    bare.to_owned()
                } else {
                    format!("0{bare}")
                }
            })
            .collect();
        if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data".to_owned());
        }
        while parts.len() < 3 {
            parts.push("0".to_owned());
        }
        Ok(parts.join("."))
    }
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn number(text: &str, what: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {what} number {text:?}"));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!(
            "{}{} number must not contain leading zeroes {text:?}",
            what[..1].to_uppercase(),
            &what[1..]
        ));
    }
    text.parse().map_err(|_| format!("{what} number {text:?} is too large"))
}

fn part(text: &str) -> Result<Part, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return number(text, "prerelease").map(Part::Number);
    }
    match text.bytes().all(is_identifier) {
        true => Ok(Part::Name(text.into())),
        false => Err(format!("Invalid character(s) found in prerelease {text:?}")),
    }
}

/// Which of two versions comes first.
pub(super) fn compare(left: &Semver, right: &Semver) -> Ordering {
    let numbers = |version: &Semver| (version.major, version.minor, version.patch);
    numbers(left).cmp(&numbers(right)).then_with(|| {
        // A release comes after what leads to it.
        match (left.pre.is_empty(), right.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => left.pre.cmp(&right.pre),
        }
    })
}

pub(super) fn functions(name: &str) -> Option<Handler> {
    Some(match name {
        "semver" => |args| {
            let version = read(args)?.map_err(EvalError::failed)?;
            Ok(Value::Library(Library::Semver(Arc::new(version))))
        },
        "isSemver" => |args| Ok(Value::Bool(read(args)?.is_ok())),
        _ => return None,
    })
}

/// Comparisons share their names with those of quantities and are found there.
pub(super) fn methods(name: &str) -> Option<Handler> {
    Some(match name {
        "major" => |args| component(args, |version| version.major),
        "minor" => |args| component(args, |version| version.minor),
        "patch" => |args| component(args, |version| version.patch),
        _ => return None,
    })
}

fn read(args: &Args<'_, '_>) -> Result<Result<Semver, String>, EvalError> {
    let (text, normalize) = match args.values.as_slice() {
        [Value::String(text)] => (text.as_str(), false),
        [Value::String(text), Value::Bool(normalize)] => (text.as_str(), *normalize),
        _ => return Err(EvalError::no_such_overload()),
    };
    if normalize && text.len() <= TEXT_MAX {
        return Ok(Semver::normalize(text).and_then(|text| Semver::parse(&text)));
    }
    Ok(Semver::parse(text))
}

fn component<'a>(args: &Args<'_, 'a>, of: fn(&Semver) -> u64) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::Library(Library::Semver(version))] => Ok(Value::Int(of(version) as i64)),
        _ => Err(EvalError::no_such_overload()),
    }
}
