//! `sets`: lists taken as sets.

use super::{Args, Handler};
use crate::budget::{Meter, Stop};
use crate::error::EvalError;
use crate::value::{List, Value};

pub(super) fn find(name: &str) -> Option<Handler> {
    Some(match name {
        "sets.contains" => {
            |args| with(args, |left, right, meter| all_in(right, left, meter)).map(Value::Bool)
        }
        "sets.equivalent" => |args| {
            let both = |left: &List<'_>, right: &List<'_>, meter: &mut Meter| {
                Ok(all_in(right, left, meter)? && all_in(left, right, meter)?)
            };
            with(args, both).map(Value::Bool)
        },
        "sets.intersects" => |args| with(args, any_in).map(Value::Bool),
        _ => return None,
    })
}

fn with<'a>(
    args: &mut Args<'_, 'a>,
    decide: impl Fn(&List<'a>, &List<'a>, &mut Meter) -> Result<bool, Stop>,
) -> Result<bool, EvalError> {
    match args.values.as_slice() {
        [Value::List(left), Value::List(right)] => Ok(decide(left, right, args.meter)?),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_in<'a>(item: &Value<'a>, list: &List<'a>, meter: &mut Meter) -> Result<bool, Stop> {
    for one in list.iter() {
        if one.equals(item, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn all_in<'a>(items: &List<'a>, list: &List<'a>, meter: &mut Meter) -> Result<bool, Stop> {
    for item in items.iter() {
        if !is_in(&item, list, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn any_in<'a>(left: &List<'a>, right: &List<'a>, meter: &mut Meter) -> Result<bool, Stop> {
    for item in left.iter() {
        if is_in(&item, right, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}
