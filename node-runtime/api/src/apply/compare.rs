//! What differs between two values, as sets of fields.

use serde_json::Value;

use super::element::PathElement;
use super::equal;
use super::set::{FieldSet, Node};
use super::shape::Shape;

/// The differences between two values. No field is in more than one of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Only the right one has them.
    pub(super) added: FieldSet,
    /// Both have them, with other values.
    pub(super) modified: FieldSet,
    /// Only the left one has them.
    pub(super) removed: FieldSet,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Fields with a new value.
    pub(super) fn written(&self) -> FieldSet {
        self.added.union(&self.modified)
    }

    /// Each of the sets, changed by `filter`.
    pub(super) fn map(&self, filter: impl Fn(&FieldSet) -> FieldSet) -> Self {
        Self {
            added: filter(&self.added),
            modified: filter(&self.modified),
            removed: filter(&self.removed),
        }
    }
}

/// The differences below one place, and at it.
#[derive(Default)]
struct Below {
    added: Part,
    modified: Part,
    removed: Part,
}

/// One of the sets, in the making.
#[derive(Default)]
struct Part {
    member: bool,
    nodes: Vec<(PathElement, Node)>,
}

impl Part {
    fn finish(self) -> Node {
        Node { member: self.member, children: FieldSet::collect(self.nodes) }
    }
}

impl Below {
    fn attach(&mut self, element: &PathElement, child: Below) {
        let pairs = [
            (&mut self.added, child.added),
            (&mut self.modified, child.modified),
            (&mut self.removed, child.removed),
        ];
        for (set, child) in pairs {
            if child.member || !child.nodes.is_empty() {
                set.nodes.push((element.clone(), child.finish()));
            }
        }
    }
}

/// What `right` differs in from `left`.
pub(super) fn compare(shape: Shape<'_>, left: &Value, right: &Value) -> Difference {
    let below = differences(shape, Some(left), Some(right));
    Difference {
        added: below.added.finish().children,
        modified: below.modified.finish().children,
        removed: below.removed.finish().children,
    }
}

fn differences(shape: Shape<'_>, left: Option<&Value>, right: Option<&Value>) -> Below {
    let mut below = Below::default();
    if let (Some(left), Some(right)) = (left, right)
        && left == right
    {
        return below;
    }
    let (was, is) = (shape.concrete(left), shape.concrete(right));
    let leaf = match (left, right) {
        (_, None) => parts(was, left, right, &mut below),
        (None, _) => parts(is, left, right, &mut below),
        _ if was.is_same_kind(is) => parts(is, left, right, &mut below),
        _ => {
            parts(was, left, right, &mut below);
            parts(is, left, right, &mut below)
        }
    };
    if !leaf {
        below.added.member |= left.is_none();
        below.removed.member |= right.is_none();
    }
    below
}

/// Compares as `shape`; says whether the values were compared as a whole.
fn parts(shape: Shape<'_>, left: Option<&Value>, right: Option<&Value>, below: &mut Below) -> bool {
    match shape {
        Shape::Scalar | Shape::Atomic => {}
        Shape::Set | Shape::Keyed(..) => {
            let (left, right) = (items(left), items(right));
            if !(left.is_empty() && right.is_empty()) {
                compare_lists(shape, left, right, below);
                return false;
            }
        }
        Shape::Struct(..) | Shape::Map(..) | Shape::Open | Shape::Deduced => {
            let (old, new) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
            let is_empty = |map: Option<&serde_json::Map<_, _>>| map.is_none_or(|m| m.is_empty());
            if !(is_empty(old) && is_empty(new)) {
                for (key, value) in old.into_iter().flatten() {
                    let other = new.and_then(|new| new.get(key));
                    let child = differences(shape.child(key), Some(value), other);
                    below.attach(&PathElement::field(key), child);
                }
                let known = |key: &str| old.is_some_and(|old| old.contains_key(key));
                for (key, value) in new.into_iter().flatten().filter(|(key, _)| !known(key)) {
                    let child = differences(shape.child(key), None, Some(value));
                    below.attach(&PathElement::field(key), child);
                }
                return false;
            }
        }
    }
    match (left, right) {
        (None, _) => below.added.member = true,
        (_, None) => below.removed.member = true,
        (Some(left), Some(right)) => below.modified.member |= !equal(left, right),
    }
    true
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Items with the same key are compared with each other, in whatever order they come. Several of
/// one key, which only what is stored can have, count as one value.
fn compare_lists(shape: Shape<'_>, left: &[Value], right: &[Value], below: &mut Below) {
    let (left, right) = (by_element(shape, left), by_element(shape, right));
    let find = |list: &[(PathElement, Vec<&Value>)], element: &PathElement| {
        list.binary_search_by(|(one, _)| one.cmp(element)).ok()
    };
    for (element, old) in &left {
        let new = find(&right, element).map_or(&[][..], |at| &right[at].1);
        compare_items(shape, element, old, new, below);
    }
    for (element, new) in &right {
        if find(&left, element).is_none() {
            compare_items(shape, element, &[], new, below);
        }
    }
}

fn by_element<'v>(shape: Shape<'_>, items: &'v [Value]) -> Vec<(PathElement, Vec<&'v Value>)> {
    let mut single: Vec<(PathElement, &Value)> =
        items.iter().filter_map(|item| Some((shape.element(item).ok()?, item))).collect();
    single.sort_by(|a, b| a.0.cmp(&b.0));
    let mut groups: Vec<(PathElement, Vec<&Value>)> = Vec::with_capacity(single.len());
    for (element, item) in single {
        match groups.last_mut() {
            Some((last, same)) if *last == element => same.push(item),
            _ => groups.push((element, vec![item])),
        }
    }
    groups
}

fn compare_items(
    shape: Shape<'_>,
    element: &PathElement,
    old: &[&Value],
    new: &[&Value],
    below: &mut Below,
) {
    let one = |left, right| differences(shape.item(), left, right);
    match (old, new) {
        ([_, _, ..], [_, _, ..]) => {
            let same = old.len() == new.len() && old.iter().zip(new).all(|(a, b)| equal(a, b));
            if !same {
                below.modified.nodes.push((element.clone(), Node::leaf()));
            }
        }
        ([_, _, ..], _) => {
            if let [item] = new {
                below.attach(element, one(None, Some(item)));
            }
            below.removed.nodes.push((element.clone(), Node::leaf()));
        }
        (_, [_, _, ..]) => {
            if let [item] = old {
                below.attach(element, one(Some(item), None));
            }
            below.added.nodes.push((element.clone(), Node::leaf()));
        }
        _ => below.attach(element, one(old.first().copied(), new.first().copied())),
    }
}
