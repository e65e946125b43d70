//! The tree of an expression. Macros are nodes of their own, not expanded into accumulators.

use std::sync::Arc;

/// Deepest tree: evaluation recurses as deep.
pub(crate) const DEPTH_MAX: u16 = 200;

/// A node.
#[derive(Debug)]
pub(crate) struct Expr {
    /// Index into the tables the checker makes.
    pub(crate) id: u32,
    /// Byte offset of what the node is named by: its operator, bracket or first letter.
    pub(crate) at: u32,
    /// Nodes on the longest way down, this one included.
    pub(crate) depth: u16,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    Ident(Box<str>),
    /// `operand.field`
    Select(Box<Expr>, Box<str>),
    /// `has(operand.field)`
    Has(Box<Expr>, Box<str>),
    /// `operand.?field`
    OptionalSelect(Box<Expr>, Box<str>),
    /// `left && right`
    And(Box<Expr>, Box<Expr>),
    /// `left || right`
    Or(Box<Expr>, Box<Expr>),
    /// `condition ? yes : no`
    Conditional(Box<[Expr; 3]>),
    /// A function, a method or an operator.
    Call(Box<Call>),
    /// `[a, ?b]`
    List(Vec<Item>),
    /// `{k: v, ?k: v}`
    Map(Vec<Entry>),
    /// `Name{field: value}`
    Struct(Box<str>, Vec<StructField>),
    /// A macro that goes through a list or map.
    Fold(Box<Fold>),
    /// `cel.bind(name, value, body)`
    Bind(Box<Bind>),
    /// `target.optMap(name, body)`, `target.optFlatMap(name, body)`
    OptionalMap {
        flat: bool,
        bind: Box<Bind>,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Debug)]
pub(crate) struct Call {
    /// `size`, `_+_`, `_[_]`
    pub(crate) function: Box<str>,
    pub(crate) target: Option<Expr>,
    pub(crate) args: Vec<Expr>,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) optional: bool,
    pub(crate) value: Expr,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) optional: bool,
    pub(crate) key: Expr,
    pub(crate) value: Expr,
}

#[derive(Debug)]
pub(crate) struct StructField {
    pub(crate) optional: bool,
    pub(crate) at: u32,
    pub(crate) name: Box<str>,
    pub(crate) value: Expr,
}

/// What a fold makes of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    /// `map` and `transformList`
    List,
    Filter,
    /// `transformMap`
    Map,
    /// `transformMapEntry`
    MapEntry,
    /// `sortBy`
    SortBy,
}

#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) kind: FoldKind,
    pub(crate) range: Expr,
    /// The item of a list, the key of a map; index or key where there is a second one.
    pub(crate) first: Box<str>,
    /// The item of a list or the value of a map.
    pub(crate) second: Option<Box<str>>,
    pub(crate) filter: Option<Expr>,
    pub(crate) body: Expr,
}

#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) name: Box<str>,
    pub(crate) value: Expr,
    pub(crate) body: Expr,
}

impl Kind {
    /// Calls `visit` with each node directly below.
    pub(crate) fn each<'e>(&'e self, mut visit: impl FnMut(&'e Expr)) {
        match self {
            Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select(operand, _) | Kind::Has(operand, _) | Kind::OptionalSelect(operand, _) => {
                visit(operand);
            }
            Kind::And(left, right) | Kind::Or(left, right) => {
                visit(left);
                visit(right);
            }
            Kind::Conditional(parts) => parts.iter().for_each(visit),
            Kind::Call(call) => call.target.iter().chain(&call.args).for_each(visit),
            Kind::List(items) => items.iter().for_each(|item| visit(&item.value)),
            Kind::Map(entries) => entries.iter().for_each(|entry| {
                visit(&entry.key);
                visit(&entry.value);
            }),
            Kind::Struct(_, fields) => fields.iter().for_each(|field| visit(&field.value)),
            Kind::Fold(fold) => {
                visit(&fold.range);
                fold.filter.iter().for_each(&mut visit);
                visit(&fold.body);
            }
            Kind::Bind(bind) | Kind::OptionalMap { bind, .. } => {
                visit(&bind.value);
                visit(&bind.body);
            }
        }
    }
}

impl Expr {
    /// `a.b.c` if the node is a plain chain of names.
    pub(crate) fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select(operand, field) => Some(format!("{}.{field}", operand.qualified_name()?)),
            _ => None,
        }
    }

    /// The name a chain of names begins with.
    pub(crate) fn root_name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(name) => Some(name),
            Kind::Select(operand, _) => operand.root_name(),
            _ => None,
        }
    }

    /// The text, if the node is a literal text.
    pub(crate) fn literal_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Literal(Literal::String(text)) => Some(text),
            _ => None,
        }
    }
}
