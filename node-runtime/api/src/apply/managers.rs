//! Who owns which fields: `metadata.managedFields`, read and written.

use std::collections::BTreeMap;
use std::fmt;

use minik_meta::field::go_quote;
use minik_meta::object;
use serde_json::{Map, Value};

use super::fields;
use super::set::FieldSet;

/// So many managers that updated are remembered one by one.
pub const UPDATE_MANAGERS_MAX: usize = 10;

/// Who stands for the managers that are no longer remembered.
pub(super) const OLD_MANAGERS: &str = "ancient-changes";

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// Server-side apply.
    Apply,
    /// Anything else.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells one entry from the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManagerId {
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Empty for those who apply: they are the same in every version.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl ManagerId {
    pub(super) fn new(
        name: &str,
        operation: Operation,
        api_version: &str,
        subresource: &str,
    ) -> Self {
        let api_version = match operation {
            Operation::Apply => String::new(),
            Operation::Update => api_version.to_owned(),
        };
        let name = if name.is_empty() { "unknown" } else { name }.to_owned();
        Self { name, operation, api_version, subresource: subresource.to_owned() }
    }
}

/// As conflicts name a manager: `"mgr" with subresource "status" using apps/v1`.
impl fmt::Display for ManagerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&go_quote(&self.name))?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {}", go_quote(&self.subresource))?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

/// What a manager owns.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub(super) set: FieldSet,
    /// Version that the set speaks of.
    pub(super) version: String,
    /// When it changed last, as text; an entry may have none.
    pub(super) time: Option<String>,
}

/// The owners of an object's fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Managed(pub(super) BTreeMap<ManagerId, Owned>);

impl Managed {
    /// Reads `metadata.managedFields`.
    ///
    /// # Errors
    /// In upstream's words, why it cannot be read.
    pub(super) fn read(entries: &[Value]) -> Result<Self, String> {
        let mut managed = BTreeMap::new();
        for (at, entry) in entries.iter().enumerate() {
            let text = |key: &str| object::text(entry, &[key]);
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            let version = text("apiVersion");
            if version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
                other => {
                    return Err(format!(
                        "invalid fieldsType {other:?} in managed fields entry {at}"
                    ));
                }
            }
            let set = fields::read(entry.get("fieldsV1").unwrap_or(&Value::Null))
                .map_err(|why| format!("error decoding set: {why}"))?;
            let mut id = ManagerId::new(text("manager"), operation, version, text("subresource"));
            text("manager").clone_into(&mut id.name);
            let time = Some(text("time")).filter(|time| !time.is_empty()).map(str::to_owned);
            managed.insert(id, Owned { set, version: version.to_owned(), time });
        }
        Ok(Self(managed))
    }

    /// Writes `metadata.managedFields`, sorted: first those who applied, then by time. Without
    /// owners there is no such field.
    pub(super) fn write(&self, object: &mut Value) {
        let metadata = object::metadata_mut(object);
        if self.0.is_empty() {
            metadata.shift_remove("managedFields");
            return;
        }
        let mut owners: Vec<(&ManagerId, &Owned)> = self.0.iter().collect();
        owners.sort_by_key(|(id, owned)| {
            (id.operation, seconds(owned), &id.name, &owned.version, &id.subresource)
        });
        let entries: Vec<Value> =
            owners.into_iter().map(|(id, owned)| Value::Object(entry(id, owned))).collect();
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }

    /// Merges the oldest managers that updated into one for each version, until few enough are
    /// left.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<ManagerId> =
            self.0.keys().filter(|id| id.operation == Operation::Update).cloned().collect();
        let mut count = updaters.len();
        if count <= UPDATE_MANAGERS_MAX {
            return;
        }
        updaters.sort_by_cached_key(|id| (seconds(&self.0[id]), id.clone()));
        let mut firsts: BTreeMap<String, ManagerId> = BTreeMap::new();
        for id in updaters {
            if count <= UPDATE_MANAGERS_MAX {
                return;
            }
            let version = self.0[&id].version.clone();
            let Some(first) = firsts.get(&version) else {
                firsts.insert(version, id);
                continue;
            };
            let bucket = ManagerId::new(OLD_MANAGERS, Operation::Update, &version, "");
            let (Some(old), Some(owned)) = (self.0.remove(first), self.0.remove(&id)) else {
                continue;
            };
            let all = Owned { set: old.set.union(&owned.set), ..owned };
            self.0.insert(bucket.clone(), all);
            firsts.insert(version, bucket);
            count -= 1;
        }
    }
}

/// Unix time, as entries are ordered by; without a time, the beginning of it.
fn seconds(owned: &Owned) -> i64 {
    let time = owned.time.as_deref().and_then(minik_meta::time::parse);
    time.map_or(0, |time| time.unix_timestamp())
}

fn entry(id: &ManagerId, owned: &Owned) -> Map<String, Value> {
    let mut entry = Map::new();
    let mut put = |key: &str, text: &str| {
        if !text.is_empty() {
            entry.insert(key.to_owned(), text.into());
        }
    };
    put("manager", &id.name);
    put("operation", id.operation.as_str());
    put("apiVersion", &owned.version);
    put("time", owned.time.as_deref().unwrap_or_default());
    put("fieldsType", "FieldsV1");
    entry.insert("fieldsV1".to_owned(), fields::write(&owned.set));
    if !id.subresource.is_empty() {
        entry.insert("subresource".to_owned(), id.subresource.clone().into());
    }
    entry
}
