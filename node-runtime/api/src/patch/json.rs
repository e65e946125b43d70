//! JSON patch (RFC 6902).

use minik_meta::status::Reason;
use minik_meta::{Status, object};
use serde_json::Value;

use super::cannot_apply;

/// So many operations a patch may have.
const OPERATIONS_MAX: usize = 10_000;

/// By how much the copies of one patch may enlarge a document, in bytes of JSON.
const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How deep a patched document may be nested: deeper ones could be stored, but not be parsed again.
const DEPTH_MAX: usize = 120;

/// Applies the operations of `patch` to `target`, all or none.
///
/// # Errors
/// 400 for what is no JSON patch, 413 for too many operations, 422 for an operation that does not
/// fit the object (a failed `test` included).
pub fn apply(target: &mut Value, patch: &Value) -> Result<(), Status> {
    let Some(operations) = patch.as_array() else {
        return Err(Status::bad_request("a JSON patch must be a list of operations"));
    };
    if operations.len() > OPERATIONS_MAX {
        return Err(Status::new(
            Reason::RequestEntityTooLarge,
            format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is \
                 {OPERATIONS_MAX}, got {}",
                operations.len()
            ),
        ));
    }
    run(target, operations).map_err(|mistake| cannot_apply(mistake.to_string()))
}

/// Why an operation cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A `test` did not find what it looked for.
    #[error("{0}")]
    Test(String),
    /// It does not fit the object, or is none.
    #[error("{0}")]
    Other(String),
}

/// Does operations on `target`, all or none.
///
/// # Errors
/// Why the first that cannot be done cannot.
pub fn run(target: &mut Value, operations: &[Value]) -> Result<(), Mistake> {
    if operations.len() > OPERATIONS_MAX {
        return Err(Mistake::Other(format!("more than {OPERATIONS_MAX} operations")));
    }
    let mut patched = target.clone();
    let mut copied = 0;
    for operation in operations {
        step(&mut patched, operation, &mut copied).map_err(|why| {
            match operation["op"] == "test" {
                true => Mistake::Test(why),
                false => Mistake::Other(why),
            }
        })?;
    }
    *target = patched;
    Ok(())
}

fn step(target: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), String> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let op = text("op").ok_or("operation without op")?;
    let path = text("path").ok_or_else(|| format!("{op} operation without path"))?;
    let value =
        || operation.get("value").cloned().ok_or_else(|| format!("{op} operation without value"));
    let from = || text("from").ok_or_else(|| format!("{op} operation without from"));
    match op {
        "add" => add(target, path, value()?),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            let new = value()?;
            check_depth(path, &new)?;
            *find(target, path)? = new;
            Ok(())
        }
        "move" => {
            let from = from()?;
            if path.starts_with(&format!("{from}/")) {
                return Err(format!("cannot move {from} into itself"));
            }
            let taken = remove(target, from)?;
            add(target, path, taken)
        }
        "copy" => {
            let from = find(target, from()?)?;
            *copied += from.to_string().len();
            if *copied > COPIED_BYTES_MAX {
                return Err(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is \
                     {copied}, exceeding the limit {COPIED_BYTES_MAX}"
                ));
            }
            let copy = from.clone();
            add(target, path, copy)
        }
        "test" => {
            let wanted = operation.get("value").unwrap_or(&Value::Null);
            let found = find(target, path).ok();
            match same(found.as_deref().unwrap_or(&Value::Null), wanted) {
                true => Ok(()),
                false => Err(format!("testing value {path} failed: test failed")),
            }
        }
        other => Err(format!("unexpected kind: {other}")),
    }
}

/// Equality where `1` and `1.0` are the same.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn missing(path: &str) -> String {
    format!("operation does not apply: doc is missing path: {path}: missing value")
}

fn find<'a>(target: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    if path.is_empty() {
        return Ok(target);
    }
    target.pointer_mut(path).ok_or_else(|| missing(path))
}

/// The parent of a path and the last step, unescaped.
fn split<'a>(target: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| missing(path))?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Ok((find(target, parent).map_err(|_| missing(path))?, last))
}

/// Whether `value` may be put at `path`.
fn check_depth(path: &str, value: &Value) -> Result<(), String> {
    let above = path.matches('/').count();
    match above > DEPTH_MAX || object::is_deeper(value, DEPTH_MAX - above) {
        true => Err("exceeded max depth".to_owned()),
        false => Ok(()),
    }
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    check_depth(path, &value)?;
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match split(target, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
            Ok(())
        }
        (Value::Array(list), key) if key == "-" => {
            list.push(value);
            Ok(())
        }
        (Value::Array(list), key) => match index(&key) {
            Some(at) if at <= list.len() => {
                list.insert(at, value);
                Ok(())
            }
            _ => Err(format!("Unable to access invalid index: {key}: invalid index referenced")),
        },
        _ => Err(missing(path)),
    }
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let unable =
        || format!("remove operation does not apply: doc is missing path: {path:?}: missing value");
    match split(target, path)? {
        (Value::Object(map), key) => map.shift_remove(&key).ok_or_else(unable),
        (Value::Array(list), key) => match index(&key) {
            Some(at) if at < list.len() => Ok(list.remove(at)),
            _ => Err(unable()),
        },
        _ => Err(unable()),
    }
}

