//! Custom resources: from a `CustomResourceDefinition` to [`Resource`]s, and the routines that only
//! they need.
//!
//! A [`Custom`] holds the bytes of its definition (the store's own, not a copy) and compiles the
//! schema when it is first needed: a definition that nobody uses costs little more than its names.
//!
//! The routines are those of built-in kinds with the same names: [`crate::decode()`] prunes,
//! [`crate::default()`] fills in, [`crate::strategy`] validates, each by the structural schema.

mod columns;
mod conform;
mod defaults;
pub mod definition;
mod embedded;
mod format;
mod jsonpath;
mod lists;
mod lower;
pub(crate) mod openapi;
pub mod pattern;
mod resources;
pub mod structural;
mod values;

use std::any::Any;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use minik_meta::{FieldError, Path, object};
use serde_json::Value;

use crate::resource::Resource;
pub(crate) use columns::cell;
pub use jsonpath::JsonPath;
pub use resources::{established, resources};
use structural::Node;

/// What a custom resource has beyond what all resources have.
#[derive(Debug)]
pub struct Custom {
    /// The stored definition.
    source: Bytes,
    /// Which of `spec.versions`.
    version: usize,
    shape: OnceLock<Node>,
    rules: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// What clients of a deprecated version are told.
    pub deprecation: Option<Box<str>>,
    /// Whether the definition is being deleted: nothing new may be created.
    pub terminating: bool,
    /// Whether objects in other versions are converted by asking a webhook; otherwise versions
    /// differ in name only.
    pub webhook: bool,
    /// Revision of the store: objects written later were pruned and defaulted by this very schema.
    pub since: u64,
}

impl Custom {
    /// The structural schema, compiled when first asked for.
    pub fn shape(&self) -> &Node {
        self.shape.get_or_init(|| {
            let definition = self.definition();
            match schema_of(&definition, self.version) {
                Some(schema) => Node::compile(schema),
                None => Node::default(),
            }
        })
    }

    /// What somebody else makes of the schema as it was written, made when first asked for and
    /// kept: the rules in CEL, which are not evaluated here. Always ask for the same type.
    pub fn rules<T: Any + Send + Sync>(&self, make: impl FnOnce(&Value) -> T) -> Arc<T> {
        let kept = self.rules.get_or_init(|| {
            let definition = self.definition();
            Arc::new(make(schema_of(&definition, self.version).unwrap_or(&Value::Null)))
        });
        match Arc::clone(kept).downcast() {
            Ok(kept) => kept,
            Err(_) => unreachable!("one type is asked for"),
        }
    }

    /// The definition as it is stored.
    pub fn definition(&self) -> Value {
        serde_json::from_slice(&self.source).unwrap_or_default()
    }

    /// Index of the version in `spec.versions` of the definition.
    pub(crate) fn version(&self) -> usize {
        self.version
    }
}

/// The schema of a version as it was written.
pub(crate) fn schema_of(definition: &Value, version: usize) -> Option<&Value> {
    let versions = object::list(definition, &["spec", "versions"]);
    versions.get(version)?.pointer("/schema/openAPIV3Schema")
}

/// Prunes a decoded object; returns `unknown field "…"` for each field dropped, or why its
/// metadata cannot be read.
pub(crate) fn conform(custom: &Custom, value: &mut Value) -> Result<Vec<String>, String> {
    conform::conform(custom.shape(), value)
}

/// Fills in defaults, and drops nulls where none are allowed.
pub(crate) fn default(custom: &Custom, value: &mut Value) {
    defaults::default(custom.shape(), value);
}

/// What is wrong with a new object, or with replacing `old` by it. What was already wrong and did
/// not change is let pass. Metadata of the object itself is checked elsewhere.
pub(crate) fn check(
    resource: &Resource,
    custom: &Custom,
    new: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let shape = custom.shape();
    let mut errors = values::check(shape, new, old);
    errors.extend(embedded::check(shape, new, old));
    errors.extend(lists::check(shape, new, old));
    if let Some(scale) = &resource.scale {
        for path in [&scale.spec_replicas, &scale.status_replicas] {
            let steps: Vec<&str> = path.split('.').filter(|step| !step.is_empty()).collect();
            if object::integer(new, &steps).is_some_and(|replicas| replicas < 0) {
                let value = object::at(new, &steps).cloned().unwrap_or_default();
                let at = Path::new(path.trim_start_matches('.'));
                errors.push(FieldError::invalid(&at, value, "should be a non-negative integer"));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests;
