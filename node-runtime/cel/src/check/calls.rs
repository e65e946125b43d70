//! Which function a call means.

use std::sync::Arc;

use super::signatures::{Overload, overloads};
use super::unify::Unifier;
use super::{Checker, Function, Refers};
use crate::library;
use crate::syntax::ast::{Call, Expr};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn call(&mut self, expr: &Expr, call: &Call) -> Type {
        // What is formatted may be of any type, each of its own.
        let formats = usize::from(call.function.as_ref() == "format");
        self.mixed += formats;
        let arguments: Vec<Type> = call.args.iter().map(|arg| self.visit(arg)).collect();
        self.mixed -= formats;
        let Some(target) = &call.target else {
            return self.resolve(expr, call, &call.function, None, arguments);
        };
        let local = target.root_name().is_some_and(|name| self.is_local(name));
        if !local && let Some(space) = target.qualified_name() {
            let name = format!("{space}.{}", call.function);
            if !overloads(&name).is_empty() {
                return self.resolve(expr, call, &name, None, arguments);
            }
        }
        let target = self.visit(target);
        self.resolve(expr, call, &call.function, Some(target), arguments)
    }

    fn resolve(
        &mut self,
        expr: &Expr,
        call: &Call,
        name: &str,
        target: Option<Type>,
        arguments: Vec<Type>,
    ) -> Type {
        let known = overloads(name);
        let handler = library::handler(name, target.is_some());
        if known.is_empty() {
            self.error(expr.at, format!("undeclared reference to '{name}' (in container '')"));
            return Type::Error;
        }
        let method = target.is_some();
        let types: Vec<Type> = target.iter().cloned().chain(arguments.iter().cloned()).collect();
        let found = self.matching(known, method, &types);
        let Some((result, ids)) = found else {
            self.no_overload(expr.at, name, target.as_ref(), &arguments);
            return Type::Error;
        };
        let Some(handler) = handler else {
            self.error(expr.at, format!("undeclared reference to '{name}' (in container '')"));
            return Type::Error;
        };
        let function = Function {
            name: name.into(),
            handler,
            price: library::price(name),
            overloads: ids,
            namespaced: call.target.is_some() && !method,
            regex: self.literal_argument(name, call),
        };
        self.refer(expr, Refers::Function(Arc::new(function)));
        result
    }

    /// The result of all overloads that take these arguments, and their names.
    fn matching(
        &mut self,
        known: &'static [Overload],
        method: bool,
        types: &[Type],
    ) -> Option<(Type, Vec<&'static str>)> {
        let mut result: Option<Type> = None;
        let mut ids = Vec::new();
        for overload in known.iter().filter(|one| one.method == method) {
            let fresh: Vec<Type> = (0..overload.params).map(|_| self.types.fresh()).collect();
            let wanted: Vec<Type> =
                overload.args.iter().map(|arg| Unifier::instantiate(arg, &fresh)).collect();
            if !self.types.assign_all(&wanted, types) {
                continue;
            }
            ids.push(overload.id);
            let own = Unifier::instantiate(&overload.result, &fresh);
            let own = self.types.resolve(&own, false);
            result = Some(match result {
                None => own,
                Some(before) if before == own => own,
                Some(_) => Type::Dyn,
            });
        }
        Some((result?, ids))
    }

    pub(super) fn no_overload(
        &mut self,
        at: u32,
        name: &str,
        target: Option<&Type>,
        arguments: &[Type],
    ) {
        let shown: Vec<String> = arguments.iter().map(|ty| self.show(ty)).collect();
        let target = target.map(|ty| format!("{}.", self.show(ty))).unwrap_or_default();
        let signature = format!("{target}({})", shown.join(", "));
        let why = format!("found no matching overload for '{name}' applied to '{signature}'");
        self.error(at, why);
    }
}
