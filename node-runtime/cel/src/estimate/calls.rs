//! What calls cost at most, and how large their results are.

use std::sync::Arc;

use super::{Entry, Estimator, Part, Range};
use crate::check::Refers;
use crate::decl::{Decl, DeclKind};
use crate::library::{PER_CHARACTER, PER_PATTERN_CHARACTER};
use crate::syntax::ast::{Call, Expr};
use crate::types::Type;

/// Cost of an authorization check.
const CHECK: u64 = 350_000;
/// Characters of the patterns behind named formats.
const FORMAT_PATTERN: f64 = 128.0;

/// Cost without that of the arguments, and the size of the result where it follows from theirs.
type CallCost = (Range, Option<Range>);

impl Estimator<'_> {
    pub(super) fn call(&mut self, expr: &Expr, call: &Call, ty: Type) -> Part {
        let node = &self.nodes[expr.id as usize];
        let Refers::Function(function) = node.refers.clone() else {
            return Part { cost: Range::ZERO, size: None, entry: None, place: None, ty };
        };
        let args: Vec<Part> = call.args.iter().map(|arg| self.part(arg)).collect();
        let target = match &call.target {
            Some(target) if !function.namespaced => Some(self.part(target)),
            _ => None,
        };
        let spent = target.iter().chain(&args).fold(Range::ZERO, |sum, one| sum.add(one.cost));
        if function.name.as_ref() == "dyn" {
            let arg = args.into_iter().next();
            let (size, entry) = arg.map_or((None, None), |arg| (arg.size, arg.entry));
            return Part { cost: spent.add(Range::fixed(1)), size, entry, place: None, ty };
        }
        let mut cost: Option<Range> = None;
        let mut size: Option<Range> = None;
        for overload in &function.overloads {
            let (own, result) = match &target {
                Some(target) => method_cost(&function.name, overload, target, &args),
                None => function_cost(&function.name, overload, &args),
            };
            cost = Some(cost.map_or(own, |before| before.union(own)));
            size = match (size, result) {
                (Some(before), Some(result)) => Some(before.union(result)),
                (before, result) => before.or(result),
            };
        }
        let (place, item) = element(&function.overloads, &args);
        let entry = match function.name.as_ref() {
            "_+_" => Entry::union(
                args.first().and_then(|arg| arg.entry),
                args.get(1).and_then(|arg| arg.entry),
            ),
            _ => None,
        };
        let cost = spent.add(cost.unwrap_or(Range::ZERO));
        Part { cost, size: size.or(item), entry, place, ty }
    }
}

/// What is known of the item or value that an index finds.
fn element(overloads: &[&str], args: &[Part]) -> (Option<Arc<Decl>>, Option<Range>) {
    let indexed = overloads.iter().any(|one| matches!(*one, "index_list" | "index_map"));
    let Some(container) = args.first().filter(|_| indexed) else { return (None, None) };
    let place = container.place.as_ref().and_then(|decl| match &decl.kind {
        DeclKind::List(inner, _) | DeclKind::Map(inner) => Some(Arc::clone(inner)),
        _ => None,
    });
    (place, container.entry.map(|entry| entry.value))
}

fn characters(part: &Part) -> Range {
    part.size().scaled(PER_CHARACTER)
}

fn pattern_cost(text: &Part, pattern: &Part) -> Range {
    let text = text.size().add(Range::fixed(1)).scaled(PER_CHARACTER);
    text.times(pattern.size().scaled(PER_PATTERN_CHARACTER))
}

/// Operators and functions.
fn function_cost(name: &str, overload: &str, args: &[Part]) -> CallCost {
    let one = (Range::fixed(1), None);
    let Some(first) = args.first() else { return one };
    let second = args.get(1).unwrap_or(first);
    match (name, overload) {
        ("_==_" | "_!=_", _)
        | (
            "_<_" | "_<=_" | "_>_" | "_>=_",
            "less_string"
            | "less_bytes"
            | "less_equals_string"
            | "less_equals_bytes"
            | "greater_string"
            | "greater_bytes"
            | "greater_equals_string"
            | "greater_equals_bytes",
        ) => {
            let most = first.size().max.min(second.size().max);
            (Range::new(u64::from(most > 0), most).scaled(PER_CHARACTER), None)
        }
        ("_+_", "add_string" | "add_bytes") => {
            let size = first.size().add(second.size());
            (size.scaled(PER_CHARACTER), Some(size))
        }
        ("_+_", "add_list") => (Range::fixed(1), Some(first.size().add(second.size()))),
        ("@in", "in_list") => (second.size(), None),
        ("bytes", "string_to_bytes") => {
            let size = first.size();
            (characters(first), Some(Range::new(size.min, size.max.saturating_mul(4))))
        }
        ("string", "bytes_to_string") => {
            let size = first.size();
            (characters(first), Some(Range::new(size.min / 4, size.max)))
        }
        ("strings.quote", _) => {
            let size = first.size();
            let quoted = Range::new(size.min, size.max.saturating_mul(2)).add(Range::fixed(2));
            (characters(first), Some(quoted))
        }
        ("matches", _) => (pattern_cost(first, second), None),
        ("url", _) => (characters(first), None),
        ("sets.contains" | "sets.intersects", _) => {
            (first.size().times(second.size()).add(Range::fixed(1)), None)
        }
        ("sets.equivalent", _) => {
            let both = first.size().times(second.size()).times(Range::fixed(2));
            (both.add(Range::fixed(1)), None)
        }
        ("lists.range", _) => (Range::new(1, u64::MAX), Some(Range::UNKNOWN)),
        _ => one,
    }
}

