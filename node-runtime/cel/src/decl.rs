//! What a schema says about values: their types, their fields, how large they may be.

pub mod admission;
mod builtin;
mod escape;
mod structural;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

pub use escape::{escape, unescape};

use crate::types::Type;

/// Largest request, in bytes: what bounds a value that the schema does not.
pub(crate) const REQUEST_MAX: u64 = 3 * 1024 * 1024;

/// How values of a place are seen by expressions.
#[derive(Clone, Debug)]
pub struct Decl {
    pub(crate) kind: DeclKind,
    /// Most items, entries, characters or bytes; zero where size has no meaning.
    pub(crate) size_max: u64,
    /// Fewest bytes it takes in JSON.
    pub(crate) bytes_min: u64,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum DeclKind {
    /// Any JSON, seen as it is.
    Json,
    IntOrString,
    Bool,
    Int,
    Double,
    String,
    /// Base64 in JSON.
    Bytes,
    Date,
    DateTime,
    Duration,
    List(Arc<Decl>, ListKind),
    Map(Arc<Decl>),
    Object(Arc<ObjectDecl>),
}

/// When two lists are equal, and what their sum is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListKind {
    Atomic,
    Set,
    /// Items have these keys (as in JSON).
    Map(Arc<[Box<str>]>),
}

/// The fields of an object.
pub struct ObjectDecl {
    name: Box<str>,
    fields: OnceLock<Fields>,
    /// Makes the fields when they are first asked for: built-in types refer to themselves.
    make: Option<Box<dyn Fn() -> Fields + Send + Sync>>,
    /// Whether it has any field one asks for.
    open: bool,
}

/// Fields by the name they have in expressions.
pub(crate) type Fields = BTreeMap<Box<str>, FieldDecl>;

/// A field of an object.
#[derive(Clone, Debug)]
pub(crate) struct FieldDecl {
    /// Its name in JSON.
    pub(crate) json: Box<str>,
    pub(crate) decl: Arc<Decl>,
}

impl fmt::Debug for ObjectDecl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObjectDecl").field(&self.name).finish()
    }
}

impl PartialEq for ObjectDecl {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl ObjectDecl {
    /// An object with these fields.
    pub(crate) fn new(name: &str, fields: Fields) -> Arc<ObjectDecl> {
        let fields = OnceLock::from(fields);
        Arc::new(ObjectDecl { name: name.into(), fields, make: None, open: false })
    }

    /// An object whose fields are made when they are needed.
    pub(crate) fn later(
        name: &str,
        make: impl Fn() -> Fields + Send + Sync + 'static,
    ) -> Arc<ObjectDecl> {
        let make: Box<dyn Fn() -> Fields + Send + Sync> = Box::new(make);
        let fields = OnceLock::new();
        Arc::new(ObjectDecl { name: name.into(), fields, make: Some(make), open: false })
    }

    /// An object with any fields.
    pub(crate) fn open(name: &str) -> Arc<ObjectDecl> {
        let fields = OnceLock::from(Fields::new());
        Arc::new(ObjectDecl { name: name.into(), fields, make: None, open: true })
    }

    /// What error messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn fields(&self) -> &Fields {
        self.fields.get_or_init(|| self.make.as_ref().map_or_else(Fields::new, |make| make()))
    }

    /// The field of this name in expressions.
    pub(crate) fn field(&self, name: &str) -> Option<&FieldDecl> {
        self.fields().get(name)
    }
}

impl Decl {
    pub(crate) fn new(kind: DeclKind, size_max: u64, bytes_min: u64) -> Arc<Decl> {
        Arc::new(Decl { kind, size_max, bytes_min })
    }

    /// Any JSON: numbers are int or double as they are written, fields have their own names.
    pub fn json() -> Arc<Decl> {
        Self::new(DeclKind::Json, REQUEST_MAX, 1)
    }

    /// Text.
    pub fn string() -> Arc<Decl> {
        Self::new(DeclKind::String, REQUEST_MAX - 2, 2)
    }

    /// The type expressions see.
    pub fn ty(&self) -> Type {
        match &self.kind {
            DeclKind::Json | DeclKind::IntOrString => Type::Dyn,
            DeclKind::Bool => Type::Bool,
            DeclKind::Int => Type::Int,
            DeclKind::Double => Type::Double,
            DeclKind::String => Type::String,
            DeclKind::Bytes => Type::Bytes,
            DeclKind::Date | DeclKind::DateTime => Type::Timestamp,
            DeclKind::Duration => Type::Duration,
            DeclKind::List(items, _) => Type::list(items.ty()),
            DeclKind::Map(values) => Type::map(values.ty()),
            DeclKind::Object(object) => Type::Object(Arc::clone(object)),
        }
    }

    /// How often a value of this kind can occur in one request at most.
    pub(crate) fn occurrences_max(&self) -> u64 {
        REQUEST_MAX / (self.bytes_min + 1)
    }
}
