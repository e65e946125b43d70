//! Server-side apply, and who owns which fields of an object (`metadata.managedFields`).
//!
//! Every write goes through here once: an apply through [`apply()`], which merges a configuration
//! into the object; all others through [`track`], which compares what was with what comes. Both
//! come before defaulting is over, admission and validation: what those change, nobody owns.
//! [`settle`] at the end of a write keeps one that changed nothing from being a change.
//!
//! How to read the parts: [`Shape`](shape::Shape) (what is owned in parts) → [`walk`] (the fields of
//! a value) → [`compare`](mod@compare) and [`merge`] → [`owners`] (how ownership moves).

mod blank;
mod check;
mod compare;
mod conflict;
mod element;
mod fields;
mod last_applied;
mod managers;
mod merge;
mod owners;
mod reset;
pub mod scale;
mod set;
mod shape;
mod walk;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use minik_meta::{GroupVersion, Reason, Status, object};
use serde_json::Value;

use crate::kinds::kinds;
use crate::resource::Resource;
use crate::schema::SchemaRef;
use managers::{Managed, ManagerId, Operation};
use owners::{Refused, Rules, Typed};
use reset::Reset;
use set::FieldSet;

pub use managers::UPDATE_MANAGERS_MAX;

/// Longest name of a manager, in bytes.
pub const MANAGER_BYTES_MAX: usize = 128;

/// Who stands for all that was written before the first apply, where nobody kept count.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// A write, as far as ownership goes.
#[derive(Clone, Copy)]
pub struct Write<'a> {
    /// The kind that is written, in the version of the request.
    pub resource: &'a Resource,
    /// The subresource it is written through; empty for the object itself.
    pub subresource: &'a str,
    /// Name of the manager; empty if unknown.
    pub manager: &'a str,
    /// The time to note, RFC 3339 with seconds.
    pub now: &'a str,
    /// The versions the kind is served in.
    pub versions: &'a dyn Versions,
}

impl Write<'_> {
    /// A manager that writes on this way.
    fn id(&self, manager: &str, operation: Operation) -> ManagerId {
        ManagerId::new(manager, operation, &self.resource.api_version(), self.subresource)
    }
}

/// What an object looks like in other versions of its kind: owners speak of the version they
/// wrote in.
pub trait Versions {
    /// The object, which says its own version, in another one (`apps/v1`), and the schema of that.
    /// Nothing where the kind is not served in it.
    ///
    /// # Errors
    /// Why it cannot be converted.
    fn convert(&self, object: &Value, version: &str) -> Option<Result<(Value, SchemaRef), Status>>;
}

/// The versions of the built-in kinds.
#[derive(Clone, Copy, Debug)]
pub struct BuiltInVersions;

impl Versions for BuiltInVersions {
    fn convert(&self, object: &Value, version: &str) -> Option<Result<(Value, SchemaRef), Status>> {
        let kind = object::text(object, &["kind"]);
        let find = |version: &str| {
            let version = GroupVersion::parse(version)?;
            let (group, version) = (&version.group, &version.version);
            kinds().by_kind(group, version, kind).or_else(|| kinds().body(group, version, kind))
        };
        let (from, to) = (find(object::text(object, &["apiVersion"]))?, find(version)?);
        let mut converted = object.clone();
        let result = crate::convert::convert(&mut converted, from, to);
        Some(result.map(|()| (converted, to.schema.clone())))
    }
}

/// Fields nobody ever owns: the server's, and those that say which object it is.
fn untracked() -> &'static FieldSet {
    static SET: LazyLock<FieldSet> = LazyLock::new(|| {
        FieldSet::of(&[
            &["apiVersion"],
            &["kind"],
            &["metadata"],
            &["metadata", "name"],
            &["metadata", "namespace"],
            &["metadata", "creationTimestamp"],
            &["metadata", "selfLink"],
            &["metadata", "uid"],
            &["metadata", "clusterName"],
            &["metadata", "generation"],
            &["metadata", "managedFields"],
            &["metadata", "resourceVersion"],
        ])
    });
    &SET
}

/// Notes in `new` that the writer made it of `live`; a create is made of nothing. Both are
/// complete objects with their defaults. Never fails: what cannot be told stays as it was.
///
/// A client may hand in other managed fields itself: an empty list, or one with an empty entry,
/// clears them. Those that cannot be read, and all of them on subresources, are ignored.
pub fn track(write: &Write<'_>, live: Option<&Value>, new: &mut Value) {
    let given = object::metadata_mut(new).shift_remove("managedFields");
    let known = live.map_or(&[][..], entries);
    let mut managed = Source::of(write, given, known);
    let blank;
    let old = match live {
        Some(live) => live,
        None => {
            blank = blank::blank(write.resource, is_built_in(write.resource));
            &blank
        }
    };
    let shape = shape::Shape::root(&write.resource.schema);
    let difference = compare::compare(shape, old, new).map(|set| set.difference(untracked()));
    if difference.is_empty()
        && let Source::Kept(entries) = &managed
    {
        put_entries(new, entries.to_vec());
        return;
    }
    let owners = managed.owners();
    // Of an object that nobody kept count of, nobody starts to with an update.
    if owners.0.is_empty() && live.is_some() {
        return;
    }
    let reset = Reset::of(write.resource, write.subresource);
    let rules = Rules { versions: write.versions, reset: &reset, now: write.now };
    let pair = (typed(write, Cow::Borrowed(old)), typed(write, Cow::Borrowed(new)));
    let mut owners = owners.clone();
    let writer = write.id(write.manager, Operation::Update);
    match rules.update(&pair.0, &pair.1, difference, &mut owners, writer) {
        Ok(()) => {
            owners.cap();
            owners.write(new);
        }
        Err(_) => put_entries(new, known.to_vec()),
    }
}

