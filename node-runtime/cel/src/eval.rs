//! Evaluation: a walk over the tree that counts every step.

mod folds;

use std::sync::Arc;

use crate::budget::Meter;
use crate::check::Refers;
use crate::error::EvalError;
use crate::library::Args;
use crate::program::{Bindings, Program};
use crate::syntax::ast::{Bind, Call, Entry, Expr, Item, Kind, Literal, StructField};
use crate::value::{Map, Object, OwnedMap, Text, Value};

/// Deepest evaluation, through composed variables.
const DEPTH_MAX: u32 = 300;

/// Deepest value of a composed variable.
const NESTED_MAX: u32 = 100;

const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;
const STRUCT_COST: u64 = 40;

pub(crate) type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// One evaluation.
pub(crate) struct Run<'r, 'a> {
    program: &'r Program,
    bindings: &'r Bindings<'a>,
    /// Names of macros, innermost last. What `cel.bind` could not evaluate fails where it is used.
    scope: Vec<(&'r str, Evaluated<'a>)>,
    meter: &'r mut Meter,
}

impl<'r, 'a> Run<'r, 'a> {
    pub(crate) fn new(
        program: &'r Program,
        bindings: &'r Bindings<'a>,
        meter: &'r mut Meter,
    ) -> Self {
        Run { program, bindings, scope: Vec::new(), meter }
    }

    pub(crate) fn eval(&mut self, expr: &'r Expr) -> Evaluated<'a> {
        self.meter.depth += 1;
        if self.meter.depth > DEPTH_MAX {
            return Err(EvalError::from(crate::budget::Stop));
        }
        let scope = self.scope.len();
        let result = self.eval_kind(expr);
        // An error may have left names of macros behind, and be absorbed further out.
        self.scope.truncate(scope);
        self.meter.depth -= 1;
        result
    }

    fn eval_kind(&mut self, expr: &'r Expr) -> Evaluated<'a> {
        match &expr.kind {
            Kind::Literal(literal) => Ok(literal_value(literal)),
            Kind::Ident(name) => self.ident(expr, name),
            Kind::Select(operand, field) => self.select(expr, operand, field),
            Kind::Has(operand, field) => {
                let operand = self.eval(operand)?;
                Ok(Value::Bool(select(&operand, field)?.is_some()))
            }
            Kind::OptionalSelect(operand, field) => {
                let operand = self.eval(operand)?;
                self.meter.charge(1)?;
                let found = select(&operand, field)?;
                Ok(match found {
                    Some(optional @ Value::Optional(_))
                        if matches!(operand, Value::Optional(_)) =>
                    {
                        optional
                    }
                    Some(value) => Value::some(value),
                    None => Value::Optional(None),
                })
            }
            Kind::And(left, right) => self.logical(left, right, false),
            Kind::Or(left, right) => self.logical(left, right, true),
            Kind::Conditional(parts) => {
                let [condition, yes, no] = parts.as_ref();
                match self.eval(condition)? {
                    Value::Bool(true) => self.eval(yes),
                    Value::Bool(false) => self.eval(no),
                    _ => Err(EvalError::no_such_overload()),
                }
            }
            Kind::Call(call) => self.call(expr, call),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct(name, fields) => self.structure(name, fields),
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind(bind) => self.bind(bind),
            Kind::OptionalMap { flat, bind } => self.optional_map(*flat, bind),
        }
    }

    fn refers(&self, expr: &Expr) -> &'r Refers {
        &self.program.nodes[expr.id as usize].refers
    }

    fn ident(&mut self, expr: &Expr, name: &str) -> Evaluated<'a> {
        self.meter.charge(1)?;
        match self.refers(expr) {
            Refers::Variable => self.variable(name),
            Refers::Type(ty) => Ok(Value::Type(Arc::clone(ty))),
            _ => match self.scope.iter().rev().find(|(one, _)| *one == name) {
                Some((_, value)) => value.clone(),
                None => Err(no_such_attribute(name)),
            },
        }
    }

