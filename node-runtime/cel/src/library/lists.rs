//! Lists: sums, extremes, parts and order.

use std::cmp::Ordering;

use super::{Args, Handler, convert, texts};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::{List, Value, order};

pub(super) fn functions(name: &str) -> Option<Handler> {
    Some(match name {
        "lists.range" => range,
        _ => return None,
    })
}

pub(super) fn methods(name: &str) -> Option<Handler> {
    Some(match name {
        "size" => convert::size,
        "isSorted" => is_sorted,
        "sum" => sum,
        "min" => |args| extreme(args, Ordering::Less, "min"),
        "max" => |args| extreme(args, Ordering::Greater, "max"),
        "indexOf" => |args| match args.values.first() {
            Some(Value::List(_)) => index_of(args, false),
            _ => texts::index_of(args, false),
        },
        "lastIndexOf" => |args| match args.values.first() {
            Some(Value::List(_)) => index_of(args, true),
            _ => texts::index_of(args, true),
        },
        "first" => |args| end(args, true),
        "last" => |args| end(args, false),
        "slice" => slice,
        "flatten" => flatten,
        "sort" => sort,
        "distinct" => distinct,
        "reverse" => reverse,
        _ => return None,
    })
}

fn own<'a>(args: &Args<'_, 'a>) -> Result<List<'a>, EvalError> {
    match args.values.first() {
        Some(Value::List(list)) => Ok(list.clone()),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn range<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [Value::Int(count)] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    let count = (*count).max(0);
    args.meter.charge(count as u64)?;
    args.meter.make_items(count as usize)?;
    Ok(Value::list((0..count).map(Value::Int).collect()))
}

fn compared(left: &Value<'_>, right: &Value<'_>) -> Result<Ordering, EvalError> {
    if left.type_name() != right.type_name() {
        return Err(EvalError::no_such_overload());
    }
    order::compare(left, right).ok_or_else(EvalError::no_such_overload)
}

fn is_sorted<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let list = own(args)?;
    let mut before: Option<Value<'a>> = None;
    for item in list.iter() {
        if let Some(before) = &before
            && compared(before, &item)? == Ordering::Greater
        {
            return Ok(Value::Bool(false));
        }
        before = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let list = own(args)?;
    let mut total: Option<Value<'a>> = None;
    for item in list.iter() {
        let overflow = || EvalError::failed("integer overflow");
        total = Some(match (total, item) {
            (
                None,
                item @ (Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_)),
            ) => item,
            (Some(Value::Int(sum)), Value::Int(item)) => {
                Value::Int(sum.checked_add(item).ok_or_else(overflow)?)
            }
            (Some(Value::Uint(sum)), Value::Uint(item)) => {
                Value::Uint(sum.checked_add(item).ok_or_else(overflow)?)
            }
            (Some(Value::Double(sum)), Value::Double(item)) => Value::Double(sum + item),
            (Some(Value::Duration(sum)), Value::Duration(item)) => {
                Value::Duration(sum.checked_add(item).ok_or_else(overflow)?)
            }
            _ => return Err(EvalError::no_such_overload()),
        });
    }
    Ok(total.unwrap_or(Value::Int(0)))
}

fn extreme<'a>(args: &mut Args<'_, 'a>, wanted: Ordering, name: &str) -> Evaluated<'a> {
    let list = own(args)?;
    let mut best: Option<Value<'a>> = None;
    for item in list.iter() {
        best = match best {
            Some(best) if compared(&item, &best)? != wanted => Some(best),
            _ => Some(item),
        };
    }
    best.ok_or_else(|| EvalError::failed(format!("{name} called on empty list")))
}

fn index_of<'a>(args: &mut Args<'_, 'a>, last: bool) -> Evaluated<'a> {
    let [Value::List(list), wanted] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    for step in 0..list.len() {
        let at = if last { list.len() - 1 - step } else { step };
        if let Some(item) = list.get(at)
            && item.equals(wanted, args.meter)?
        {
            return Ok(Value::Int(at as i64));
        }
    }
    Ok(Value::Int(-1))
}

fn end<'a>(args: &mut Args<'_, 'a>, first: bool) -> Evaluated<'a> {
    let list = own(args)?;
    let item = if first { list.get(0) } else { list.get(list.len().wrapping_sub(1)) };
    Ok(item.map_or(Value::Optional(None), Value::some))
}

fn slice<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [Value::List(list), Value::Int(start), Value::Int(end)] = args.values.as_slice() else {
        return Err(EvalError::no_such_overload());
    };
    let length = list.len() as i64;
    if *start < 0 || *end < 0 {
        let why = format!("cannot slice({start}, {end}), negative indexes not supported");
        return Err(EvalError::failed(why));
    }
    if start > end {
        let why = format!(
            "cannot slice({start}, {end}), start index must be less than or equal to end index"
        );
        return Err(EvalError::failed(why));
    }
    if length < *end {
        let why = format!("cannot slice({start}, {end}), list is length {length}");
        return Err(EvalError::failed(why));
    }
    args.meter.make_items((end - start) as usize)?;
    Ok(Value::list((*start..*end).filter_map(|at| list.get(at as usize)).collect()))
}

fn flatten<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let depth = match args.values.get(1) {
        None => 1,
        Some(Value::Int(depth)) if *depth >= 0 => *depth,
        Some(Value::Int(_)) => return Err(EvalError::failed("level must be non-negative")),
        Some(_) => return Err(EvalError::no_such_overload()),
    };
    let list = own(args)?;
    let mut items = Vec::new();
    flatten_into(&list, depth, &mut items, args)?;
    Ok(Value::list(items))
}

fn flatten_into<'a>(
    list: &List<'a>,
    depth: i64,
    items: &mut Vec<Value<'a>>,
    args: &mut Args<'_, 'a>,
) -> Result<(), EvalError> {
    args.meter.charge(list.len() as u64)?;
    args.meter.make_items(list.len())?;
    for item in list.iter() {
        match &item {
            Value::List(inner) if depth > 0 => flatten_into(inner, depth - 1, items, args)?,
            _ => items.push(item),
        }
    }
    Ok(())
}

fn sort<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let list = own(args)?;
    args.meter.make_items(list.len())?;
    let mut items: Vec<Value<'a>> = list.iter().collect();
    if let [first, ..] = items.as_slice() {
        for item in &items {
            if item.type_name() != first.type_name() || order::compare(first, item).is_none() {
                return Err(EvalError::failed("list elements must have the same type"));
            }
        }
    }
    // Going through texts again and again is more than the price says.
    let bytes: u64 = items.iter().map(Value::size).fold(0, u64::saturating_add);
    args.meter.work(bytes.saturating_add(items.len() as u64 * 16))?;
    items.sort_by(|left, right| order::compare(left, right).unwrap_or(Ordering::Equal));
    Ok(Value::list(items))
}

fn distinct<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let list = own(args)?;
    args.meter.make_items(list.len())?;
    let mut items: Vec<Value<'a>> = Vec::new();
    for item in list.iter() {
        let mut known = false;
        for one in &items {
            if one.equals(&item, args.meter)? {
                known = true;
                break;
            }
        }
        if !known {
            items.push(item);
        }
    }
    Ok(Value::list(items))
}

fn reverse<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::List(list)] => {
            args.meter.make_items(list.len())?;
            let mut items: Vec<Value<'a>> = list.iter().collect();
            items.reverse();
            Ok(Value::list(items))
        }
        [Value::String(text)] => {
            args.meter.make(text.as_str().len() as u64)?;
            Ok(Value::text(text.as_str().chars().rev().collect::<String>()))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}
