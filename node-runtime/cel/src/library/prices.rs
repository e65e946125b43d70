//! What functions cost when they run, as upstream counts it.

use crate::value::Value;

/// The cost of a call with these arguments.
pub(crate) type Price = fn(&[Value<'_>]) -> u64;

/// Cost per character that is looked at.
pub(crate) const PER_CHARACTER: f64 = 0.1;
/// Cost per character of a pattern.
pub(crate) const PER_PATTERN_CHARACTER: f64 = 0.25;
/// Two checks per evaluation are all that the limit allows.
pub(crate) const CHECK: u64 = 350_000;

/// The price of a function, or of a method.
pub(crate) fn price(name: &str) -> Price {
    match name {
        "check" => |_| CHECK,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            |args| args.first().map_or(0, traversal)
        }
        "url" | "isURL" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "cidr" | "isIP"
        | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" | "bytes" | "validate"
        | "timestamp" | "duration" => |args| characters(args, 0, 1.0),
        "ip" | "string" => |args| match args.first() {
            Some(Value::String(_) | Value::Bytes(_)) => characters(args, 0, 1.0),
            _ => 1,
        },
        "replace" | "split" | "ip.isCanonical" | "strings.quote" => |args| characters(args, 0, 2.0),
        // Charged when the size of the result is known.
        "join" | "format" => |_| 0,
        "reverse" | "slice" | "flatten" | "sort" => |args| 1 + args.first().map_or(0, Value::size),
        "distinct" => |args| 1 + args.first().map_or(0, |list| list.size().pow(2) / 16),
        "matches" | "find" | "findAll" => |args| {
            let text = ((1.0 + size(args, 0)) * PER_CHARACTER).ceil() as u64;
            let pattern = (size(args, 1) * PER_PATTERN_CHARACTER).ceil() as u64;
            text.saturating_mul(pattern)
        },
        "contains" => |args| characters(args, 0, 1.0).saturating_mul(characters(args, 1, 1.0)),
        "startsWith" | "endsWith" => |args| characters(args, 1, 1.0),
        "@in" => |args| match args.get(1) {
            Some(Value::List(list)) => list.len() as u64,
            _ => 1,
        },
        "_+_" => |args| match args.first() {
            Some(Value::String(_) | Value::Bytes(_)) => {
                ((size(args, 0) + size(args, 1)) * PER_CHARACTER).ceil() as u64
            }
            _ => 1,
        },
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => {
            |args| (size(args, 0).min(size(args, 1)) * PER_CHARACTER).ceil() as u64
        }
        "sets.contains" | "sets.intersects" => |args| 1 + (size(args, 0) * size(args, 1)) as u64,
        "sets.equivalent" => |args| 1 + (2.0 * size(args, 0) * size(args, 1)) as u64,
        "containsIP" => |args| 4 + text_characters(args, 1),
        "containsCIDR" => |args| 7 + text_characters(args, 1),
        _ => |_| 1,
    }
}

fn size(args: &[Value<'_>], at: usize) -> f64 {
    args.get(at).map_or(0, Value::size) as f64
}

fn characters(args: &[Value<'_>], at: usize, times: f64) -> u64 {
    (size(args, at) * times * PER_CHARACTER).ceil() as u64
}

fn text_characters(args: &[Value<'_>], at: usize) -> u64 {
    match args.get(at) {
        Some(Value::String(_)) => characters(args, at, 1.0),
        _ => 0,
    }
}

/// Going through a value once.
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(_) | Value::Bytes(_) => (value.size() as f64 * PER_CHARACTER) as u64,
        Value::List(list) => {
            list.iter().map(|item| traversal(&item).max(1)).fold(0, u64::saturating_add)
        }
        Value::Map(map) => map
            .entries()
            .iter()
            .map(|(key, value)| traversal(key).saturating_add(traversal(value)).max(1))
            .fold(0, u64::saturating_add),
        _ => 1,
    }
}
