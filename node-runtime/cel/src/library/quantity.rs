//! `quantity()`

use std::cmp::Ordering;

use minik_meta::quantity::Quantity;

use super::{Args, Handler, semver};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::{Library, Value};

pub(super) fn functions(name: &str) -> Option<Handler> {
    Some(match name {
        "quantity" => |args| match args.values.as_slice() {
            [Value::String(text)] => parse(text.as_str())
                .map(|quantity| Value::Library(Library::Quantity(quantity)))
                .map_err(EvalError::failed),
            _ => Err(EvalError::no_such_overload()),
        },
        "isQuantity" => |args| match args.values.as_slice() {
            [Value::String(text)] => Ok(Value::Bool(parse(text.as_str()).is_ok())),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => return None,
    })
}

pub(super) fn methods(name: &str) -> Option<Handler> {
    Some(match name {
        "sign" => |args| {
            let order = own(args)?.cmp(&Quantity::ZERO);
            Ok(Value::Int(order as i64))
        },
        "isGreaterThan" => {
            |args| compared(args).map(|order| Value::Bool(order == Ordering::Greater))
        }
        "isLessThan" => |args| compared(args).map(|order| Value::Bool(order == Ordering::Less)),
        "compareTo" => |args| compared(args).map(|order| Value::Int(order as i64)),
        "asApproximateFloat" => |args| Ok(Value::Double(own(args)?.as_f64())),
        "asInteger" => |args| {
            let whole = whole(own(args)?);
            whole
                .map(Value::Int)
                .ok_or_else(|| EvalError::failed("cannot convert value to integer"))
        },
        "isInteger" => |args| Ok(Value::Bool(whole(own(args)?).is_some())),
        "add" => |args| with(args, Quantity::plus),
        "sub" => |args| with(args, Quantity::minus),
        _ => return None,
    })
}

fn parse(text: &str) -> Result<Quantity, String> {
    if text.len() > 1000 {
        return Err("unable to parse numeric part of quantity".to_owned());
    }
    text.parse::<Quantity>().map_err(|error| error.to_string())
}

fn own(args: &Args<'_, '_>) -> Result<Quantity, EvalError> {
    match args.values.first() {
        Some(Value::Library(Library::Quantity(quantity))) => Ok(*quantity),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// The whole units it is, if it is that and they fit.
fn whole(quantity: Quantity) -> Option<i64> {
    let units = quantity.units();
    (Quantity::from_units(units) == quantity).then_some(units)
}

fn compared(args: &Args<'_, '_>) -> Result<Ordering, EvalError> {
    match args.values.as_slice() {
        [Value::Library(Library::Quantity(left)), Value::Library(Library::Quantity(right))] => {
            Ok(left.cmp(right))
        }
        [Value::Library(Library::Semver(left)), Value::Library(Library::Semver(right))] => {
            Ok(semver::compare(left, right))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn with<'a>(args: &mut Args<'_, 'a>, join: fn(Quantity, Quantity) -> Quantity) -> Evaluated<'a> {
    let other = match args.values.get(1) {
        Some(Value::Library(Library::Quantity(other))) => *other,
        Some(Value::Int(units)) => Quantity::from_units(*units),
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Library(Library::Quantity(join(own(args)?, other))))
}
