//! Optional values.

use super::{Args, Handler};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::Value;

pub(super) fn functions(name: &str) -> Option<Handler> {
    Some(match name {
        "optional.of" => |args| match args.values.pop() {
            Some(value) => Ok(Value::some(value)),
            None => Err(EvalError::no_such_overload()),
        },
        "optional.ofNonZeroValue" => |args| match args.values.pop() {
            Some(value) if is_zero(&value) => Ok(Value::Optional(None)),
            Some(value) => Ok(Value::some(value)),
            None => Err(EvalError::no_such_overload()),
        },
        "optional.none" => |_| Ok(Value::Optional(None)),
        "optional.unwrap" => unwrap,
        _ => return None,
    })
}

pub(super) fn methods(name: &str) -> Option<Handler> {
    Some(match name {
        "unwrapOpt" => unwrap,
        "hasValue" => |args| match args.values.as_slice() {
            [Value::Optional(value)] => Ok(Value::Bool(value.is_some())),
            _ => Err(EvalError::no_such_overload()),
        },
        "value" => |args| match args.values.as_slice() {
            [Value::Optional(Some(value))] => Ok(value.as_ref().clone()),
            [Value::Optional(None)] => Err(EvalError::failed("optional.none() dereference")),
            _ => Err(EvalError::no_such_overload()),
        },
        "or" => |args| match args.values.as_slice() {
            [Value::Optional(None), other @ Value::Optional(_)] => Ok(other.clone()),
            [value @ Value::Optional(_), Value::Optional(_)] => Ok(value.clone()),
            _ => Err(EvalError::no_such_overload()),
        },
        "orValue" => |args| match args.values.as_slice() {
            [Value::Optional(Some(value)), _] => Ok(value.as_ref().clone()),
            [Value::Optional(None), other] => Ok(other.clone()),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => return None,
    })
}

fn unwrap<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [Value::List(list)] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    args.meter.make_items(list.len())?;
    let mut items = Vec::new();
    for item in list.iter() {
        match item {
            Value::Optional(Some(value)) => items.push(value.as_ref().clone()),
            Value::Optional(None) => {}
            _ => return Err(EvalError::no_such_overload()),
        }
    }
    Ok(Value::list(items))
}

/// Whether it is what an absent value would be.
fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Optional(None) => true,
        Value::Bool(truth) => !truth,
        Value::Int(number) => *number == 0,
        Value::Uint(number) => *number == 0,
        Value::Double(number) => *number == 0.0,
        Value::Duration(nanos) => *nanos == 0,
        Value::String(text) => text.as_str().is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}
