//! minik-cel: expressions in CEL, the Common Expression Language, as Kubernetes v1.36 has them.
//!
//! [`Program::compile`] parses and checks an expression against what an [`Environment`] declares;
//! [`Program::evaluate`] evaluates it with [`Bindings`], within a [`Budget`]. [`rules`] does so with
//! the `x-kubernetes-validations` of a custom resource's schema. Plain functions: no I/O, no clock.
//!
//! Parser, checker and evaluator are our own. The `cel` crate, which was tried, evaluates without a
//! limit and cannot be stopped, checks no types, and knows no source positions in its errors; what
//! would have been left of it is a grammar of two pages.
//!
//! **Types** are checked as upstream does: undeclared names and fields, calls with arguments that no
//! overload takes, mixed lists, results. Not checked: what is dynamic (any JSON, `int-or-string`,
//! quantities of built-in kinds), the fields of `Object{…}` in mutations, and the format string of
//! `format()` (wrong ones fail when they are evaluated).
//!
//! **Costs** are upstream's units: [`Program::cost_max`] is the estimate that definitions are refused
//! by, and evaluation counts what is really spent. Estimates follow upstream's formulas; what an
//! evaluation spends may differ from upstream's count by small constants per operation. Besides,
//! steps and bytes are counted, so that no expression runs long or makes much, whatever its costs.
//!
//! **Depth** is bounded in the text (200), in the tree and in evaluation: nothing here recurses
//! without a limit, and nothing panics on what users write.

mod authorizer;
mod budget;
mod check;
mod decl;
mod environment;
mod error;
mod estimate;
mod eval;
mod library;
mod program;
pub mod rules;
mod syntax;
mod types;
mod value;

pub use authorizer::{Authorizer, Check, CheckTarget, Decision, ResourceCheck};
pub use budget::{Budget, COST_PER_CALL, COST_PER_MATCH_CONDITIONS, COST_PER_REQUEST};
pub use decl::{Decl, admission, escape, unescape};
pub use environment::Environment;
pub use error::{EvalError, EvalErrorKind};
pub use program::{Bindings, Program};
pub use syntax::CompileError;
pub use types::{Opaque, Type};
pub use value::{Library, List, Map, Object, OwnedMap, Text, Value};