/// Where the owners before a write come from.
enum Source<'e> {
    /// From the object as it is stored, not read yet.
    Kept(&'e [Value]),
    /// From the client, or read.
    Read(Managed),
}

impl<'e> Source<'e> {
    fn of(write: &Write<'_>, given: Option<Value>, known: &'e [Value]) -> Self {
        let Some(Value::Array(given)) = given.filter(|_| write.subresource.is_empty()) else {
            return Self::Kept(known);
        };
        let is_reset = match given.as_slice() {
            [] => true,
            [one] => one.as_object().is_none_or(serde_json::Map::is_empty),
            _ => false,
        };
        if is_reset {
            return Self::Read(Managed::default());
        }
        if given.as_slice() == known {
            return Self::Kept(known);
        }
        match Managed::read(&given) {
            Ok(managed) if !managed.0.is_empty() => Self::Read(managed),
            _ => Self::Kept(known),
        }
    }

    fn owners(&mut self) -> &Managed {
        if let Self::Kept(entries) = self {
            *self = Self::Read(Managed::read(entries).unwrap_or_default());
        }
        match self {
            Self::Read(managed) => managed,
            Self::Kept(_) => unreachable!("just read"),
        }
    }
}

/// Merges `config` into `live`, an object with its defaults or nothing yet. Returns the object with
/// its new owners, not defaulted again; nulls of the configuration are still in it.
///
/// # Errors
/// 409 naming managers and fields where others own what it changes, unless `force`; 400 and 500
/// (as upstream) where the configuration is not of this kind or does not fit its schema.
pub fn apply(
    write: &Write<'_>,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> Result<Value, Status> {
    check_kind(write.resource, config)?;
    let mut managed = Managed::read(live.map_or(&[], entries))
        .map_err(|why| unknown(format!("failed to decode managed fields: {why}")))?;
    let blank = blank::blank(write.resource, is_built_in(write.resource));
    let mut old = live.unwrap_or(&blank).clone();
    object::metadata_mut(&mut old).shift_remove("managedFields");
    let reset = Reset::of(write.resource, write.subresource);
    let rules = Rules { versions: write.versions, reset: &reset, now: write.now };
    let old = typed(write, Cow::Owned(old));
    if managed.0.is_empty() {
        let nothing = typed(write, Cow::Borrowed(&blank));
        let difference = compare::compare(nothing.shape(), &nothing.value, &old.value);
        let first = write.id(BEFORE_FIRST_APPLY, Operation::Update);
        rules.update(&nothing, &old, difference, &mut managed, first)?;
    }
    if object::at(config, &["metadata", "managedFields"]).is_some_and(Value::is_array) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let config = typed(write, Cow::Borrowed(config));
    config.check(&who(write.resource, &config.value))?;
    let writer = write.id(write.manager, Operation::Apply);
    let mut new = match apply_as(&rules, (&old, &config), &mut managed, &writer, force)? {
        Some(new) => new,
        None => old.value.into_owned(),
    };
    if write.manager == last_applied::KUBECTL {
        last_applied::renew(&mut new, &config.value);
    }
    managed.write(&mut new);
    Ok(new)
}

/// Applies; kubectl may take the fields that it wrote itself when it applied on the client's side.
fn apply_as(
    rules: &Rules<'_>,
    (old, config): (&Typed<'_>, &Typed<'_>),
    managed: &mut Managed,
    writer: &ManagerId,
    force: bool,
) -> Result<Option<Value>, Status> {
    let before = managed.clone();
    let mut conflicts = match rules.apply(old, config, managed, writer, force) {
        Ok(new) => return Ok(new),
        Err(Refused::Status(status)) => return Err(status),
        Err(Refused::Conflicts(conflicts)) => conflicts,
    };
    if writer.name == last_applied::KUBECTL
        && let Some(own) = last_applied::still_applied(old)
    {
        conflicts.retain(|conflict| !conflict.is_in(&own));
        if conflicts.is_empty() {
            *managed = before;
            return rules.apply(old, config, managed, writer, true).map_err(Refused::into_status);
        }
    }
    Err(conflict::failure(&conflicts))
}

