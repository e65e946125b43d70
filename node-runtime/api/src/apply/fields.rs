//! Sets of fields as managed fields hold them (`FieldsV1`).

use serde_json::{Map, Value};

use super::element::{PathElement, Unreadable};
use super::set::{FieldSet, Node};

/// Deepest nesting that is read; objects are not deeper.
const DEPTH_MAX: usize = 128;

/// The `FieldsV1` of a set.
pub(super) fn write(set: &FieldSet) -> Value {
    Value::Object(write_level(set, false))
}

fn write_level(set: &FieldSet, is_member: bool) -> Map<String, Value> {
    let mut map = Map::new();
    if is_member && !set.is_empty() {
        map.insert(".".to_owned(), Value::Object(Map::new()));
    }
    for (element, node) in set.nodes() {
        let below = write_level(&node.children, node.member);
        map.insert(element.serialized(), Value::Object(below));
    }
    map
}

/// The set of a `FieldsV1`.
///
/// # Errors
/// Why it is none.
pub(super) fn read(fields: &Value) -> Result<FieldSet, String> {
    match fields {
        Value::Object(map) => Ok(read_level(map, 0)?.children),
        Value::Null => Ok(FieldSet::default()),
        _ => Err("fields must be an object".to_owned()),
    }
}

fn read_level(map: &Map<String, Value>, depth: usize) -> Result<Node, String> {
    if depth > DEPTH_MAX {
        return Err(format!("fields are nested deeper than {DEPTH_MAX}"));
    }
    let (mut member, mut nodes) = (false, Vec::with_capacity(map.len()));
    for (key, value) in map {
        if key == "." {
            member = true;
            continue;
        }
        let element = match PathElement::parse(key) {
            Ok(element) => element,
            Err(Unreadable::Unknown) => continue,
            Err(Unreadable::Broken(why)) => {
                return Err(format!("parsing key as path element: {why}"));
            }
        };
        let below = match value {
            Value::Object(map) => read_level(map, depth + 1)?,
            Value::Null => Node::leaf(),
            _ => return Err(format!("fields below {key:?} must be an object")),
        };
        nodes.push((element, below));
    }
    let children = FieldSet::collect(nodes);
    Ok(Node { member: member || children.is_empty(), children })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use test_case::test_case;

    #[test_case(json!({}))]
    #[test_case(json!({"f:spec": {"f:replicas": {}}}))]
    #[test_case(json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}))]
    #[test_case(json!({"f:l": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}}, "v:1": {}, "v:\"x\"": {}}}))]
    fn there_and_back(fields: Value) {
        assert_eq!(write(&read(&fields).unwrap()).to_string(), fields.to_string());
    }

    #[test]
    fn what_is_written_oddly_is_put_right() {
        let odd = json!({"f:b": {}, "f:a": {"z:new": {}}, "f:c": null});
        assert_eq!(write(&read(&odd).unwrap()).to_string(), r#"{"f:a":{},"f:b":{},"f:c":{}}"#);
    }

    #[test_case(json!([]))]
    #[test_case(json!({"spec": {}}))]
    #[test_case(json!({"f:spec": 1}))]
    #[test_case(json!({"k:x": {}}))]
    fn what_is_broken_is_refused(fields: Value) {
        assert!(read(&fields).is_err());
    }
}
