//! Puts an applied configuration into an object.

use serde_json::{Map, Value};

use super::element::PathElement;
use super::shape::Shape;

/// `live` with everything that `config` says. Both fit the schema; `config` has no item twice.
pub(super) fn merge(shape: Shape<'_>, live: &Value, config: &Value) -> Value {
    merged(shape, Some(live), Some(config)).unwrap_or(Value::Null)
}

/// What comes of two values; nothing where neither holds anything.
fn merged(shape: Shape<'_>, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let shape = match config {
        None => shape.concrete(live),
        Some(Value::Null) if live.is_some() => shape.concrete(live),
        Some(_) => shape.concrete(config),
    };
    match shape {
        Shape::Scalar | Shape::Atomic => {}
        Shape::Set | Shape::Keyed(..) => {
            let (old, new) = (items(live), items(config));
            if !(old.is_empty() && new.is_empty()) {
                let list = merged_list(shape, old, new);
                return (!list.is_empty()).then_some(Value::Array(list));
            }
        }
        Shape::Struct(..) | Shape::Map(..) | Shape::Open | Shape::Deduced => {
            let empty = Map::new();
            let old = live.and_then(Value::as_object).unwrap_or(&empty);
            let new = config.and_then(Value::as_object).unwrap_or(&empty);
            if !(old.is_empty() && new.is_empty()) {
                let map = merged_map(shape, old, new);
                return (!map.is_empty()).then_some(Value::Object(map));
            }
        }
    }
    config.or(live).cloned()
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn merged_map(
    shape: Shape<'_>,
    live: &Map<String, Value>,
    config: &Map<String, Value>,
) -> Map<String, Value> {
    let mut map = Map::with_capacity(live.len().max(config.len()));
    for (key, value) in live {
        if let Some(value) = merged(shape.child(key), Some(value), config.get(key)) {
            map.insert(key.clone(), value);
        }
    }
    for (key, value) in config.iter().filter(|(key, _)| !live.contains_key(*key)) {
        if let Some(value) = merged(shape.child(key), None, Some(value)) {
            map.insert(key.clone(), value);
        }
    }
    map
}

/// A list and where its items are by element.
struct Indexed<'v> {
    items: Vec<(PathElement, &'v Value)>,
    sorted: Vec<usize>,
}

impl<'v> Indexed<'v> {
    fn new(shape: Shape<'_>, list: &'v [Value]) -> Self {
        let items: Vec<(PathElement, &Value)> =
            list.iter().filter_map(|item| Some((shape.element(item).ok()?, item))).collect();
        let mut sorted: Vec<usize> = (0..items.len()).collect();
        sorted.sort_by(|a, b| items[*a].0.cmp(&items[*b].0));
        Self { items, sorted }
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    /// The places of an element's items.
    fn places(&self, element: &PathElement) -> &[usize] {
        let start = self.sorted.partition_point(|at| self.items[*at].0 < *element);
        let rest = &self.sorted[start..];
        &rest[..rest.partition_point(|at| self.items[*at].0 == *element)]
    }

    fn place(&self, element: &PathElement) -> Option<usize> {
        self.places(element).first().copied()
    }

    /// The item of an element; where there are several, none.
    fn only(&self, element: &PathElement) -> Option<&'v Value> {
        match self.places(element) {
            [at] => Some(self.items[*at].1),
            _ => None,
        }
    }
}

/// The items of both lists. Items of the configuration come in its order; those that only the
/// object has stay behind the ones they were behind, as far as that order allows.
fn merged_list(shape: Shape<'_>, live: &[Value], config: &[Value]) -> Vec<Value> {
    let (live, config) = (Indexed::new(shape, live), Indexed::new(shape, config));
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let elements = config.items.iter().map(|(element, _)| element);
    let mut shared = elements.filter(|element| live.place(element).is_some());
    let mut next = shared.next();
    let both = |element: &PathElement, item| merged(shape.item(), live.only(element), Some(item));
    let (mut l, mut c) = (0, 0);
    while l < live.len() || c < config.len() {
        if let (Some((own, _)), Some((wanted, item))) = (live.items.get(l), config.items.get(c)) {
            if own == wanted {
                out.extend(both(wanted, item));
                (l, c, next) = (l + 1, c + 1, shared.next());
                continue;
            }
            if config.place(own).is_some() && next.is_some_and(|next| next != own) {
                // In both, but its turn comes later.
                l += 1;
                continue;
            }
        }
        if let Some((own, item)) = live.items.get(l) {
            match config.place(own) {
                None => {
                    out.extend(merged(shape.item(), Some(item), None));
                    l += 1;
                    continue;
                }
                // Already there, where the configuration wants it.
                Some(place) if place < c => l += 1,
                Some(_) => {}
            }
        }
        if let Some((wanted, item)) = config.items.get(c) {
            out.extend(both(wanted, item));
            c += 1;
            if next.is_some_and(|next| next == wanted) {
                next = shared.next();
            }
        }
    }
    out
}
