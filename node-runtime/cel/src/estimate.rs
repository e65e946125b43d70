//! What an expression may cost at most, from the sizes that schemas declare.
//!
//! The formulas are upstream's: a definition that is taken there is taken here, and one that is
//! refused there is refused here.

mod calls;
mod range;

use std::sync::{Arc, LazyLock};

use crate::check::{Node, Refers};
use crate::decl::{Decl, DeclKind};
use crate::environment::Environment;
use crate::syntax::ast::{Expr, Fold, FoldKind, Kind, Literal};
use crate::types::Type;
pub(crate) use range::Range;

/// The least and the most that something costs.
pub(crate) type Cost = Range;

const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;
const STRUCT_COST: u64 = 40;

/// Keys of maps have no declared length, which upstream takes for none.
static KEY: LazyLock<Arc<Decl>> = LazyLock::new(|| Decl::new(DeclKind::String, 0, 2));

/// The estimate of a checked tree.
pub(crate) fn cost(environment: &Environment, expr: &Expr, nodes: &[Node]) -> Cost {
    let mut estimator = Estimator { environment, nodes, scopes: Vec::new() };
    estimator.part(expr).cost
}

/// What is known of a node.
#[derive(Clone, Debug)]
struct Part {
    cost: Cost,
    size: Option<Range>,
    entry: Option<Entry>,
    /// What is declared of the value, if it is a part of the input.
    place: Option<Arc<Decl>>,
    ty: Type,
}

/// Sizes of keys and items of a list or map that the expression makes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    is_list: bool,
    key: Range,
    value: Range,
}

impl Entry {
    fn union(left: Option<Entry>, right: Option<Entry>) -> Option<Entry> {
        let (left, right) = (left?, right?);
        let (key, value) = (left.key.union(right.key), left.value.union(right.value));
        Some(Entry { is_list: left.is_list, key, value })
    }
}

impl Part {
    fn size(&self) -> Range {
        self.size.unwrap_or(Range::UNKNOWN)
    }
}

struct Variable {
    name: Box<str>,
    place: Option<Arc<Decl>>,
    size: Option<Range>,
    entry: Option<Entry>,
}

struct Estimator<'e> {
    environment: &'e Environment,
    nodes: &'e [Node],
    scopes: Vec<Variable>,
}

