//! What an expression may name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decl::Decl;
use crate::types::{Opaque, Type};

/// Variables with their types.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<Box<str>, Variable>,
    composed: BTreeMap<Box<str>, Type>,
    mutations: bool,
}

#[derive(Clone, Debug)]
struct Variable {
    ty: Type,
    /// How large it may be, and its parts.
    decl: Option<Arc<Decl>>,
}

impl Environment {
    /// Nothing but the libraries.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variable that a schema describes.
    #[must_use]
    pub fn with(mut self, name: &str, decl: Arc<Decl>) -> Self {
        let variable = Variable { ty: decl.ty(), decl: Some(decl) };
        self.variables.insert(name.into(), variable);
        self
    }

    /// With a variable that is there or not: the `oldSelf` of rules with `optionalOldSelf`.
    #[must_use]
    pub fn with_optional(mut self, name: &str, decl: Arc<Decl>) -> Self {
        let variable = Variable { ty: Type::optional(decl.ty()), decl: Some(decl) };
        self.variables.insert(name.into(), variable);
        self
    }

    /// With a variable of any type: the objects of admission policies.
    #[must_use]
    pub fn with_dyn(self, name: &str) -> Self {
        self.with(name, Decl::json())
    }

    /// With `authorizer`, and `authorizer.requestResource` under the name
    /// `authorizer.requestResource`.
    #[must_use]
    pub fn with_authorizer(mut self) -> Self {
        for (name, opaque) in [
            ("authorizer", Opaque::Authorizer),
            ("authorizer.requestResource", Opaque::ResourceCheck),
        ] {
            let variable = Variable { ty: Type::Opaque(opaque), decl: None };
            self.variables.insert(name.into(), variable);
        }
        self
    }

    /// With `variables.name`, the value of another expression of this type
    /// ([`Program::ty`](crate::Program::ty)).
    #[must_use]
    pub fn with_composed(mut self, name: &str, ty: Type) -> Self {
        self.composed.insert(name.into(), ty);
        self
    }

    /// With `Object{…}` and `JSONPatch{…}`, which mutating policies build.
    #[must_use]
    pub fn with_mutations(mut self) -> Self {
        self.mutations = true;
        self
    }

    pub(crate) fn variable_type(&self, name: &str) -> Option<Type> {
        self.variables.get(name).map(|variable| variable.ty.clone())
    }

    pub(crate) fn variable_decl(&self, name: &str) -> Option<&Arc<Decl>> {
        self.variables.get(name)?.decl.as_ref()
    }

    pub(crate) fn composed_type(&self, name: &str) -> Option<Type> {
        self.composed.get(name).cloned()
    }

    pub(crate) fn has_composed(&self) -> bool {
        !self.composed.is_empty()
    }

    pub(crate) fn builds_mutations(&self) -> bool {
        self.mutations
    }
}