/// Gives `new` the managed fields of `old` where nothing but their times differs: then the write
/// changes nothing. Resource versions do not count.
pub fn settle(old: &Value, new: &mut Value) {
    let (before, after) = (entries(old), entries(new));
    if before == after || before.len() != after.len() {
        return;
    }
    let is_same = before.iter().zip(after).all(|(a, b)| same_but(a, b, &["time"]));
    if is_same
        && same_but(old, new, &["metadata"])
        && same_but(&old["metadata"], &new["metadata"], &["managedFields", "resourceVersion"])
    {
        put_entries(new, before.to_vec());
    }
}

/// Merges a configuration into an object without a word about owners: what a mutating policy does.
///
/// # Errors
/// In upstream's words: what does not fit the schema, or replaces what is owned as a whole, which
/// would lose what the configuration does not repeat.
pub fn overlay(resource: &Resource, live: &Value, config: &Value) -> Result<Value, String> {
    check::check(&resource.schema, config)
        .map_err(|why| format!("failed to convert patch object to typed object: {why}"))?;
    let shape = shape::Shape::root(&resource.schema);
    let mut wholes = Vec::new();
    atomics(shape, config, &mut Vec::new(), &mut wholes);
    if !wholes.is_empty() {
        let wholes = wholes.join(", ");
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {wholes}"
        ));
    }
    Ok(merge::merge(shape, live, config))
}

/// The places of lists and maps that are owned as a whole.
fn atomics(
    shape: shape::Shape<'_>,
    value: &Value,
    path: &mut Vec<element::PathElement>,
    found: &mut Vec<String>,
) {
    let shape = shape.concrete(Some(value));
    if matches!(shape, shape::Shape::Atomic) && (value.is_array() || value.is_object()) {
        found.push(set::path_text(path));
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                path.push(element::PathElement::Field(key.as_str().into()));
                atomics(shape.child(key), value, path, found);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                path.push(element::PathElement::Index(index as _));
                atomics(shape.item(), value, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Whether `metadata.managedFields` can be read.
///
/// # Errors
/// In upstream's words, why not.
pub fn check_managers(entries: &[Value]) -> Result<(), String> {
    Managed::read(entries).map(|_| ())
}

/// Whether two objects have the same fields, not looking at some.
fn same_but(a: &Value, b: &Value, ignored: &[&str]) -> bool {
    let (Value::Object(a), Value::Object(b)) = (a, b) else { return false };
    let counted = |key: &String| !ignored.contains(&key.as_str());
    let count =
        |map: &serde_json::Map<String, Value>| map.keys().filter(|key| counted(key)).count();
    count(a) == count(b)
        && a.iter().filter(|(key, _)| counted(key)).all(|(key, value)| b.get(key) == Some(value))
}

fn typed<'v>(write: &Write<'_>, value: Cow<'v, Value>) -> Typed<'v> {
    let schema = write.resource.schema.clone();
    Typed { value, schema, version: write.resource.api_version() }
}

fn is_built_in(resource: &Resource) -> bool {
    Arc::ptr_eq(resource.schema.schema(), kinds().schema())
}

fn entries(object: &Value) -> &[Value] {
    object::list(object, &["metadata", "managedFields"])
}

fn put_entries(object: &mut Value, entries: Vec<Value>) {
    let metadata = object::metadata_mut(object);
    match entries.is_empty() {
        true => metadata.shift_remove("managedFields"),
        false => metadata.insert("managedFields".to_owned(), Value::Array(entries)),
    };
}

/// The owners an object names; none where they cannot be read.
fn written(object: &Value) -> Managed {
    Managed::read(entries(object)).unwrap_or_default()
}

/// `apps/v1, Kind=Deployment`
fn kind_text(group: &str, version: &str, kind: &str) -> String {
    format!("{group}/{version}, Kind={kind}")
}

/// How upstream names a configuration: `default/web; apps/v1, Kind=Deployment`.
fn who(resource: &Resource, config: &Value) -> String {
    let kind = kind_text(&resource.group, &resource.version, &resource.kind);
    format!("{}/{}; {kind}", object::namespace(config), object::name(config))
}

fn check_kind(resource: &Resource, config: &Value) -> Result<(), Status> {
    let (given, kind) = (object::text(config, &["apiVersion"]), object::text(config, &["kind"]));
    if given == resource.api_version() && kind == resource.kind {
        return Ok(());
    }
    let version = GroupVersion::parse(given).unwrap_or_default();
    let given = kind_text(&version.group, &version.version, kind);
    Err(Status::bad_request(format!("invalid object type: {given}")))
}

/// 500 without a reason, as upstream answers where it did not think of one.
fn unknown(message: String) -> Status {
    Status::new(Reason::Unknown, message)
}

/// Whether two values are the same: numbers by what they are worth, objects in any order.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => element::compare_numbers(a, b) == Ordering::Equal,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}
