//! The walks over one value and its shape: which fields it has, and what is left without some.

use serde_json::{Map, Value};

use super::element::PathElement;
use super::set::{FieldSet, Node};
use super::shape::Shape;

/// The fields that `value` sets.
pub(super) fn fields_of(shape: Shape<'_>, value: &Value) -> FieldSet {
    collect(shape, value).children
}

fn collect(shape: Shape<'_>, value: &Value) -> Node {
    let shape = shape.concrete(Some(value));
    match (shape, value) {
        (Shape::Scalar | Shape::Atomic, _) => Node::leaf(),
        (Shape::Set | Shape::Keyed(..), Value::Array(items)) => {
            Node { member: false, children: collect_items(shape, items) }
        }
        (
            Shape::Struct(..) | Shape::Map(..) | Shape::Open | Shape::Deduced,
            Value::Object(fields),
        ) => {
            let nodes = fields.iter().map(|(key, value)| {
                let mut node = collect(shape.child(key), value);
                let is_empty = match value {
                    Value::Null => true,
                    Value::Object(map) => map.is_empty(),
                    _ => false,
                };
                node.member |= is_empty || !shape.declares(key);
                (PathElement::field(key), node)
            });
            Node { member: false, children: FieldSet::collect(nodes.collect()) }
        }
        _ => Node::default(),
    }
}

/// Items are owned one by one; of those with the same key only that they are there.
fn collect_items(shape: Shape<'_>, items: &[Value]) -> FieldSet {
    let mut found: Vec<(PathElement, &Value)> =
        items.iter().filter_map(|item| Some((shape.element(item).ok()?, item))).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let nodes = found.chunk_by(|a, b| a.0 == b.0).map(|same| {
        let node = match same {
            [(_, item)] => Node { member: true, ..collect(shape.item(), item) },
            _ => Node::leaf(),
        };
        (same[0].0.clone(), node)
    });
    FieldSet::collect(nodes.collect())
}

/// `value` without the members of `gone`. What becomes empty becomes null.
pub(super) fn without(shape: Shape<'_>, value: &Value, gone: &FieldSet) -> Value {
    let shape = shape.concrete(Some(value));
    match (shape, value) {
        (Shape::Scalar, _) => value.clone(),
        (Shape::Set | Shape::Keyed(..), Value::Array(items)) => {
            let left: Vec<Value> =
                items.iter().filter_map(|item| item_without(shape, item, gone)).collect();
            if left.is_empty() { Value::Null } else { Value::Array(left) }
        }
        (
            Shape::Struct(..) | Shape::Map(..) | Shape::Open | Shape::Deduced,
            Value::Object(fields),
        ) => {
            let mut left = Map::with_capacity(fields.len());
            for (key, value) in fields {
                let value = match gone.get(&PathElement::field(key)) {
                    Some(node) if node.member => continue,
                    Some(node) => without(shape.child(key), value, &node.children),
                    None => value.clone(),
                };
                left.insert(key.clone(), value);
            }
            if left.is_empty() { Value::Null } else { Value::Object(left) }
        }
        // Parts of what is owned as a whole cannot go alone.
        _ => Value::Null,
    }
}

fn item_without(shape: Shape<'_>, item: &Value, gone: &FieldSet) -> Option<Value> {
    let node = shape.element(item).ok().and_then(|element| gone.get(&element));
    match node {
        Some(node) if node.member => None,
        Some(node) => Some(without(shape.item(), item, &node.children)),
        None => Some(item.clone()),
    }
}

/// The set with the fields of described objects as members where something below them is.
pub(super) fn with_named_fields(shape: Shape<'_>, set: &FieldSet) -> FieldSet {
    let nodes = set.nodes().map(|(element, node)| {
        let (below, declared) = match element {
            PathElement::Field(name) => {
                let shape = shape.concrete(None);
                (shape.child(name), shape.declares(name))
            }
            _ => (shape.item(), false),
        };
        let member = node.member || (declared && !node.children.is_empty());
        let children = with_named_fields(below, &node.children);
        (element.clone(), Node { member, children })
    });
    FieldSet::collect(nodes.collect())
}

/// The set as it is today, where since it was made something became owned as a whole; nothing
/// where all is as it was.
pub(super) fn reconciled(shape: Shape<'_>, set: &FieldSet) -> Option<FieldSet> {
    let changed: Vec<Option<Node>> =
        set.nodes().map(|(element, node)| reconciled_node(shape, element, node)).collect();
    if changed.iter().all(Option::is_none) {
        return None;
    }
    let nodes = set.nodes().zip(changed);
    let nodes =
        nodes.map(|((element, node), new)| (element.clone(), new.unwrap_or_else(|| node.clone())));
    Some(FieldSet::collect(nodes.collect()))
}

fn reconciled_node(shape: Shape<'_>, element: &PathElement, node: &Node) -> Option<Node> {
    if node.children.is_empty() {
        return None;
    }
    let below = match element {
        PathElement::Field(name) if shape.declares(name) || matches!(shape, Shape::Map(..)) => {
            shape.child(name)
        }
        PathElement::Key(_) => shape.item(),
        _ => return None,
    };
    match below {
        Shape::Atomic => Some(Node::leaf()),
        below => {
            let children = reconciled(below, &node.children)?;
            Some(Node { member: node.member, children })
        }
    }
}
