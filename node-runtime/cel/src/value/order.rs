//! Which of two values comes first.

use std::cmp::Ordering;

use super::Value;

/// How two values compare; none if they cannot be compared.
pub(crate) fn compare(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::String(left), Value::String(right)) => Some(left.as_str().cmp(right.as_str())),
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
        (Value::Timestamp(left), Value::Timestamp(right)) => Some(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        _ => numbers(left, right),
    }
}

/// How two numbers of any types compare; none also for what is not a number.
pub(super) fn numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    Some(match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Uint(left), Value::Uint(right)) => left.cmp(right),
        (Value::Int(left), Value::Uint(right)) => i128::from(*left).cmp(&i128::from(*right)),
        (Value::Uint(left), Value::Int(right)) => i128::from(*left).cmp(&i128::from(*right)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right)?,
        (Value::Int(left), Value::Double(right)) => whole_with(i128::from(*left), *right)?,
        (Value::Uint(left), Value::Double(right)) => whole_with(i128::from(*left), *right)?,
        (Value::Double(left), Value::Int(right)) => {
            whole_with(i128::from(*right), *left)?.reverse()
        }
        (Value::Double(left), Value::Uint(right)) => {
            whole_with(i128::from(*right), *left)?.reverse()
        }
        _ => return None,
    })
}

/// Exact, where turning the whole number into a float would round it.
fn whole_with(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // Casts to integers saturate, far outside of 64 bits.
    let truncated = float as i128;
    Some(whole.cmp(&truncated).then_with(|| 0.0_f64.total_cmp(&(float - float.trunc() + 0.0))))
}
