//! `format.…()`: checks of texts by the name of their format.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minik_meta::names;

use super::time::{parse_date, parse_date_time};
use super::url::Url;
use super::{Args, Handler};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::{Library, Value};

/// A format of texts.
#[derive(Debug)]
pub struct NamedFormat {
    pub(crate) name: &'static str,
    validate: fn(&str) -> Vec<String>,
}

static FORMATS: &[NamedFormat] = &[
    NamedFormat { name: "dns1123Label", validate: names::dns1123_label },
    NamedFormat { name: "dns1123Subdomain", validate: names::dns1123_subdomain },
    NamedFormat { name: "dns1035Label", validate: names::dns1035_label },
    NamedFormat { name: "qualifiedName", validate: names::qualified_name },
    NamedFormat { name: "dns1123LabelPrefix", validate: |text| names::dns1123_label(&whole(text)) },
    NamedFormat {
        name: "dns1123SubdomainPrefix",
        validate: |text| names::dns1123_subdomain(&whole(text)),
    },
    NamedFormat { name: "dns1035LabelPrefix", validate: |text| names::dns1035_label(&whole(text)) },
    NamedFormat { name: "labelValue", validate: names::label_value },
    NamedFormat { name: "uri", validate: |text| Url::parse(text).err().into_iter().collect() },
    NamedFormat {
        name: "uuid",
        validate: |text| unless(is_uuid(text), "does not match the UUID format"),
    },
    NamedFormat {
        name: "byte",
        validate: |text| unless(BASE64_STANDARD.decode(text).is_ok(), "invalid base64"),
    },
    NamedFormat {
        name: "date",
        validate: |text| unless(parse_date(text).is_some(), "invalid date"),
    },
    NamedFormat {
        name: "datetime",
        validate: |text| unless(parse_date_time(text).is_some(), "invalid datetime"),
    },
];

fn unless(fine: bool, why: &str) -> Vec<String> {
    if fine { Vec::new() } else { vec![why.to_owned()] }
}

/// A prefix as a whole name: it may end with a dash.
fn whole(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(bare) if !bare.is_empty() => {
            let mut bare = bare.to_owned();
            bare.pop();
            bare + "a"
        }
        _ => text.to_owned(),
    }
}

fn is_uuid(text: &str) -> bool {
    let bare: String = text.chars().filter(|c| *c != '-').take(33).collect();
    let dashes = text.matches('-').count();
    bare.len() == 32 && dashes <= 4 && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn find(name: &str) -> Option<&'static NamedFormat> {
    FORMATS.iter().find(|format| format.name == name)
}

/// One function per format: each knows its own.
macro_rules! formats {
    ($name:expr, $($format:literal)*) => {
        match $name {
            $(concat!("format.", $format) => |_| known($format),)*
            "format.named" => named,
            _ => return None,
        }
    };
}

pub(super) fn functions(name: &str) -> Option<Handler> {
    Some(formats!(name,
        "dns1123Label" "dns1123Subdomain" "dns1035Label" "qualifiedName" "dns1123LabelPrefix"
        "dns1123SubdomainPrefix" "dns1035LabelPrefix" "labelValue" "uri" "uuid" "byte" "date"
        "datetime"
    ))
}

pub(super) fn methods(name: &str) -> Option<Handler> {
    (name == "validate").then_some(validate as Handler)
}

fn known<'a>(name: &str) -> Evaluated<'a> {
    match find(name) {
        Some(format) => Ok(Value::Library(Library::Format(format))),
        None => Err(EvalError::failed(format!("no such format: {name}"))),
    }
}

fn named<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::String(name)] => Ok(match find(name.as_str()) {
            Some(format) => Value::some(Value::Library(Library::Format(format))),
            None => Value::Optional(None),
        }),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn validate<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [Value::Library(Library::Format(format)), Value::String(text)] = args.values.as_slice()
    else {
        return Err(EvalError::no_such_overload());
    };
    args.meter.charge(text.as_str().len() as u64 / 10)?;
    args.meter.make(text.as_str().len() as u64 * 4)?;
    let wrong = (format.validate)(text.as_str());
    if wrong.is_empty() {
        return Ok(Value::Optional(None));
    }
    Ok(Value::some(Value::list(wrong.into_iter().map(Value::text).collect())))
}
