//! Which types fit where, and what open types turn out to be.

use std::sync::Arc;

use crate::types::Type;

/// What is known of open types.
#[derive(Default)]
pub(super) struct Unifier {
    bound: Vec<Option<Type>>,
}

impl Unifier {
    /// An open type.
    pub(super) fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Param(self.bound.len() as u32 - 1)
    }

    /// `ty` with its own open types replaced by `fresh` ones.
    pub(super) fn instantiate(ty: &Type, fresh: &[Type]) -> Type {
        Self::rebuild(ty, &|number| fresh.get(number as usize).cloned())
    }

    fn rebuild(ty: &Type, replace: &impl Fn(u32) -> Option<Type>) -> Type {
        let again = |one: &Arc<Type>| Arc::new(Self::rebuild(one, replace));
        match ty {
            Type::Param(number) => replace(*number).unwrap_or_else(|| ty.clone()),
            Type::List(item) => Type::List(again(item)),
            Type::Map(key, value) => Type::Map(again(key), again(value)),
            Type::Optional(inner) => Type::Optional(again(inner)),
            Type::Type(inner) => Type::Type(again(inner)),
            _ => ty.clone(),
        }
    }

    /// `ty` with all that is known filled in; what stays open becomes dynamic if `finish`.
    pub(super) fn resolve(&self, ty: &Type, finish: bool) -> Type {
        Self::rebuild(ty, &|number| match self.bound.get(number as usize) {
            Some(Some(found)) => Some(self.resolve(found, finish)),
            _ if finish => Some(Type::Dyn),
            _ => None,
        })
    }

    /// What an open type stands for, one level deep.
    pub(super) fn shallow(&self, ty: &Type) -> Type {
        let mut ty = ty;
        while let Type::Param(number) = ty
            && let Some(Some(found)) = self.bound.get(*number as usize)
        {
            ty = found;
        }
        ty.clone()
    }

    /// Whether every value of `from` fits where `to` is wanted; notes what open types are then.
    pub(super) fn assign(&mut self, to: &Type, from: &Type) -> bool {
        let before = self.bound.clone();
        let fits = self.fits(to, from);
        if !fits {
            self.bound = before;
        }
        fits
    }

    /// The same for several at once.
    pub(super) fn assign_all(&mut self, to: &[Type], from: &[Type]) -> bool {
        let before = self.bound.clone();
        let fits =
            to.len() == from.len() && to.iter().zip(from).all(|(to, from)| self.fits(to, from));
        if !fits {
            self.bound = before;
        }
        fits
    }

    fn fits(&mut self, to: &Type, from: &Type) -> bool {
        let (to, from) = (self.shallow(to), self.shallow(from));
        match (&to, &from) {
            (Type::Param(a), Type::Param(b)) if a == b => true,
            (Type::Param(open), other) | (other, Type::Param(open)) => self.bind(*open, other),
            _ if to.is_dyn_or_error() || from.is_dyn_or_error() => true,
            (Type::Timestamp | Type::Duration | Type::Object(_) | Type::Null, Type::Null) => true,
            (Type::List(to), Type::List(from))
            | (Type::Optional(to), Type::Optional(from))
            | (Type::Type(to), Type::Type(from)) => self.fits(to, from),
            (Type::Map(to_key, to_value), Type::Map(key, value)) => {
                self.fits(to_key, key) && self.fits(to_value, value)
            }
            _ => to == from,
        }
    }

    fn bind(&mut self, open: u32, to: &Type) -> bool {
        if self.occurs(open, to) {
            return false;
        }
        self.bound[open as usize] = Some(to.clone());
        true
    }

    /// Whether a type would be part of itself.
    fn occurs(&self, open: u32, ty: &Type) -> bool {
        match self.shallow(ty) {
            Type::Param(number) => number == open,
            Type::List(inner) | Type::Optional(inner) | Type::Type(inner) => {
                self.occurs(open, &inner)
            }
            Type::Map(key, value) => self.occurs(open, &key) || self.occurs(open, &value),
            _ => false,
        }
    }

    /// The more general of two types that fit each other.
    pub(super) fn most_general(&self, left: &Type, right: &Type) -> Type {
        let (left, right) = (self.resolve(left, false), self.resolve(right, false));
        if left.is_dyn_or_error() || matches!(left, Type::Param(_)) {
            return left;
        }
        if right.is_dyn_or_error() || matches!(right, Type::Param(_)) {
            return right;
        }
        match (&left, &right) {
            (Type::List(a), Type::List(b)) => Type::list(self.most_general(a, b)),
            (Type::Optional(a), Type::Optional(b)) => Type::optional(self.most_general(a, b)),
            (Type::Map(a_key, a), Type::Map(b_key, b)) => Type::Map(
                Arc::new(self.most_general(a_key, b_key)),
                Arc::new(self.most_general(a, b)),
            ),
            // Null fits into the other, which says more.
            (Type::Null, _) => right,
            _ => left,
        }
    }
}
