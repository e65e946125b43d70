//! Pruning: what the schema does not know is dropped, and said.

use serde_json::Value;

use super::structural::{Additional, Node};
use crate::decode::metadata;

/// So many unknown fields are reported at most.
const UNKNOWN_MAX: usize = 100;
/// Fields that every object has, known to no schema.
const OWN: &[&str] = &["apiVersion", "kind", "metadata"];

/// Prunes an object of a custom resource. Returns `unknown field "…"` for each field dropped, in
/// order, or why some metadata cannot be read.
pub(super) fn conform(shape: &Node, value: &mut Value) -> Result<Vec<String>, String> {
    let mut walk = Walk { path: String::new(), unknown: Vec::new(), wrong: None };
    match shape.preserve {
        true => walk.keep(shape, value, true),
        false => walk.prune(Some(shape), value, true),
    }
    match walk.wrong {
        Some(why) => Err(why),
        None => {
            walk.unknown.sort();
            Ok(walk.unknown)
        }
    }
}

struct Walk {
    path: String,
    unknown: Vec<String>,
    wrong: Option<String>,
}

impl Walk {
    /// Drops what `shape` does not name. No shape: everything in objects goes.
    fn prune(&mut self, shape: Option<&Node>, value: &mut Value, object: bool) {
        if let Some(shape) = shape
            && shape.preserve
        {
            self.keep(shape, value, object || shape.embedded);
            return;
        }
        let object = object || shape.is_some_and(|shape| shape.embedded);
        match value {
            Value::Object(map) => map.retain(|key, value| {
                if object && OWN.contains(&key.as_str()) {
                    return self.own(key, value);
                }
                let known = shape.and_then(|shape| match shape.property(key) {
                    Some(property) => Some(Some(property)),
                    None => match &shape.additional {
                        Some(Additional::Any) => Some(None),
                        Some(Additional::Of(others)) => Some(Some(others.as_ref())),
                        None => None,
                    },
                });
                match known {
                    Some(shape) => {
                        self.below(&step(&self.path, key), |walk| walk.prune(shape, value, false));
                        true
                    }
                    None => {
                        self.note(key);
                        false
                    }
                }
            }),
            Value::Array(list) => {
                let items = shape.and_then(|shape| shape.items.as_deref());
                for (index, value) in list.iter_mut().enumerate() {
                    self.below(&format!("[{index}]"), |walk| walk.prune(items, value, false));
                }
            }
            _ => {}
        }
    }

    /// Keeps what `shape` does not name, and looks into what it does.
    fn keep(&mut self, shape: &Node, value: &mut Value, object: bool) {
        match value {
            Value::Object(map) => map.retain(|key, value| {
                if object && OWN.contains(&key.as_str()) {
                    return self.own(key, value);
                }
                if let Some(field) = shape.field(key) {
                    let step = step(&self.path, key);
                    self.below(&step, |walk| walk.prune(Some(field), value, false));
                }
                true
            }),
            Value::Array(list) => {
                let Some(items) = shape.items.as_deref() else { return };
                for (index, value) in list.iter_mut().enumerate() {
                    self.below(&format!("[{index}]"), |walk| walk.prune(Some(items), value, false));
                }
            }
            _ => {}
        }
    }

    /// A field that every object has. Returns whether it stays.
    fn own(&mut self, key: &str, value: &mut Value) -> bool {
        if key != "metadata" {
            return true;
        }
        let path = format!("{}{}", self.path, step(&self.path, key));
        match metadata(value, &path) {
            Ok(unknown) => self.unknown.extend(unknown),
            Err(why) => {
                self.wrong.get_or_insert(why);
            }
        }
        true
    }

    fn below(&mut self, step: &str, walk: impl FnOnce(&mut Walk)) {
        let before = self.path.len();
        self.path.push_str(step);
        walk(self);
        self.path.truncate(before);
    }

    fn note(&mut self, key: &str) {
        if self.unknown.len() < UNKNOWN_MAX {
            self.unknown.push(format!("unknown field \"{}{}\"", self.path, step(&self.path, key)));
        }
    }
}

fn step(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!(".{key}") }
}

/// Whether the walk above would change nothing: for the schema's own defaults.
pub(super) fn is_pruned(shape: &Node, value: &Value) -> bool {
    let mut copy = value.clone();
    let mut walk = Walk { path: String::new(), unknown: Vec::new(), wrong: None };
    walk.prune(Some(shape), &mut copy, false);
    walk.unknown.is_empty() && walk.wrong.is_none()
}
