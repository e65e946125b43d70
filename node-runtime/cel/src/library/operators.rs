//! Operators.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::{Args, Handler, times};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::{Key, List, Value, order};

pub(super) fn find(name: &str) -> Option<Handler> {
    Some(match name {
        "!_" => |args| match args.values.as_slice() {
            [Value::Bool(truth)] => Ok(Value::Bool(!truth)),
            _ => Err(EvalError::no_such_overload()),
        },
        "-_" => negate,
        "_==_" => |args| equals(args).map(Value::Bool),
        "_!=_" => |args| equals(args).map(|equal| Value::Bool(!equal)),
        "_<_" => |args| compares(args, |order| order == Ordering::Less),
        "_<=_" => |args| compares(args, |order| order != Ordering::Greater),
        "_>_" => |args| compares(args, |order| order == Ordering::Greater),
        "_>=_" => |args| compares(args, |order| order != Ordering::Less),
        "_+_" => add,
        "_-_" => subtract,
        "_*_" => multiply,
        "_/_" => divide,
        "_%_" => modulo,
        "_[_]" => index,
        "_[?_]" => optional_index,
        "@in" => contains,
        _ => return None,
    })
}

fn overflow() -> EvalError {
    EvalError::failed("integer overflow")
}

fn negate<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::Int(number)] => number.checked_neg().map(Value::Int).ok_or_else(overflow),
        [Value::Double(number)] => Ok(Value::Double(-number)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn equals(args: &mut Args<'_, '_>) -> Result<bool, EvalError> {
    match args.values.as_slice() {
        [left, right] => Ok(left.equals(right, args.meter)?),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn compares<'a>(args: &mut Args<'_, 'a>, holds: fn(Ordering) -> bool) -> Evaluated<'a> {
    let [left, right] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    // Nothing is less than, equal to or greater than NaN.
    let nan = |value: &Value<'_>| matches!(value, Value::Double(number) if number.is_nan());
    match order::compare(left, right) {
        Some(order) => Ok(Value::Bool(holds(order))),
        None if nan(left) || nan(right) => Ok(Value::Bool(false)),
        None => Err(EvalError::no_such_overload()),
    }
}

fn add<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [left, right] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => {
            Value::Int(left.checked_add(*right).ok_or_else(overflow)?)
        }
        (Value::Uint(left), Value::Uint(right)) => {
            Value::Uint(left.checked_add(*right).ok_or_else(unsigned_overflow)?)
        }
        (Value::Double(left), Value::Double(right)) => Value::Double(left + right),
        (Value::String(left), Value::String(right)) => {
            let (left, right) = (left.as_str(), right.as_str());
            args.meter.make((left.len() + right.len()) as u64)?;
            Value::text([left, right].concat())
        }
        (Value::Bytes(left), Value::Bytes(right)) => {
            args.meter.make((left.len() + right.len()) as u64)?;
            Value::Bytes([left.as_ref(), right.as_ref()].concat().into())
        }
        (Value::List(left), Value::List(right)) => {
            args.meter.make_items(left.len() + right.len())?;
            let (left, right) = (left.clone(), right.clone());
            add_lists(&left, &right, args.meter)?
        }
        _ => times::add(left, right)?,
    })
}

fn unsigned_overflow() -> EvalError {
    EvalError::failed("unsigned integer overflow")
}

/// One after the other; a set or keyed list takes what is new and replaces what it has.
fn add_lists<'a>(left: &List<'a>, right: &List<'a>, meter: &mut Meter) -> Evaluated<'a> {
    let keyed = left.kind().is_some_and(|kind| *kind != crate::decl::ListKind::Atomic);
    let mut items: Vec<Value<'a>> = left.iter().collect();
    if !keyed {
        items.extend(right.iter());
        return Ok(Value::list(items));
    }
    let mut places = HashMap::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        places.insert(left.identity(item, meter)?, at);
    }
    for item in right.iter() {
        match places.entry(left.identity(&item, meter)?) {
            Entry::Occupied(place) => items[*place.get()] = item,
            Entry::Vacant(place) => {
                place.insert(items.len());
                items.push(item);
            }
        }
    }
    Ok(Value::list(items))
}

fn subtract<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [left, right] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => {
            Value::Int(left.checked_sub(*right).ok_or_else(overflow)?)
        }
        (Value::Uint(left), Value::Uint(right)) => {
            Value::Uint(left.checked_sub(*right).ok_or_else(unsigned_overflow)?)
        }
        (Value::Double(left), Value::Double(right)) => Value::Double(left - right),
        _ => times::subtract(left, right)?,
    })
}

fn multiply<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::Int(left), Value::Int(right)] => {
            left.checked_mul(*right).map(Value::Int).ok_or_else(overflow)
        }
        [Value::Uint(left), Value::Uint(right)] => {
            left.checked_mul(*right).map(Value::Uint).ok_or_else(unsigned_overflow)
        }
        [Value::Double(left), Value::Double(right)] => Ok(Value::Double(left * right)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn divide<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            Err(EvalError::failed("division by zero"))
        }
        [Value::Int(left), Value::Int(right)] => {
            left.checked_div(*right).map(Value::Int).ok_or_else(overflow)
        }
        [Value::Uint(left), Value::Uint(right)] => Ok(Value::Uint(left / right)),
        [Value::Double(left), Value::Double(right)] => Ok(Value::Double(left / right)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn modulo<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            Err(EvalError::failed("modulus by zero"))
        }
        [Value::Int(left), Value::Int(right)] => {
            left.checked_rem(*right).map(Value::Int).ok_or_else(overflow)
        }
        [Value::Uint(left), Value::Uint(right)] => Ok(Value::Uint(left % right)),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// A whole number as an index.
fn whole(index: &Value<'_>) -> Option<i64> {
    match Key::of(index) {
        Some(Key::Int(number)) => Some(number),
        _ => None,
    }
}

/// The item or entry; none if it is not there.
fn look_up<'a>(container: &Value<'a>, index: &Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
    match container {
        Value::List(list) => {
            let index = whole(index).ok_or_else(EvalError::no_such_overload)?;
            Ok(usize::try_from(index).ok().and_then(|index| list.get(index)))
        }
        Value::Map(map) => Ok(map.get(index)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn index<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [container, key] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    args.meter.work(key.size() / 16)?;
    if matches!(container, Value::Optional(_)) {
        return look_up_optional(container, key);
    }
    look_up(container, key)?.ok_or_else(|| {
        let shown = shown(key);
        EvalError::failed(match container {
            Value::List(_) => format!("index out of bounds: {shown}"),
            _ => format!("no such key: {shown}"),
        })
    })
}

fn shown(key: &Value<'_>) -> String {
    match key {
        Value::String(text) => text.as_str().chars().take(200).collect(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Double(number) => crate::value::go_float(*number),
        other => other.type_name().to_owned(),
    }
}

fn optional_index<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [container, key] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    args.meter.work(key.size() / 16)?;
    look_up_optional(container, key)
}

fn look_up_optional<'a>(container: &Value<'a>, key: &Value<'a>) -> Evaluated<'a> {
    let container = match container {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => inner.as_ref(),
        other => other,
    };
    Ok(Value::Optional(look_up(container, key)?.map(Arc::new)))
}

fn contains<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match args.values.as_slice() {
        [item, Value::List(list)] => {
            for one in list.iter() {
                if one.equals(item, args.meter)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        [key, Value::Map(map)] => {
            args.meter.work(key.size() / 16)?;
            Ok(Value::Bool(map.get(key).is_some()))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}
