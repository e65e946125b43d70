//! The type check: what each node is, what each name and call refers to.

mod calls;
mod literals;
pub(crate) mod signatures;
mod structs;
mod unify;

use std::sync::Arc;

use regex_automata::meta::Regex;

use crate::environment::Environment;
use crate::library::{Handler, Price};
use crate::syntax::ast::{Expr, Fold, FoldKind, Kind, Literal};
use crate::syntax::{CompileError, Source};
use crate::types::Type;
use unify::Unifier;

/// Most errors that are told of one expression.
const ERRORS_MAX: usize = 20;

/// What the checker found out about a node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) ty: Type,
    pub(crate) refers: Refers,
}

/// What a node refers to.
#[derive(Clone, Debug)]
pub(crate) enum Refers {
    Nothing,
    /// A name the environment declares.
    Variable,
    /// The expression of this name in `variables`.
    Composed,
    /// A type.
    Type(Arc<Type>),
    Function(Arc<Function>),
}

/// A function as one call uses it.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: Box<str>,
    pub(crate) handler: Handler,
    pub(crate) price: Price,
    /// Names of the overloads that fit.
    pub(crate) overloads: Vec<&'static str>,
    /// What the call looks called on is part of the name: `sets.contains(a, b)`.
    pub(crate) namespaced: bool,
    /// The pattern, where it is a literal.
    pub(crate) regex: Option<Regex>,
}

/// The table of nodes and all that is wrong.
pub(crate) struct Checked {
    pub(crate) nodes: Vec<Node>,
    pub(crate) errors: Vec<CompileError>,
}

/// Checks a tree of `count` nodes.
pub(crate) fn check(
    source: Source<'_>,
    environment: &Environment,
    expr: &Expr,
    count: usize,
) -> Checked {
    let unknown = Node { ty: Type::Error, refers: Refers::Nothing };
    let mut checker = Checker {
        source,
        environment,
        nodes: vec![unknown; count],
        errors: Vec::new(),
        scopes: Vec::new(),
        types: Unifier::default(),
        mixed: 0,
    };
    checker.visit(expr);
    let types = checker.types;
    for node in &mut checker.nodes {
        node.ty = types.resolve(&node.ty, true);
    }
    Checked { nodes: checker.nodes, errors: checker.errors }
}

struct Checker<'c> {
    source: Source<'c>,
    environment: &'c Environment,
    nodes: Vec<Node>,
    errors: Vec<CompileError>,
    /// Names of macros, innermost last.
    scopes: Vec<(Box<str>, Type)>,
    types: Unifier,
    /// Within how many calls that take lists of mixed types.
    mixed: usize,
}