/// Methods.
fn method_cost(name: &str, overload: &str, target: &Part, args: &[Part]) -> CallCost {
    let one = (Range::fixed(1), None);
    let size = target.size();
    let argument = args.first();
    match name {
        "check" => (Range::fixed(CHECK), None),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            (search_cost(target), None)
        }
        "lowerAscii" | "upperAscii" | "substring" | "trim" => (characters(target), Some(size)),
        "replace" => match args {
            [from, to, ..] => {
                let result = replaced(size, from.size(), to.size());
                (size.scaled(2.0 * PER_CHARACTER), Some(result))
            }
            _ => one,
        },
        "split" => (size.scaled(2.0 * PER_CHARACTER), Some(Range::new(0, size.max))),
        "join" => {
            let result = joined(target, argument);
            (result.scaled(PER_CHARACTER), Some(result))
        }
        "find" | "findAll" | "matches" => {
            let cost = argument.map_or(Range::fixed(1), |pattern| pattern_cost(target, pattern));
            (cost, (name != "matches").then_some(Range::new(0, size.max)))
        }
        "startsWith" | "endsWith" => (argument.map_or(Range::fixed(1), characters), None),
        "contains" => {
            let part = argument.map_or(Range::fixed(1), characters);
            (characters(target).times(part), None)
        }
        "format" => {
            let result = argument.map_or(size, |list| size.add(list.size()));
            (characters(target), Some(Range::new(0, result.max)))
        }
        "validate" => {
            let text = argument.map_or(Range::UNKNOWN, characters);
            (text.scaled(FORMAT_PATTERN * PER_PATTERN_CHARACTER), None)
        }
        "containsIP" | "containsCIDR" => {
            let fixed = if name == "containsIP" { Range::new(1, 4) } else { Range::new(3, 7) };
            let text = matches!(overload, "cidr_contains_ip_string" | "cidr_contains_cidr_string");
            let parsed = argument.filter(|_| text).map_or(Range::ZERO, characters);
            (fixed.add(parsed), None)
        }
        "reverse" | "slice" | "sort" | "flatten" => {
            (size.add(Range::fixed(1)), Some(Range::new(0, size.max)))
        }
        "distinct" => {
            let pairs = size.times(size).scaled(0.5);
            (pairs.add(Range::fixed(1)), Some(Range::new(0, size.max)))
        }
        _ => one,
    }
}

/// Going through a list once, or through a text.
fn search_cost(target: &Part) -> Range {
    let Type::List(item) = &target.ty else { return characters(target) };
    let mut each = Range::fixed(1);
    if matches!(item.as_ref(), Type::String | Type::Bytes) {
        each = each.add(item_size(target).scaled(PER_CHARACTER));
    }
    target.size().times(each)
}

/// The declared size of a list's items.
fn item_size(list: &Part) -> Range {
    match list.place.as_ref().map(|decl| &decl.kind) {
        Some(DeclKind::List(items, _)) => Range::new(0, items.size_max),
        _ => Range::UNKNOWN,
    }
}

fn joined(list: &Part, separator: Option<&Part>) -> Range {
    let items = list.size().times(item_size(list));
    let Some(separator) = separator else { return items };
    let count = list.size();
    let between = Range::new(count.min.saturating_sub(1), count.max.saturating_sub(1));
    items.add(separator.size().times(between))
}

/// The size of a text after each `from` has become `to`.
fn replaced(text: Range, from: Range, to: Range) -> Range {
    let most = if from.min == 0 {
        // An empty text is found around each character.
        text.max.saturating_add(1).saturating_mul(to.max).saturating_add(text.max)
    } else if to.max <= from.min {
        text.max
    } else {
        text.max.div_ceil(from.min).saturating_mul(to.max)
    };
    let least = if from.max == 0 {
        text.min.saturating_add(1).saturating_mul(to.min).saturating_add(text.min)
    } else if from.max <= to.min {
        text.min
    } else {
        text.min.div_ceil(from.max).saturating_mul(to.min)
    };
    Range::new(least, most)
}