/// A list index: digits without leading zeros.
fn index(text: &str) -> Option<usize> {
    let plain = text == "0" || (!text.starts_with('0') && !text.starts_with('+'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn run(target: &str, patch: &str) -> String {
        let mut value: Value = serde_json::from_str(target).unwrap();
        match apply(&mut value, &serde_json::from_str(patch).unwrap()) {
            Ok(()) => value.to_string(),
            Err(status) => {
                assert_eq!(value.to_string(), target, "all or nothing");
                let cause = status.details.as_ref().and_then(|details| details.causes.first());
                format!("{}: {}", status.code, cause.map_or(&status.message, |one| &one.message))
            }
        }
    }

    #[test_case(r#"{"a":1}"#, r#"[{"op":"add","path":"/b","value":2}]"#, r#"{"a":1,"b":2}"#)]
    #[test_case(r#"{"a":[1,3]}"#, r#"[{"op":"add","path":"/a/1","value":2}]"#, r#"{"a":[1,2,3]}"#)]
    #[test_case(r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/-","value":2}]"#, r#"{"a":[1,2]}"#)]
    #[test_case(r#"{"a":1,"b":2}"#, r#"[{"op":"remove","path":"/a"}]"#, r#"{"b":2}"#)]
    #[test_case(r#"{"a":[1,2]}"#, r#"[{"op":"remove","path":"/a/0"}]"#, r#"{"a":[2]}"#)]
    #[test_case(r#"{"a":1}"#, r#"[{"op":"replace","path":"/a","value":null}]"#, r#"{"a":null}"#)]
    #[test_case(r#"{"a":1}"#, r#"[{"op":"move","from":"/a","path":"/b"}]"#, r#"{"b":1}"#)]
    #[test_case(r#"{"a":1}"#, r#"[{"op":"copy","from":"/a","path":"/b"}]"#, r#"{"a":1,"b":1}"#)]
    #[test_case(r#"{"a":1}"#, r#"[{"op":"test","path":"/a","value":1.0}]"#, r#"{"a":1}"#)]
    #[test_case(r#"{"x/y":1,"~":2}"#, r#"[{"op":"remove","path":"/x~1y"},{"op":"remove","path":"/~0"}]"#, "{}"; "escapes")]
    #[test_case("{}", r#"[{"op":"add","path":"","value":{"a":1}}]"#, r#"{"a":1}"#; "whole document")]
    fn applied(target: &str, patch: &str, expected: &str) {
        assert_eq!(run(target, patch), expected);
    }

    #[test]
    fn copies_are_bounded_in_sum() {
        let double = |index| format!(r#"{{"op":"copy","from":"/a","path":"/a/{index}"}}"#);
        let patch = format!("[{}]", (0..40).map(double).collect::<Vec<_>>().join(","));
        let answer = run(r#"{"a":{"b":"0123456789"}}"#, &patch);
        assert!(
            answer.starts_with("422: Unable to complete the copy, the accumulated"),
            "{answer}"
        );
    }

    #[test]
    fn nesting_is_bounded_in_sum() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(50), "}".repeat(50));
        let at = |depth: usize| {
            format!(r#"{{"op":"add","path":"{}","value":{deep}}}"#, "/a".repeat(depth))
        };
        let patch = |count: usize| {
            format!(
                "[{}]",
                (0..count).map(|index| at(50 * index + 1)).collect::<Vec<_>>().join(",")
            )
        };
        assert!(run("{}", &patch(2)).starts_with('{'));
        assert_eq!(run("{}", &patch(3)), "422: exceeded max depth");
        let copies = r#"[{"op":"add","path":"/a","value":{"a":{"a":{}}}},
            {"op":"copy","from":"","path":"/a/a/a"},{"op":"copy","from":"","path":"/a/a/a/a/a/a"}]"#;
        assert!(run("{}", copies).starts_with('{'));
    }

    #[test_case(
        r#"{"a":1}"#,
        r#"[{"op":"remove","path":"/a"},{"op":"test","path":"/b","value":1}]"#,
        "422: testing value /b failed: test failed"
    )]
    #[test_case(
        "{}",
        r#"[{"op":"replace","path":"/a","value":1}]"#,
        "422: operation does not apply: doc is missing path: /a: missing value"
    )]
    #[test_case(
        "{}",
        r#"[{"op":"remove","path":"/a"}]"#,
        "422: remove operation does not apply: doc is missing path: \"/a\": missing value"
    )]
    #[test_case(
        "{}",
        r#"[{"op":"add","path":"/a/b","value":1}]"#,
        "422: operation does not apply: doc is missing path: /a/b: missing value"
    )]
    #[test_case(
        r#"{"a":[]}"#,
        r#"[{"op":"add","path":"/a/01","value":1}]"#,
        "422: Unable to access invalid index: 01: invalid index referenced"
    )]
    #[test_case(
        r#"{"a":{}}"#,
        r#"[{"op":"move","from":"/a","path":"/a/b"}]"#,
        "422: cannot move /a into itself"
    )]
    #[test_case("{}", r#"[{"op":"jump","path":"/a"}]"#, "422: unexpected kind: jump")]
    #[test_case("{}", "{}", "400: a JSON patch must be a list of operations")]
    fn refused(target: &str, patch: &str, expected: &str) {
        assert_eq!(run(target, patch), expected);
    }
}