impl Checker<'_> {
    fn error(&mut self, at: u32, message: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(self.source.error(at, message));
        }
    }

    fn show(&self, ty: &Type) -> String {
        self.types.resolve(ty, false).to_string()
    }

    fn refer(&mut self, expr: &Expr, refers: Refers) {
        self.nodes[expr.id as usize].refers = refers;
    }

    /// Checks a node and all below; its type.
    fn visit(&mut self, expr: &Expr) -> Type {
        let ty = match &expr.kind {
            Kind::Literal(literal) => literal_type(literal),
            Kind::Ident(name) => self.ident(expr, name),
            Kind::Select(operand, field) => self.select(expr, operand, field),
            Kind::Has(operand, field) => {
                let operand = self.visit(operand);
                self.field_type(expr.at, &operand, field);
                Type::Bool
            }
            Kind::OptionalSelect(operand, field) => {
                let operand = self.visit(operand);
                match self.field_type(expr.at, &operand, field) {
                    optional @ Type::Optional(_) => optional,
                    plain => Type::optional(plain),
                }
            }
            Kind::And(left, right) => self.logical(expr, "_&&_", left, right),
            Kind::Or(left, right) => self.logical(expr, "_||_", left, right),
            Kind::Conditional(parts) => self.conditional(expr, parts),
            Kind::Call(call) => self.call(expr, call),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct(name, fields) => self.structure(expr, name, fields),
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind(bind) => {
                let value = self.visit(&bind.value);
                self.within(&bind.name, value, |checker| checker.visit(&bind.body))
            }
            Kind::OptionalMap { flat, bind } => {
                let inner = self.types.fresh();
                let target = self.visit(&bind.value);
                self.expect(bind.value.at, &Type::optional(inner.clone()), &target);
                let body = self.within(&bind.name, inner, |checker| checker.visit(&bind.body));
                if *flat {
                    let result = Type::optional(self.types.fresh());
                    self.expect(bind.body.at, &result, &body);
                    result
                } else {
                    Type::optional(body)
                }
            }
        };
        self.nodes[expr.id as usize].ty = ty.clone();
        ty
    }

    /// With a name that a macro declares.
    fn within<T>(&mut self, name: &str, ty: Type, work: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push((name.into(), ty));
        let result = work(self);
        self.scopes.pop();
        result
    }

    fn expect(&mut self, at: u32, wanted: &Type, found: &Type) {
        if !self.types.assign(wanted, found) {
            let (wanted, found) = (self.show(wanted), self.show(found));
            self.error(at, format!("expected type '{wanted}' but found '{found}'"));
        }
    }

    fn ident(&mut self, expr: &Expr, name: &str) -> Type {
        if let Some((_, ty)) = self.scopes.iter().rev().find(|(one, _)| one.as_ref() == name) {
            return ty.clone();
        }
        match self.global(expr, name) {
            Some(ty) => ty,
            None => {
                self.error(expr.at, format!("undeclared reference to '{name}' (in container '')"));
                Type::Error
            }
        }
    }

    /// The type of a declared name or of a type's name.
    fn global(&mut self, expr: &Expr, name: &str) -> Option<Type> {
        if let Some(ty) = self.environment.variable_type(name) {
            self.refer(expr, Refers::Variable);
            return Some(ty);
        }
        let named = Type::named(name).map(Arc::new)?;
        self.refer(expr, Refers::Type(Arc::clone(&named)));
        Some(Type::Type(named))
    }

    fn is_local(&self, name: &str) -> bool {
        self.scopes.iter().any(|(one, _)| one.as_ref() == name)
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str) -> Type {
        let root = expr.root_name().unwrap_or_default();
        if !root.is_empty() && !self.is_local(root) {
            if let Kind::Ident(name) = &operand.kind
                && name.as_ref() == "variables"
                && self.environment.has_composed()
            {
                return self.composed(expr, field);
            }
            let whole = expr.qualified_name().unwrap_or_default();
            if let Some(ty) = self.global(expr, &whole) {
                return ty;
            }
        }
        let operand = self.visit(operand);
        self.field_type(expr.at, &operand, field)
    }

    fn composed(&mut self, expr: &Expr, name: &str) -> Type {
        match self.environment.composed_type(name) {
            Some(ty) => {
                self.refer(expr, Refers::Composed);
                ty
            }
            None => {
                self.error(expr.at, format!("undefined field '{name}'"));
                Type::Error
            }
        }
    }

    /// The type of `operand.field`.
    fn field_type(&mut self, at: u32, operand: &Type, field: &str) -> Type {
        let operand = self.types.resolve(operand, false);
        match &operand {
            Type::Error | Type::Dyn | Type::Param(_) => Type::Dyn,
            Type::Map(_, value) => value.as_ref().clone(),
            Type::Optional(inner) => match self.field_type(at, inner, field) {
                optional @ Type::Optional(_) => optional,
                plain => Type::optional(plain),
            },
            Type::Object(object) if object.is_open() => Type::Dyn,
            Type::Object(object) => match object.field(field) {
                Some(found) => found.decl.ty(),
                None => {
                    self.error(at, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            other => {
                let other = self.show(other);
                self.error(at, format!("type '{other}' does not support field selection"));
                Type::Error
            }
        }
    }

    fn logical(&mut self, expr: &Expr, name: &str, left: &Expr, right: &Expr) -> Type {
        let types = [self.visit(left), self.visit(right)];
        if !self.types.assign_all(&[Type::Bool, Type::Bool], &types) {
            self.no_overload(expr.at, name, None, &types);
        }
        Type::Bool
    }

    fn conditional(&mut self, expr: &Expr, parts: &[Expr; 3]) -> Type {
        let [condition, yes, no] = parts;
        let types = [self.visit(condition), self.visit(yes), self.visit(no)];
        let open = self.types.fresh();
        let wanted = [Type::Bool, open.clone(), open];
        if !self.types.assign_all(&wanted, &types) {
            self.no_overload(expr.at, "_?_:_", None, &types);
            return Type::Error;
        }
        self.types.most_general(&types[1], &types[2])
    }

    fn fold(&mut self, fold: &Fold) -> Type {
        let range = self.visit(&fold.range);
        let range = self.types.shallow(&range);
        let (index, item, is_list) = match &range {
            Type::List(item) => (Type::Int, item.as_ref().clone(), true),
            Type::Map(key, value) => (key.as_ref().clone(), value.as_ref().clone(), false),
            Type::Error | Type::Dyn | Type::Param(_) => (Type::Dyn, Type::Dyn, true),
            other => {
                let shown = self.show(other);
                let why = "cannot be range of a comprehension (must be list, map, or dynamic)";
                self.error(fold.range.at, format!("expression of type '{shown}' {why}"));
                (Type::Error, Type::Error, true)
            }
        };
        let first = match (&fold.second, is_list) {
            (Some(_), _) | (None, false) => index.clone(),
            (None, true) => item.clone(),
        };
        let depth = self.scopes.len();
        self.scopes.push((fold.first.clone(), first.clone()));
        if let Some(second) = &fold.second {
            self.scopes.push((second.clone(), item.clone()));
        }
        if let Some(filter) = &fold.filter {
            let found = self.visit(filter);
            self.expect(filter.at, &Type::Bool, &found);
        }
        let body = self.visit(&fold.body);
        self.scopes.truncate(depth);
        match fold.kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => {
                self.expect(fold.body.at, &Type::Bool, &body);
                Type::Bool
            }
            FoldKind::Filter => {
                self.expect(fold.body.at, &Type::Bool, &body);
                Type::list(first)
            }
            FoldKind::List => Type::list(body),
            FoldKind::Map => Type::Map(Arc::new(index), Arc::new(body)),
            FoldKind::MapEntry => body,
            FoldKind::SortBy => {
                if !self.is_ordered(&body) {
                    let shown = self.show(&body);
                    self.error(
                        fold.body.at,
                        format!("list elements cannot be sorted by '{shown}'"),
                    );
                }
                Type::list(item)
            }
        }
    }

    /// Whether values of a type have an order.
    fn is_ordered(&self, ty: &Type) -> bool {
        !matches!(
            self.types.shallow(ty),
            Type::List(_)
                | Type::Map(_, _)
                | Type::Object(_)
                | Type::Opaque(_)
                | Type::Optional(_)
                | Type::Type(_)
                | Type::Null
        )
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
