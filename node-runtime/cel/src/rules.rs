//! `x-kubernetes-validations`: rules in the schemas of custom resources.
//!
//! [`Rules::compile`] says what is wrong with the rules of a definition, [`Rules::of`] takes those of
//! a stored one. [`Rules::validate`] evaluates them over an object: each rule where its schema
//! stands, `self` the value there, `oldSelf` the value it had.

mod compile;
mod field_path;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use minik_meta::FieldError;

use crate::decl::{Decl, ListKind};
use crate::program::Program;

/// What one rule, or one message, may cost by estimate.
pub const ESTIMATE_MAX: u64 = 10_000_000;
/// What all rules of a definition's version may cost by estimate.
pub const TOTAL_ESTIMATE_MAX: u64 = 100_000_000;

/// The compiled rules of one schema.
#[derive(Debug, Default)]
pub struct Rules {
    /// None if there are no rules anywhere.
    root: Option<Node>,
}

/// What evaluation found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Rules that do not hold.
    pub errors: Vec<FieldError>,
    /// Rules that do not hold for values that were so before: not enforced, but told.
    pub warnings: Vec<String>,
}

/// The rules of one place in a schema and of all places below.
#[derive(Debug)]
struct Node {
    decl: Option<Arc<Decl>>,
    /// `object`, `string`
    type_name: Box<str>,
    rules: Vec<Rule>,
    properties: BTreeMap<Box<str>, Node>,
    /// Values of a map.
    others: Option<Box<Node>>,
    items: Option<Box<Node>>,
    /// Rules of `allOf`, over the same values.
    all_of: Vec<Node>,
    list: ListKind,
}

/// One rule.
#[derive(Debug)]
struct Rule {
    /// The expression as it was written.
    text: Box<str>,
    /// What to say if it does not hold; may be empty.
    message: Box<str>,
    reason: Box<str>,
    /// Where the failure is, below the place of the rule; may be empty.
    field_path: Box<str>,
    uses_old: bool,
    optional_old: bool,
    program: Result<Program, String>,
    message_program: Option<(Program, Box<str>)>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.rules.is_empty()
            && self.properties.is_empty()
            && self.others.is_none()
            && self.items.is_none()
            && self.all_of.is_empty()
    }
}

impl Rules {
    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

impl Rule {
    /// What names the rule in errors.
    fn shown(&self) -> &str {
        if self.message.is_empty() { self.text.trim() } else { self.message.trim() }
    }
}
