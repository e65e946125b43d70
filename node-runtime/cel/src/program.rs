//! Expressions that were checked, and their evaluation.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::authorizer::{Authorizer, AuthorizerValue, ResourceCheck};
use crate::budget::Budget;
use crate::check::{Node, check};
use crate::environment::Environment;
use crate::error::EvalError;
use crate::estimate::{self, Cost};
use crate::eval::Run;
use crate::syntax::ast::{Expr, Kind};
use crate::syntax::{CompileError, Source, parse};
use crate::types::Type;
use crate::value::{Library, Value};

/// An expression that was parsed and checked.
#[derive(Debug)]
pub struct Program {
    pub(crate) expr: Expr,
    pub(crate) nodes: Vec<Node>,
    cost: Cost,
}

impl Program {
    /// Checks an expression against what its environment declares.
    ///
    /// # Errors
    /// All that is wrong with it, first what comes first.
    pub fn compile(environment: &Environment, text: &str) -> Result<Program, Vec<CompileError>> {
        let source = Source(text);
        let (expr, count) = parse(source).map_err(|error| vec![error])?;
        let checked = check(source, environment, &expr, count);
        if !checked.errors.is_empty() {
            let mut errors = checked.errors;
            errors.sort_by_key(|error| (error.line, error.column));
            return Err(errors);
        }
        let cost = estimate::cost(environment, &expr, &checked.nodes);
        Ok(Program { expr, nodes: checked.nodes, cost })
    }

    /// The type of its results; [`Type::Dyn`] where that is only known when it is evaluated.
    pub fn ty(&self) -> &Type {
        &self.nodes[self.expr.id as usize].ty
    }

    /// The most that an evaluation may cost, by what is declared of sizes.
    pub fn cost_max(&self) -> u64 {
        self.cost.max
    }

    /// Whether the expression names a variable anywhere.
    pub fn uses(&self, variable: &str) -> bool {
        fn uses(expr: &Expr, variable: &str) -> bool {
            let mut found = matches!(&expr.kind, Kind::Ident(name) if name.as_ref() == variable);
            expr.kind.each(|below| found = found || uses(below, variable));
            found
        }
        uses(&self.expr, variable)
    }

    /// Whether the expression reads `variable.field` anywhere; `has(variable.field)` does not.
    pub fn selects(&self, variable: &str, field: &str) -> bool {
        fn selects(expr: &Expr, variable: &str, field: &str) -> bool {
            let is_variable =
                |of: &Expr| matches!(&of.kind, Kind::Ident(name) if name.as_ref() == variable);
            let mut found = match &expr.kind {
                Kind::Select(of, name) | Kind::OptionalSelect(of, name) => {
                    name.as_ref() == field && is_variable(of)
                }
                _ => false,
            };
            expr.kind.each(|below| found = found || selects(below, variable, field));
            found
        }
        selects(&self.expr, variable, field)
    }

    /// Evaluates it with these values. What it costs is taken from the budget.
    ///
    /// # Errors
    /// Why it has no result: what it says cannot be, or it went over a limit.
    pub fn evaluate<'a>(
        &self,
        bindings: &Bindings<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        if budget.left() == 0 {
            return Err(EvalError::out_of_budget());
        }
        let mut meter = budget.meter();
        let result = Run::new(self, bindings, &mut meter).eval(&self.expr);
        if !budget.take(meter.cost) {
            return Err(EvalError::out_of_budget());
        }
        result
    }
}

/// The values of variables.
#[derive(Default)]
pub struct Bindings<'a> {
    values: Vec<(Box<str>, Value<'a>)>,
    composed: HashMap<Box<str>, &'a Program>,
    results: RefCell<HashMap<Box<str>, Result<Value<'a>, EvalError>>>,
}

impl<'a> Bindings<'a> {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value<'a>) -> Self {
        self.values.push((name.into(), value));
        self
    }

    /// With `authorizer`, and `authorizer.requestResource` for the resource of the request.
    #[must_use]
    pub fn with_authorizer(
        self,
        authorizer: &'a dyn Authorizer,
        request_resource: ResourceCheck,
    ) -> Self {
        let value = AuthorizerValue { authorizer, service_account: None };
        let resource = Library::ResourceCheck(value.clone(), Arc::new(request_resource));
        self.with("authorizer", Value::Library(Library::Authorizer(value)))
            .with("authorizer.requestResource", Value::Library(resource))
    }

    /// With `variables.name`: evaluated when it is first asked for, once for all expressions that
    /// are evaluated with these bindings.
    #[must_use]
    pub fn with_composed(mut self, name: &str, program: &'a Program) -> Self {
        self.composed.insert(name.into(), program);
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.values.iter().find(|(one, _)| one.as_ref() == name).map(|(_, value)| value)
    }

    pub(crate) fn composed(&self, name: &str) -> Option<&'a Program> {
        self.composed.get(name).copied()
    }

    pub(crate) fn known(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        self.results.borrow().get(name).cloned()
    }

    pub(crate) fn remember(&self, name: &str, result: Result<Value<'a>, EvalError>) {
        self.results.borrow_mut().insert(name.into(), result);
    }
}
