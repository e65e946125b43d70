//! Schemas: the shape of every type, as data. Built-in types and custom resources alike.
//!
//! One [`Schema`] holds the types of all built-in kinds; a custom resource brings its own. Routines
//! (decoding, pruning, defaults, patches, OpenAPI) walk a value and a type side by side.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::defaults::DefaultsHook;

/// Text that is compiled in for built-in kinds and owned for custom resources.
pub type Text = Cow<'static, str>;

/// Which type of a [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u32);

/// A set of types that refer to each other.
#[derive(Debug, Default)]
pub struct Schema {
    pub(crate) types: Vec<Type>,
}

/// An object type.
#[derive(Debug)]
pub struct Type {
    /// Full definition name: `io.k8s.api.core.v1.Pod`.
    pub name: Text,
    /// Fields, sorted by name.
    pub fields: Vec<Field>,
    /// Replaced as a whole by apply (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// What fields hold that are not named; such fields are unknown where this is absent. Only
    /// custom resources have it.
    pub others: Option<FieldType>,
    pub(crate) hook: Option<DefaultsHook>,
}

/// A field of an object type.
#[derive(Clone, Debug)]
pub struct Field {
    /// JSON name.
    pub name: Text,
    /// Protobuf numbers: of the messages it is embedded in, outermost first, and of the field there;
    /// the rest is zero. All are zero where there is no protobuf form.
    pub proto: [u16; 3],
    /// What it holds.
    pub kind: FieldType,
    /// What an absent or zero value means.
    pub presence: Presence,
    /// Whether the published schema calls it required.
    pub required: bool,
    /// In protobuf, a list inside a map is a message with `repeated items = 1`.
    pub proto_wrapped: bool,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What a field, list item or map value holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    String,
    /// True or false.
    Bool,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Floating point number.
    Double,
    /// Bytes, base64 in JSON.
    Bytes,
    /// Quantity of a resource.
    Quantity,
    /// A port or percentage: integer or text.
    IntOrString,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Managed fields; kept as they are.
    FieldsV1,
    /// Any object; kept as it is.
    Raw,
    /// Any JSON; kept as it is.
    Json,
    /// An object of a known type.
    Object(TypeId),
    /// A list.
    List(Box<FieldType>),
    /// A map with text keys.
    Map(Box<FieldType>),
}

/// What an absent or zero value of a field means; decides what is stored, as in upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Zero (`""`, `0`, `false`, empty list or map) and absent are the same: stored as absent.
    Omit,
    /// Zero and absent are the same: stored as zero; lists and maps are not made up.
    Zero,
    /// Zero and absent differ.
    Pointer,
    /// An object that is always there, if only as `{}`.
    Struct,
}

/// How apply and strategic merge treat the items of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// One value, replaced as a whole.
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects, identified by these keys.
    Map(Vec<Text>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    pub(crate) list: Option<ListKind>,
    pub(crate) map_atomic: bool,
    pub(crate) merge_key: Option<Text>,
    pub(crate) strategy: Text,
    pub(crate) default: Option<Value>,
    pub(crate) allowed: Vec<Text>,
}

impl Schema {
    /// The type behind an id.
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// The type of this definition name.
    pub fn find(&self, name: &str) -> Option<TypeId> {
        let at = self.types.binary_search_by(|one| one.name.as_ref().cmp(name)).ok()?;
        Some(TypeId(at as u32))
    }

    /// All types, sorted by name.
    pub fn types(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        self.types.iter().enumerate().map(|(index, one)| (TypeId(index as u32), one))
    }
}

impl Type {
    /// The field of this JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|one| one.name.as_ref().cmp(name)).ok()?;
        Some(&self.fields[at])
    }

    /// The type that a field of free JSON has where it is an object, or a list of objects: some
    /// fields of a custom resource's schema are a schema or something else.
    pub fn alternative(&self, field: &Field) -> Option<TypeId> {
        let free = match &field.kind {
            FieldType::Map(item) => item.as_ref(),
            kind => kind,
        };
        if *free != FieldType::Json || self.short_name() != "JSONSchemaProps" {
            return None;
        }
        match (field.name.as_ref(), &self.field("not")?.kind) {
            // `not` is a schema and nothing else.
            (
                "items" | "additionalItems" | "additionalProperties" | "dependencies",
                FieldType::Object(id),
            ) => Some(*id),
            _ => None,
        }
    }

    /// The name without its package: `PodSpec`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// Package and name as upstream's messages print them: `v1.PodSpec`.
    pub(crate) fn go_name(&self) -> &str {
        let end = self.name.rfind('.').unwrap_or_default();
        match self.name[..end].rfind('.') {
            Some(start) => &self.name[start + 1..],
            None => &self.name,
        }
    }
}

impl Field {
    /// How its list items are identified; `None` where the schema does not say.
    pub fn list_kind(&self) -> Option<&ListKind> {
        self.extra.as_ref()?.list.as_ref()
    }

    /// Whether apply replaces the map or object in it as a whole.
    pub fn map_atomic(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.map_atomic)
    }

    /// The key that strategic merge identifies list items by.
    pub fn merge_key(&self) -> Option<&str> {
        self.extra.as_ref()?.merge_key.as_deref()
    }

    /// Whether strategic merge merges its list instead of replacing it.
    pub fn merges(&self) -> bool {
        self.has_strategy("merge")
    }

    /// Whether strategic merge drops what the patch does not retain.
    pub fn retains_keys(&self) -> bool {
        self.has_strategy("retainKeys")
    }

    /// The published default.
    pub fn default_value(&self) -> Option<&Value> {
        self.extra.as_ref()?.default.as_ref()
    }

    /// The allowed values of an enumeration, sorted; empty where any value is allowed.
    pub fn allowed(&self) -> &[Text] {
        self.extra.as_ref().map_or(&[], |extra| &extra.allowed)
    }

    /// The published patch strategy, empty where there is none.
    pub fn patch_strategy(&self) -> &str {
        self.extra.as_ref().map_or("", |extra| &extra.strategy)
    }

    fn has_strategy(&self, name: &str) -> bool {
        self.patch_strategy().split(',').any(|one| one == name)
    }
}

/// A type together with the schema it lives in.
#[derive(Clone, Debug)]
pub struct SchemaRef {
    source: Source,
    root: TypeId,
}

#[derive(Clone)]
enum Source {
    Ready(Arc<Schema>),
    Later(Arc<Later>),
}

/// A schema that is made when first asked for.
struct Later {
    made: OnceLock<Arc<Schema>>,
    make: Box<dyn Fn() -> Schema + Send + Sync>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Ready(_) => "Ready",
            Source::Later(_) => "Later",
        })
    }
}

impl SchemaRef {
    /// A type of a schema.
    pub fn new(schema: Arc<Schema>, root: TypeId) -> Self {
        Self { source: Source::Ready(schema), root }
    }

    /// The first type of a schema that is made when first asked for: that of a custom resource.
    pub(crate) fn later(make: impl Fn() -> Schema + Send + Sync + 'static) -> Self {
        let later = Later { made: OnceLock::new(), make: Box::new(make) };
        Self { source: Source::Later(Arc::new(later)), root: TypeId(0) }
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<Schema> {
        match &self.source {
            Source::Ready(schema) => schema,
            Source::Later(later) => later.made.get_or_init(|| Arc::new((later.make)())),
        }
    }

    /// Which type.
    pub fn id(&self) -> TypeId {
        self.root
    }

    /// The type itself.
    pub fn root(&self) -> &Type {
        self.schema().get(self.root)
    }
}