impl Estimator<'_> {
    fn ty(&self, expr: &Expr) -> Type {
        self.nodes[expr.id as usize].ty.clone()
    }

    fn part(&mut self, expr: &Expr) -> Part {
        let ty = self.ty(expr);
        let mut part = self.bare_part(expr, ty.clone());
        // In this order: what the expression says, what the schema says, what the type says.
        if part.size.is_none() || matches!(expr.kind, Kind::Ident(_)) {
            let declared = part.place.as_ref().map(|decl| Range::new(0, decl.size_max));
            let scalar = ty.is_scalar().then_some(Range::fixed(1));
            part.size = declared.or(scalar).or(part.size);
        }
        part
    }

    fn bare_part(&mut self, expr: &Expr, ty: Type) -> Part {
        let plain = |cost: Cost, ty: Type| Part { cost, size: None, entry: None, place: None, ty };
        match &expr.kind {
            Kind::Literal(literal) => {
                Part { size: Some(literal_size(literal)), ..plain(Range::ZERO, ty) }
            }
            Kind::Ident(name) => self.ident(name, ty),
            Kind::Select(operand, field) => self.select(expr, operand, field, ty),
            Kind::Has(operand, _) => plain(self.part(operand).cost, ty),
            Kind::OptionalSelect(operand, _) => {
                plain(self.part(operand).cost.add(Range::fixed(1)), ty)
            }
            Kind::And(left, right) | Kind::Or(left, right) => {
                let (left, right) = (self.part(left).cost, self.part(right).cost);
                plain(Range::new(left.min, left.add(right).max), ty)
            }
            Kind::Conditional(parts) => {
                let [condition, yes, no] = parts.as_ref().each_ref().map(|one| self.part(one));
                Part {
                    size: Some(yes.size().union(no.size())),
                    entry: Entry::union(yes.entry, no.entry),
                    ..plain(condition.cost.add(yes.cost.union(no.cost)), ty)
                }
            }
            Kind::Call(call) => self.call(expr, call, ty),
            Kind::List(items) => {
                let parts: Vec<Part> = items.iter().map(|item| self.part(&item.value)).collect();
                let entry =
                    Entry { is_list: true, key: Range::fixed(1), value: sizes(parts.iter()) };
                let size = Some(Range::fixed(items.len() as u64));
                Part { size, entry: Some(entry), ..plain(total(&parts, LIST_COST), ty) }
            }
            Kind::Map(entries) => {
                let keys: Vec<Part> = entries.iter().map(|entry| self.part(&entry.key)).collect();
                let values: Vec<Part> =
                    entries.iter().map(|entry| self.part(&entry.value)).collect();
                let entry =
                    Entry { is_list: false, key: sizes(keys.iter()), value: sizes(values.iter()) };
                let cost = total(&keys, MAP_COST).add(total(&values, 0));
                let size = Some(Range::fixed(entries.len() as u64));
                Part { size, entry: Some(entry), ..plain(cost, ty) }
            }
            Kind::Struct(_, fields) => {
                let parts: Vec<Part> = fields.iter().map(|field| self.part(&field.value)).collect();
                plain(total(&parts, STRUCT_COST), ty)
            }
            Kind::Fold(fold) => self.fold(fold, ty),
            Kind::Bind(bind) => {
                let value = self.part(&bind.value);
                let base = value.cost.add(Range::fixed(LIST_COST));
                let (size, entry, place) = (value.size, value.entry, value.place);
                self.scopes.push(Variable { name: bind.name.clone(), place, size, entry });
                let body = self.part(&bind.body);
                self.scopes.pop();
                Part { cost: base.add(body.cost), place: None, ..body }
            }
            Kind::OptionalMap { bind, .. } => {
                let target = self.part(&bind.value).cost.add(Range::fixed(1));
                let name = bind.name.clone();
                self.scopes.push(Variable { name, place: None, size: None, entry: None });
                let body = self.part(&bind.body).cost;
                self.scopes.pop();
                let found = target.add(body).add(Range::fixed(LIST_COST + 1));
                plain(target.add(found.union(Range::fixed(1))), ty)
            }
        }
    }

    fn ident(&self, name: &str, ty: Type) -> Part {
        let cost = Range::fixed(1);
        match self.scopes.iter().rev().find(|one| one.name.as_ref() == name) {
            Some(own) => {
                Part { cost, size: own.size, entry: own.entry, place: own.place.clone(), ty }
            }
            None => {
                let place = self.environment.variable_decl(name).cloned();
                Part { cost, size: None, entry: None, place, ty }
            }
        }
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, ty: Type) -> Part {
        let refers = &self.nodes[expr.id as usize].refers;
        if !matches!(refers, Refers::Nothing) {
            return Part { cost: Range::fixed(2), size: None, entry: None, place: None, ty };
        }
        let operand = self.part(operand);
        let looked_up = matches!(operand.ty, Type::Map(_, _) | Type::Object(_));
        let cost = operand.cost.add(Range::fixed(u64::from(looked_up)));
        let place = operand.place.and_then(|decl| match &decl.kind {
            DeclKind::Object(object) => object.field(field).map(|field| Arc::clone(&field.decl)),
            _ => None,
        });
        Part { cost, size: None, entry: None, place, ty }
    }

    /// Variables of a macro with what is known of the items or keys they stand for.
    fn push_variables(&mut self, fold: &Fold, range: &Part) -> usize {
        let is_list = range.entry.map_or(matches!(range.ty, Type::List(_)), |entry| entry.is_list);
        let item = |of_key: bool| {
            let place = range.place.as_ref().and_then(|decl| match (&decl.kind, of_key) {
                (DeclKind::List(items, _), false) => Some(Arc::clone(items)),
                (DeclKind::Map(values), false) => Some(Arc::clone(values)),
                (DeclKind::Map(_), true) => Some(Arc::clone(&KEY)),
                _ => None,
            });
            let size = range.entry.map(|entry| if of_key { entry.key } else { entry.value });
            (place, size)
        };
        let mut push = |name: &str, (place, size): (Option<Arc<Decl>>, Option<Range>)| {
            self.scopes.push(Variable { name: name.into(), place, size, entry: None });
        };
        match &fold.second {
            Some(second) => {
                push(&fold.first, item(true));
                push(second, item(false));
                2
            }
            None => {
                push(&fold.first, item(!is_list));
                1
            }
        }
    }

    /// As if the macro were expanded into an accumulator.
    fn fold(&mut self, fold: &Fold, ty: Type) -> Part {
        let range = self.part(&fold.range);
        let pushed = self.push_variables(fold, &range);
        let filter = fold.filter.as_ref().map(|filter| self.part(filter).cost);
        let body = self.part(&fold.body);
        self.scopes.truncate(self.scopes.len() - pushed);
        let (initial, step, result) = match fold.kind {
            FoldKind::All => (0, Range::fixed(3).add(Range::new(0, body.cost.max)), 1),
            FoldKind::Exists => (0, Range::fixed(4).add(Range::new(0, body.cost.max)), 1),
            FoldKind::ExistsOne => (0, body.cost.add(Range::new(1, 2)), 2),
            FoldKind::List => (LIST_COST, body.cost.add(Range::fixed(LIST_COST + 2)), 1),
            FoldKind::Filter => (LIST_COST, body.cost.add(Range::new(1, LIST_COST + 3)), 1),
            FoldKind::Map => (MAP_COST, body.cost.add(Range::fixed(3)), 1),
            FoldKind::MapEntry => (MAP_COST, body.cost.add(Range::fixed(2)), 1),
            FoldKind::SortBy => (LIST_COST, body.cost.add(Range::fixed(LIST_COST + 3)), 1),
        };
        let step = match filter {
            // What does not pass costs a look at the accumulator.
            Some(filter) => filter.add(step.union(Range::fixed(1))),
            None => step,
        };
        let count = range.size();
        let cost = range.cost.add(Range::fixed(initial + result)).add(count.times(step));
        let item = match fold.kind {
            FoldKind::List => Some(body.size()),
            FoldKind::Filter | FoldKind::SortBy => {
                Some(range.entry.map(|entry| entry.value).unwrap_or(Range::UNKNOWN))
            }
            _ => None,
        };
        let entry = item.map(|item| Entry {
            is_list: true,
            key: Range::fixed(1),
            value: Range::new(0, item.max),
        });
        let size = match fold.kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => Range::fixed(1),
            _ => count,
        };
        Part { cost, size: Some(size), entry, place: None, ty }
    }
}

fn total(parts: &[Part], base: u64) -> Cost {
    parts.iter().fold(Range::fixed(base), |sum, part| sum.add(part.cost))
}

/// The range of sizes of several values.
fn sizes<'p>(parts: impl Iterator<Item = &'p Part>) -> Range {
    parts.map(Part::size).reduce(Range::union).unwrap_or(Range::ZERO)
}

fn literal_size(literal: &Literal) -> Range {
    Range::fixed(match literal {
        Literal::String(text) => text.chars().count() as u64,
        Literal::Bytes(bytes) => bytes.len() as u64,
        _ => 1,
    })
}

#[cfg(test)]
mod tests;
