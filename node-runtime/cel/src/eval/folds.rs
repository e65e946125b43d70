//! Macros that go through a list or map.
//!
//! Upstream expands them into accumulators, whose operations cost; here they are loops that charge
//! the same.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Evaluated, LIST_COST, MAP_COST, Run};
use crate::error::EvalError;
use crate::syntax::ast::{Fold, FoldKind};
use crate::value::{List, Map, OwnedMap, Value, order};

/// What a macro goes through.
enum Rounds<'a> {
    Items(List<'a>),
    Indexed(List<'a>),
    Entries(Vec<(Value<'a>, Value<'a>)>),
}

impl<'a> Rounds<'a> {
    /// Both variables of each round; the second is not used where there is one name only.
    fn pairs(&self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> + '_ {
        let count = match self {
            Rounds::Items(list) | Rounds::Indexed(list) => list.len(),
            Rounds::Entries(entries) => entries.len(),
        };
        (0..count).filter_map(|index| match self {
            Rounds::Items(list) => Some((list.get(index)?, Value::Null)),
            Rounds::Indexed(list) => Some((Value::Int(index as i64), list.get(index)?)),
            Rounds::Entries(entries) => entries.get(index).cloned(),
        })
    }
}

impl<'r, 'a> Run<'r, 'a> {
    pub(super) fn fold(&mut self, fold: &'r Fold) -> Evaluated<'a> {
        let range = self.eval(&fold.range)?;
        let items = self.rounds(fold, range)?;
        self.meter.charge(1)?;
        match fold.kind {
            FoldKind::All => self.quantify(fold, items, false),
            FoldKind::Exists => self.quantify(fold, items, true),
            FoldKind::ExistsOne => self.exists_one(fold, items),
            FoldKind::List | FoldKind::Filter => self.collect(fold, items),
            FoldKind::Map | FoldKind::MapEntry => self.collect_map(fold, items),
            FoldKind::SortBy => self.sort_by(fold, items),
        }
    }

    fn rounds(&mut self, fold: &Fold, range: Value<'a>) -> Result<Rounds<'a>, EvalError> {
        match range {
            Value::List(list) if fold.second.is_none() => Ok(Rounds::Items(list)),
            Value::List(list) => Ok(Rounds::Indexed(list)),
            Value::Map(map) => {
                self.meter.work(map.len() as u64)?;
                Ok(Rounds::Entries(map.entries()))
            }
            _ => Err(EvalError::no_such_overload()),
        }
    }

    /// Evaluates the filter and the body with the variables of one round; nothing if filtered out.
    fn round(
        &mut self,
        fold: &'r Fold,
        (first, second): (Value<'a>, Value<'a>),
    ) -> Result<Option<Value<'a>>, EvalError> {
        let scope = self.scope.len();
        self.scope.push((&fold.first, Ok(first)));
        if let Some(name) = &fold.second {
            self.scope.push((name, Ok(second)));
        }
        let wanted = match &fold.filter {
            None => Ok(Value::Bool(true)),
            Some(filter) => self.eval(filter),
        };
        let result = match wanted {
            Ok(Value::Bool(true)) => self.eval(&fold.body).map(Some),
            Ok(Value::Bool(false)) => Ok(None),
            Ok(_) => Err(EvalError::no_such_overload()),
            Err(error) => Err(error),
        };
        self.scope.truncate(scope);
        result
    }

    /// `all` and `exists`: one item may decide although others have no result.
    fn quantify(&mut self, fold: &'r Fold, items: Rounds<'a>, decides: bool) -> Evaluated<'a> {
        let mut failed = None;
        for item in items.pairs() {
            self.meter.charge(if decides { 4 } else { 3 })?;
            match self.round(fold, item) {
                Ok(Some(Value::Bool(truth))) if truth == decides => {
                    return Ok(Value::Bool(decides));
                }
                Ok(Some(Value::Bool(_))) => {}
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    failed.get_or_insert(error);
                }
                Ok(_) => {
                    failed.get_or_insert(EvalError::no_such_overload());
                }
            }
        }
        failed.map_or(Ok(Value::Bool(!decides)), Err)
    }

    fn exists_one(&mut self, fold: &'r Fold, items: Rounds<'a>) -> Evaluated<'a> {
        let mut count = 0_u64;
        for item in items.pairs() {
            self.meter.charge(1)?;
            match self.round(fold, item)? {
                Some(Value::Bool(truth)) => count += u64::from(truth),
                _ => return Err(EvalError::no_such_overload()),
            }
        }
        Ok(Value::Bool(count == 1))
    }

    fn collect(&mut self, fold: &'r Fold, items: Rounds<'a>) -> Evaluated<'a> {
        let mut made = Vec::new();
        for item in items.pairs() {
            let (first, filters) = (item.0.clone(), fold.kind == FoldKind::Filter);
            let value = match (self.round(fold, item)?, filters) {
                (Some(value), false) => value,
                (Some(Value::Bool(true)), true) => first,
                (Some(Value::Bool(false)), true) | (None, _) => {
                    self.meter.charge(1)?;
                    continue;
                }
                (Some(_), true) => return Err(EvalError::no_such_overload()),
            };
            self.meter.charge(LIST_COST + 2 + u64::from(filters))?;
            self.meter.make_items(1)?;
            made.push(value);
        }
        Ok(Value::list(made))
    }

    fn collect_map(&mut self, fold: &'r Fold, items: Rounds<'a>) -> Evaluated<'a> {
        let mut made = OwnedMap::default();
        for item in items.pairs() {
            let key = item.0.clone();
            let Some(value) = self.round(fold, item)? else {
                self.meter.charge(1)?;
                continue;
            };
            self.meter.charge(3)?;
            let entries = match (fold.kind, value) {
                (FoldKind::MapEntry, Value::Map(map)) => map.entries(),
                (FoldKind::MapEntry, _) => return Err(EvalError::no_such_overload()),
                (_, value) => vec![(key, value)],
            };
            self.meter.make_items(entries.len() * 4)?;
            for (key, value) in entries {
                let shown: String = key.as_str().unwrap_or_default().chars().take(100).collect();
                self.meter.make(key.size())?;
                if !made.insert(key, value).map_err(EvalError::failed)? {
                    let why = format!("insert failed: key {shown} already exists");
                    return Err(EvalError::failed(why));
                }
            }
        }
        self.meter.charge(MAP_COST)?;
        Ok(Value::Map(Map::Owned(Arc::new(made))))
    }

    fn sort_by(&mut self, fold: &'r Fold, items: Rounds<'a>) -> Evaluated<'a> {
        let mut keyed = Vec::new();
        for item in items.pairs() {
            let value = item.0.clone();
            let Some(key) = self.round(fold, item)? else { continue };
            self.meter.charge(LIST_COST + 2)?;
            keyed.push((key, value));
        }
        self.meter.work(keyed.len() as u64 * 16)?;
        let first = keyed.first().map(|(key, _)| key.clone());
        let comparable = |key: &Value<'_>| {
            let first = first.as_ref();
            first.is_none_or(|first| {
                first.type_name() == key.type_name() && order::compare(first, key).is_some()
            })
        };
        if !keyed.iter().all(|(key, _)| comparable(key)) {
            return Err(EvalError::failed("list elements must have the same type"));
        }
        keyed.sort_by(|(left, _), (right, _)| {
            order::compare(left, right).unwrap_or(Ordering::Equal)
        });
        Ok(Value::list(keyed.into_iter().map(|(_, value)| value).collect()))
    }
}
