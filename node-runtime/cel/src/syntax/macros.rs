//! Calls that are macros: they name variables of their own.

use super::ast::{Bind, Call, Expr, Fold, FoldKind, Kind};
use super::lex::Wrong;
use super::parse::Parser;

/// The node of a call, which may be that of a macro.
pub(super) fn call(
    parser: &mut Parser<'_>,
    at: u32,
    name: &str,
    target: Option<Expr>,
    args: Vec<Expr>,
) -> Result<Expr, Wrong> {
    let Some(target) = target else {
        if name == "has" && args.len() == 1 {
            return has(parser, at, args);
        }
        return parser.call(at, name, args);
    };
    let is_cel = matches!(&target.kind, Kind::Ident(name) if name.as_ref() == "cel");
    match (name, args.len()) {
        ("bind", 3) if is_cel => {
            let [name, value, body] = exactly(args);
            let bind = Bind { name: simple_name(&name)?, value, body };
            parser.node(at, Kind::Bind(Box::new(bind)))
        }
        ("optMap" | "optFlatMap", 2) => {
            let flat = name == "optFlatMap";
            let [name, body] = exactly(args);
            let bind = Box::new(Bind { name: simple_name(&name)?, value: target, body });
            parser.node(at, Kind::OptionalMap { flat, bind })
        }
        (_, count) => match Shape::of(name, count) {
            Some(shape) => fold(parser, at, shape, target, args),
            None => {
                let call = Call { function: name.into(), target: Some(target), args };
                parser.node(at, Kind::Call(Box::new(call)))
            }
        },
    }
}

/// What the arguments of a fold are.
struct Shape {
    kind: FoldKind,
    two_names: bool,
    filter: bool,
}

impl Shape {
    fn of(name: &str, count: usize) -> Option<Shape> {
        let (kind, two_names, filter) = match (name, count) {
            ("all", 2 | 3) => (FoldKind::All, count == 3, false),
            ("exists", 2 | 3) => (FoldKind::Exists, count == 3, false),
            ("exists_one" | "existsOne", 2 | 3) => (FoldKind::ExistsOne, count == 3, false),
            ("filter", 2) => (FoldKind::Filter, false, false),
            ("map", 2 | 3) => (FoldKind::List, false, count == 3),
            ("transformList", 3 | 4) => (FoldKind::List, true, count == 4),
            ("transformMap", 3 | 4) => (FoldKind::Map, true, count == 4),
            ("transformMapEntry", 3 | 4) => (FoldKind::MapEntry, true, count == 4),
            ("sortBy", 2) => (FoldKind::SortBy, false, false),
            _ => return None,
        };
        Some(Shape { kind, two_names, filter })
    }
}

fn fold(
    parser: &mut Parser<'_>,
    at: u32,
    shape: Shape,
    range: Expr,
    args: Vec<Expr>,
) -> Result<Expr, Wrong> {
    let mut args = args.into_iter();
    let mut next = || args.next().expect("counted by Shape::of");
    let first = simple_name(&next())?;
    let second = match shape.two_names {
        true => Some(simple_name(&next())?),
        false => None,
    };
    let filter = shape.filter.then(&mut next);
    let body = next();

    if shape.kind == FoldKind::MapEntry && !matches!(body.kind, Kind::Map(_)) {
        return Err(Wrong::new(body.at, "transformMapEntry() takes a map literal"));
    }
    if second.as_deref() == Some(first.as_ref()) {
        return Err(Wrong::new(at, format!("duplicate variable name: {first}")));
    }
    let fold = Fold { kind: shape.kind, range, first, second, filter, body };
    parser.node(at, Kind::Fold(Box::new(fold)))
}

fn has(parser: &mut Parser<'_>, at: u32, args: Vec<Expr>) -> Result<Expr, Wrong> {
    let [arg] = exactly(args);
    match arg.kind {
        Kind::Select(operand, field) => parser.node(at, Kind::Has(operand, field)),
        _ => Err(Wrong::new(arg.at, "invalid argument to has() macro")),
    }
}

fn simple_name(expr: &Expr) -> Result<Box<str>, Wrong> {
    match &expr.kind {
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err(Wrong::new(expr.at, "argument must be a simple name")),
    }
}

fn exactly<const N: usize>(args: Vec<Expr>) -> [Expr; N] {
    args.try_into().expect("counted by the caller")
}
