//! Types of expressions, as the checker knows them.

use std::fmt;
use std::sync::Arc;

use crate::decl::ObjectDecl;

/// The type of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Of something that is wrong; wrong only once.
    Error,
    /// Known when it is evaluated.
    Dyn,
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// 64 bits with sign.
    Int,
    /// 64 bits without.
    Uint,
    /// 64-bit floating point.
    Double,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A length of time.
    Duration,
    /// A list of one type.
    List(Arc<Type>),
    /// A map with keys and values of one type each.
    Map(Arc<Type>, Arc<Type>),
    /// Something or nothing.
    Optional(Arc<Type>),
    /// A type itself: `int`.
    Type(Arc<Type>),
    /// Made by a library.
    Opaque(Opaque),
    /// An object with known fields.
    Object(Arc<ObjectDecl>),
    /// To be found out by the checker.
    Param(u32),
}

/// Types that libraries make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opaque {
    /// `url()`
    Url,
    /// `ip()`
    Ip,
    /// `cidr()`
    Cidr,
    /// `quantity()`
    Quantity,
    /// `semver()`
    Semver,
    /// `format.…()`
    Format,
    /// `authorizer`
    Authorizer,
    /// `authorizer.path()`
    PathCheck,
    /// `authorizer.group()`
    GroupCheck,
    /// `authorizer.group().resource()`
    ResourceCheck,
    /// What a check answers.
    Decision,
}

/// Each with the name it has in signatures and the name users see.
const OPAQUE: &[(Opaque, &str, &str)] = &[
    (Opaque::Url, "Url", "kubernetes.URL"),
    (Opaque::Ip, "Ip", "net.IP"),
    (Opaque::Cidr, "Cidr", "net.CIDR"),
    (Opaque::Quantity, "Quantity", "kubernetes.Quantity"),
    (Opaque::Semver, "Semver", "kubernetes.Semver"),
    (Opaque::Format, "Format", "kubernetes.NamedFormat"),
    (Opaque::Authorizer, "Authorizer", "kubernetes.authorization.Authorizer"),
    (Opaque::PathCheck, "PathCheck", "kubernetes.authorization.PathCheck"),
    (Opaque::GroupCheck, "GroupCheck", "kubernetes.authorization.GroupCheck"),
    (Opaque::ResourceCheck, "ResourceCheck", "kubernetes.authorization.ResourceCheck"),
    (Opaque::Decision, "Decision", "kubernetes.authorization.Decision"),
];

impl Opaque {
    /// The name users see.
    pub fn name(self) -> &'static str {
        let found = OPAQUE.iter().find(|(one, _, _)| *one == self);
        found.map_or("", |(_, _, name)| name)
    }

    pub(crate) fn of_signature(short: &str) -> Option<Opaque> {
        OPAQUE.iter().find(|(_, name, _)| *name == short).map(|(one, _, _)| *one)
    }
}

impl Type {
    /// A list of `item`.
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(item))
    }

    /// A map of `value` by text.
    pub fn map(value: Type) -> Type {
        Type::Map(Arc::new(Type::String), Arc::new(value))
    }

    /// `inner` or nothing.
    pub fn optional(inner: Type) -> Type {
        Type::Optional(Arc::new(inner))
    }

    /// The type that a name in an expression stands for.
    pub(crate) fn named(name: &str) -> Option<Type> {
        let any = || Arc::new(Type::Dyn);
        Some(match name {
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "null_type" => Type::Null,
            "list" => Type::List(any()),
            "map" => Type::Map(any(), any()),
            "type" => Type::Type(any()),
            "optional_type" => Type::Optional(any()),
            "google.protobuf.Timestamp" => Type::Timestamp,
            "google.protobuf.Duration" => Type::Duration,
            _ => Type::Opaque(OPAQUE.iter().find(|(_, _, one)| *one == name)?.0),
        })
    }

    /// The name of the type without what it is made of: what `type()` answers.
    pub(crate) fn bare_name(&self) -> &str {
        match self {
            Type::Error => "!error!",
            Type::Dyn => "dyn",
            Type::Null => "null_type",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Timestamp => "google.protobuf.Timestamp",
            Type::Duration => "google.protobuf.Duration",
            Type::List(_) => "list",
            Type::Map(_, _) => "map",
            Type::Optional(_) => "optional_type",
            Type::Type(_) => "type",
            Type::Opaque(opaque) => opaque.name(),
            Type::Object(decl) => decl.name(),
            Type::Param(_) => "dyn",
        }
    }

    /// Whether the value is one number, truth or time: its size counts as one.
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(
            self,
            Type::Bool
                | Type::Int
                | Type::Uint
                | Type::Double
                | Type::Timestamp
                | Type::Duration
                | Type::Type(_)
        )
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Null => f.write_str("null"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Duration => f.write_str("duration"),
            Type::List(item) => write!(f, "list({item})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Optional(inner) => write!(f, "optional_type({inner})"),
            Type::Type(inner) => write!(f, "type({inner})"),
            Type::Param(number) => write!(f, "_var{number}"),
            other => f.write_str(other.bare_name()),
        }
    }
}
