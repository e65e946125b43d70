//! Lists, maps and objects that an expression builds.

use std::sync::Arc;

use super::{Checker, Refers};
use crate::decl::ObjectDecl;
use crate::syntax::ast::{Entry, Expr, Item, StructField};
use crate::types::Type;

/// Fields of a JSON patch operation and their types.
pub(crate) const JSON_PATCH: &str = "JSONPatch";
/// The object that a mutation builds; nested ones are `Object.spec` and so on.
pub(crate) const MUTATION: &str = "Object";

impl Checker<'_> {
    /// Items and values of one literal have one type.
    fn join(&mut self, at: u32, known: Option<Type>, next: Type) -> Type {
        let Some(known) = known else { return next };
        if !self.types.assign(&known, &next) {
            if self.mixed > 0 {
                return Type::Dyn;
            }
            let (wanted, found) = (self.show(&known), self.show(&next));
            self.error(at, format!("expected type '{wanted}' but found '{found}'"));
            return known;
        }
        self.types.most_general(&known, &next)
    }

    /// The type behind `?value`, which must be an optional.
    fn unwrap(&mut self, optional: bool, at: u32, ty: Type) -> Type {
        if !optional {
            return ty;
        }
        let inner = self.types.fresh();
        self.expect(at, &Type::optional(inner.clone()), &ty);
        inner
    }

    pub(super) fn list(&mut self, items: &[Item]) -> Type {
        let mut known = None;
        for item in items {
            let ty = self.visit(&item.value);
            let ty = self.unwrap(item.optional, item.value.at, ty);
            known = Some(self.join(item.value.at, known, ty));
        }
        Type::list(known.unwrap_or_else(|| self.types.fresh()))
    }

    pub(super) fn map(&mut self, entries: &[Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            let key = self.visit(&entry.key);
            self.check_key(entry.key.at, &key);
            keys = Some(self.join(entry.key.at, keys, key));
            let value = self.visit(&entry.value);
            let value = self.unwrap(entry.optional, entry.value.at, value);
            values = Some(self.join(entry.value.at, values, value));
        }
        let keys = keys.unwrap_or_else(|| self.types.fresh());
        let values = values.unwrap_or_else(|| self.types.fresh());
        Type::Map(Arc::new(keys), Arc::new(values))
    }

    fn check_key(&mut self, at: u32, key: &Type) {
        let fine = matches!(
            self.types.shallow(key),
            Type::Bool | Type::Int | Type::Uint | Type::String | Type::Dyn | Type::Error
        ) || matches!(self.types.shallow(key), Type::Param(_));
        if !fine {
            let shown = self.show(key);
            self.error(at, format!("unsupported map key type: '{shown}'"));
        }
    }

    pub(super) fn structure(&mut self, expr: &Expr, name: &str, fields: &[StructField]) -> Type {
        let mut found = Vec::with_capacity(fields.len());
        for field in fields {
            let ty = self.visit(&field.value);
            found.push(self.unwrap(field.optional, field.value.at, ty));
        }
        let nested = name.strip_prefix(MUTATION).is_some_and(|rest| rest.starts_with('.'));
        let known = name == MUTATION || nested || name == JSON_PATCH;
        if !known || !self.environment.builds_mutations() {
            self.error(expr.at, format!("undeclared reference to '{name}' (in container '')"));
            return Type::Error;
        }
        if name == JSON_PATCH {
            for (field, ty) in fields.iter().zip(&found) {
                self.patch_field(field, ty);
            }
        }
        self.refer(expr, Refers::Nothing);
        Type::Object(ObjectDecl::open(name))
    }

    fn patch_field(&mut self, field: &StructField, found: &Type) {
        match field.name.as_ref() {
            "op" | "path" | "from" => {
                if !self.types.assign(&Type::String, found) {
                    let (name, found) = (&field.name, self.show(found));
                    let why = format!(
                        "expected type of field '{name}' is 'string' but provided type is '{found}'"
                    );
                    self.error(field.at, why);
                }
            }
            "value" => {}
            other => self.error(field.at, format!("undefined field '{other}'")),
        }
    }
}