    fn variable(&self, name: &str) -> Evaluated<'a> {
        self.bindings.get(name).cloned().ok_or_else(|| no_such_attribute(name))
    }

    fn select(&mut self, expr: &'r Expr, operand: &'r Expr, field: &'r str) -> Evaluated<'a> {
        match self.refers(expr) {
            Refers::Variable => {
                self.meter.charge(1)?;
                return self.variable(&expr.qualified_name().unwrap_or_default());
            }
            Refers::Type(ty) => return Ok(Value::Type(Arc::clone(ty))),
            Refers::Composed => return self.composed(field),
            Refers::Nothing | Refers::Function(_) => {}
        }
        let operand = self.eval(operand)?;
        self.meter.charge(1)?;
        match (select(&operand, field)?, &operand) {
            (Some(optional @ Value::Optional(_)), Value::Optional(_)) => Ok(optional),
            (Some(value), Value::Optional(_)) => Ok(Value::some(value)),
            (Some(value), _) => Ok(value),
            (None, Value::Optional(_)) => Ok(Value::Optional(None)),
            (None, _) => Err(no_such_key(field)),
        }
    }

    /// Another expression's result, evaluated once.
    fn composed(&mut self, name: &str) -> Evaluated<'a> {
        self.meter.charge(2)?;
        if let Some(known) = self.bindings.known(name) {
            return known;
        }
        let Some(program) = self.bindings.composed(name) else {
            return Err(no_such_key(name));
        };
        let result = Run::new(program, self.bindings, self.meter).eval(&program.expr);
        let result = match result {
            // Expressions that build on each other could nest without end.
            Ok(value) if value.is_deeper(NESTED_MAX, self.meter)? => {
                Err(EvalError::failed(format!("value of variable {name} is nested too deeply")))
            }
            result => result,
        };
        if !result.as_ref().is_err_and(EvalError::is_final) {
            self.bindings.remember(name, result.clone());
        }
        result
    }

    /// `&&` and `||`: one side may decide although the other has no result.
    fn logical(&mut self, left: &'r Expr, right: &'r Expr, decides: bool) -> Evaluated<'a> {
        let left = self.eval(left);
        match &left {
            Ok(Value::Bool(truth)) if *truth == decides => return left,
            Err(error) if error.is_final() => return left,
            _ => {}
        }
        let right = self.eval(right);
        match &right {
            Ok(Value::Bool(truth)) if *truth == decides => return right,
            Err(error) if error.is_final() => return right,
            _ => {}
        }
        match (left, right) {
            (Ok(Value::Bool(_)), Ok(Value::Bool(_))) => Ok(Value::Bool(!decides)),
            (Err(error), _) => Err(error),
            (Ok(Value::Bool(_)), Err(error)) => Err(error),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn call(&mut self, expr: &Expr, call: &'r Call) -> Evaluated<'a> {
        let Refers::Function(function) = self.refers(expr) else {
            return Err(EvalError::no_such_overload());
        };
        let mut values = Vec::with_capacity(call.args.len() + 1);
        if let Some(target) = call.target.as_ref().filter(|_| !function.namespaced) {
            values.push(self.eval(target)?);
        }
        for arg in &call.args {
            values.push(self.eval(arg)?);
        }
        self.meter.charge((function.price)(&values))?;
        let mut args = Args { values, regex: function.regex.as_ref(), meter: self.meter };
        (function.handler)(&mut args)
    }

    fn list(&mut self, items: &'r [Item]) -> Evaluated<'a> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match (self.eval(&item.value)?, item.optional) {
                (value, false) => values.push(value),
                (Value::Optional(Some(value)), true) => values.push(value.as_ref().clone()),
                (Value::Optional(None), true) => {}
                (_, true) => return Err(EvalError::no_such_overload()),
            }
        }
        self.meter.charge(LIST_COST)?;
        self.meter.make_items(values.len())?;
        Ok(Value::list(values))
    }

    fn map(&mut self, entries: &'r [Entry]) -> Evaluated<'a> {
        let mut map = OwnedMap::default();
        for entry in entries {
            let key = self.eval(&entry.key)?;
            let value = match (self.eval(&entry.value)?, entry.optional) {
                (value, false) => value,
                (Value::Optional(Some(value)), true) => value.as_ref().clone(),
                (Value::Optional(None), true) => continue,
                (_, true) => return Err(EvalError::no_such_overload()),
            };
            let shown: String = key.as_str().unwrap_or_default().chars().take(100).collect();
            self.meter.make(key.size())?;
            if !map.insert(key, value).map_err(EvalError::failed)? {
                return Err(EvalError::failed(format!("Failed with repeated key: {shown}")));
            }
        }
        self.meter.charge(MAP_COST)?;
        self.meter.make_items(map.len() * 4)?;
        Ok(Value::Map(Map::Owned(Arc::new(map))))
    }

    fn structure(&mut self, name: &str, fields: &'r [StructField]) -> Evaluated<'a> {
        let mut built = Vec::with_capacity(fields.len());
        for field in fields {
            let value = match (self.eval(&field.value)?, field.optional) {
                (value, false) => value,
                (Value::Optional(Some(value)), true) => value.as_ref().clone(),
                (Value::Optional(None), true) => continue,
                (_, true) => return Err(EvalError::no_such_overload()),
            };
            check_nested(name, &field.name, &value)?;
            built.push((field.name.clone(), value));
        }
        self.meter.charge(STRUCT_COST)?;
        self.meter.make_items(built.len() * 2)?;
        Ok(Value::Object(Object::Built(name.into(), Arc::new(built))))
    }

    fn bind(&mut self, bind: &'r Bind) -> Evaluated<'a> {
        let value = self.eval(&bind.value);
        if value.as_ref().is_err_and(EvalError::is_final) {
            return value;
        }
        self.meter.charge(LIST_COST)?;
        self.scope.push((&bind.name, value));
        self.eval(&bind.body)
    }

    fn optional_map(&mut self, flat: bool, bind: &'r Bind) -> Evaluated<'a> {
        let target = self.eval(&bind.value)?;
        self.meter.charge(1)?;
        let inner = match target {
            Value::Optional(Some(inner)) => inner.as_ref().clone(),
            Value::Optional(None) => return Ok(Value::Optional(None)),
            _ => return Err(EvalError::no_such_overload()),
        };
        self.meter.charge(LIST_COST + 2)?;
        self.scope.push((&bind.name, Ok(inner)));
        match (self.eval(&bind.body)?, flat) {
            (value, false) => Ok(Value::some(value)),
            (optional @ Value::Optional(_), true) => Ok(optional),
            _ => Err(EvalError::no_such_overload()),
        }
    }
}

/// A field of a value, or of what an optional holds; none if it is not there.
fn select<'a>(operand: &Value<'a>, field: &str) -> Result<Option<Value<'a>>, EvalError> {
    Ok(match operand {
        Value::Object(object) => object.get(field),
        Value::Map(map) => map.get_text(field),
        Value::Optional(Some(inner)) => select(inner, field)?,
        Value::Optional(None) => None,
        _ => return Err(no_such_key(field)),
    })
}

/// Objects within an object that a mutation builds are of the type their place says.
fn check_nested(parent: &str, field: &str, value: &Value<'_>) -> Result<(), EvalError> {
    let Value::Object(Object::Built(name, _)) = value else { return Ok(()) };
    let wanted = format!("{parent}.{field}");
    if parent == "JSONPatch" || **name == *wanted {
        return Ok(());
    }
    Err(EvalError::failed(format!(
        "unexpected type name {name:?}, expected {wanted:?}, which matches field name path from \
         root Object type"
    )))
}

fn literal_value<'a>(literal: &Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(truth) => Value::Bool(*truth),
        Literal::Int(number) => Value::Int(*number),
        Literal::Uint(number) => Value::Uint(*number),
        Literal::Double(number) => Value::Double(*number),
        Literal::String(text) => Value::String(Text::Shared(Arc::clone(text))),
        Literal::Bytes(bytes) => Value::Bytes(Arc::clone(bytes)),
    }
}

fn no_such_key(name: &str) -> EvalError {
    EvalError::failed(format!("no such key: {name}"))
}

fn no_such_attribute(name: &str) -> EvalError {
    EvalError::failed(format!("no such attribute(s): {name}"))
}
