//! `url()`: absolute URLs and absolute paths, as Go reads them.

use std::sync::Arc;

use super::{Args, Handler};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::{Library, Map, OwnedMap, Value};

/// The parts of a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    user: String,
    host: String,
    path: String,
    query: String,
    fragment: String,
}

pub(super) fn functions(name: &str) -> Option<Handler> {
    Some(match name {
        "url" => |args| {
            let [Value::String(text)] = args.values.as_slice() else {
                return Err(EvalError::no_such_overload());
            };
            args.meter.make(text.as_str().len() as u64 * 2)?;
            let parsed = Url::parse(text.as_str());
            parsed.map(|url| Value::Library(Library::Url(Arc::new(url)))).map_err(|why| {
                let why = format!("URL parse error during conversion from string: {why}");
                EvalError::failed(why)
            })
        },
        "isURL" => |args| match args.values.as_slice() {
            [Value::String(text)] => Ok(Value::Bool(Url::parse(text.as_str()).is_ok())),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => return None,
    })
}

pub(super) fn methods(name: &str) -> Option<Handler> {
    Some(match name {
        "getScheme" => |args| part(args, |url| url.scheme.clone()),
        "getHost" => |args| part(args, |url| url.host.clone()),
        "getHostname" => |args| part(args, |url| url.hostname().to_owned()),
        "getPort" => |args| part(args, |url| url.port().to_owned()),
        "getEscapedPath" => |args| part(args, Url::escaped_path),
        "getQuery" => |args| match args.values.as_slice() {
            [Value::Library(Library::Url(url))] => {
                args.meter.make(url.query.len() as u64 * 4)?;
                Ok(url.query())
            }
            _ => Err(EvalError::no_such_overload()),
        },
        _ => return None,
    })
}

fn part<'a>(args: &mut Args<'_, 'a>, of: fn(&Url) -> String) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::Library(Library::Url(url))] => {
            args.meter.make(url.path.len() as u64 * 3)?;
            Ok(Value::text(of(url)))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

impl Url {
    /// Reads an absolute URL or an absolute path.
    pub(crate) fn parse(text: &str) -> Result<Url, String> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(200).collect();
            Err(format!("parse {shown:?}: {why}"))
        };
        if text.is_empty() {
            return wrong("empty url");
        }
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return wrong("net/url: invalid control character in URL");
        }
        let mut url = Url::default();
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let rest = match scheme(rest) {
            Err(why) => return wrong(why),
            Ok(None) => rest,
            Ok(Some((scheme, rest))) => {
                url.scheme = scheme.to_ascii_lowercase();
                rest
            }
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        (url.query, url.fragment) = (query.to_owned(), fragment.to_owned());
        if !rest.starts_with('/') {
            // What follows a scheme otherwise is opaque: `mailto:a@b`.
            return if url.scheme.is_empty() { wrong("invalid URI for request") } else { Ok(url) };
        }
        let mut path = rest;
        if !url.scheme.is_empty()
            && let Some(after) = rest.strip_prefix("//")
        {
            let end = after.find('/').unwrap_or(after.len());
            path = &after[end..];
            if let Err(why) = url.take_authority(&after[..end]) {
                return wrong(&why);
            }
        }
        if unescape(path, false).is_none() {
            return wrong("invalid URL escape");
        }
        url.path = path.to_owned();
        Ok(url)
    }

    fn take_authority(&mut self, authority: &str) -> Result<(), String> {
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        if !user
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte))
        {
            return Err("net/url: invalid userinfo".to_owned());
        }
        let port = match host.strip_prefix('[') {
            Some(inner) => {
                let Some(end) = inner.rfind(']') else {
                    return Err("missing ']' in host".to_owned());
                };
                &inner[end + 1..]
            }
            None => host.rfind(':').map_or("", |colon| &host[colon..]),
        };
        let digits = port.strip_prefix(':').unwrap_or(port);
        if !(port.is_empty() || port.starts_with(':'))
            || !digits.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(format!("invalid port {port:?} after host"));
        }
        let strange = host.chars().find(|c| " \"<>\\^`{|}".contains(*c));
        if let Some(strange) = strange {
            return Err(format!("invalid character {strange:?} in host name"));
        }
        let without_port = &host[..host.len() - port.len()];
        if !host.starts_with('[') && without_port.contains(':') {
            return Err(format!(
                "invalid port {:?} after host",
                &without_port[without_port.find(':').unwrap_or(0)..]
            ));
        }
        (self.user, self.host) = (user.to_owned(), host.to_owned());
        Ok(())
    }

    fn hostname(&self) -> &str {
        match self.host.strip_prefix('[') {
            Some(inner) => inner.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        }
    }

    fn port(&self) -> &str {
        let after = self.host.rfind(']').map_or(0, |end| end + 1);
        self.host[after..].split_once(':').map_or("", |(_, port)| port)
    }

    fn escaped_path(&self) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte);
        let fine = |byte: u8| plain(byte) || b"!'()*[]%".contains(&byte);
        if self.path.bytes().all(fine) {
            return self.path.clone();
        }
        let mut out = String::new();
        for byte in unescape(&self.path, false).unwrap_or_default() {
            if plain(byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        out
    }

    fn query<'a>(&self) -> Value<'a> {
        let mut values: Vec<(String, Vec<Value<'a>>)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let text = |part: &str| String::from_utf8(unescape(part, true)?).ok();
            let (Some(key), Some(value)) = (text(key), text(value)) else { continue };
            let at = *places.entry(key.clone()).or_insert(values.len());
            if at == values.len() {
                values.push((key, Vec::new()));
            }
            values[at].1.push(Value::text(value));
        }
        let mut map = OwnedMap::default();
        for (key, values) in values {
            // Texts are keys, and each is here once.
            let _ = map.insert(Value::text(key), Value::list(values));
        }
        Value::Map(Map::Owned(Arc::new(map)))
    }
}

type Scheme<'t> = Option<(&'t str, &'t str)>;

fn scheme(text: &str) -> Result<Scheme<'_>, &'static str> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b':' if at == 0 => return Err("missing protocol scheme"),
            b':' => return Ok(Some((&text[..at], &text[at + 1..]))),
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            byte if byte.is_ascii_alphabetic() => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Resolves `%41`; none if it is no escape.
fn unescape(text: &str, plus_is_space: bool) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'%' => {
                let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
                out.push((digit(at + 1)? * 16 + digit(at + 2)?) as u8);
                at += 2;
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(*byte),
        }
        at += 1;
    }
    Some(out)
}
