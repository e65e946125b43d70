//! Keeps the built-in flow schemas and priority levels, and tells in the status of each schema
//! whether its level exists.

use std::sync::Arc;

use minik_api::Resource;
use minik_meta::{names, object, time};
use minik_store::{Entry, Expect, ListOptions, StoreError, WatchError, Write};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::builtin::{
    AUTO_UPDATE, mandatory_levels, mandatory_schemas, suggested_levels, suggested_schemas,
};
use super::settings::{EXEMPT, GROUP, LEVELS, LevelSpec, SCHEMAS};
use crate::core::Core;
use crate::kinds::{Kind, Kinds};
use crate::objects;
use crate::vault::Store;

/// Changes that are looked at together.
const BATCH_MAX: usize = 64;

/// Writes what is missing or changed, before the first request.
pub(crate) async fn bootstrap(store: &Store, kinds: &Kinds) -> Result<(), StoreError> {
    let keeper = Keeper::new(store, kinds);
    match keeper {
        Some(keeper) => keeper.settle().await,
        None => Ok(()),
    }
}

/// Follows the objects until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let Some(keeper) = Keeper::new(&core.store, &core.kinds) else { return };
    let follow = async |prefix: &str| {
        loop {
            let after = core.store.revision();
            match keeper.settle().await {
                // Somebody else wrote in between: look again.
                Err(StoreError::Conflict { .. }) => continue,
                Err(error) => warn!(%error, "cannot keep the flow schemas"),
                Ok(()) => {}
            }
            let Ok(mut watch) = core.store.watch(prefix, after) else { continue };
            if let Err(WatchError::Closed) = watch.next_batch(BATCH_MAX).await {
                return;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = async { tokio::join!(follow(SCHEMAS), follow(LEVELS)); } => {}
    }
}

struct Keeper<'a> {
    store: &'a Store,
    schemas: Kind,
    levels: Kind,
}

impl Keeper<'_> {
    fn new<'a>(store: &'a Store, kinds: &Kinds) -> Option<Keeper<'a>> {
        let schemas = kinds.find(GROUP, "v1", "flowschemas")?;
        let levels = kinds.find(GROUP, "v1", "prioritylevelconfigurations")?;
        Some(Keeper { store, schemas, levels })
    }

    /// Writes all that has to be different, at once.
    async fn settle(&self) -> Result<(), StoreError> {
        let now = time::now_rfc3339();
        let mut writes = Vec::new();
        let mut keep = |kind: &Resource, wanted: Value, mandatory: bool| {
            let key = objects::key(kind, "", object::name(&wanted));
            match self.store.get(&key) {
                None => {
                    let fresh = created(kind, wanted, &now);
                    writes.push(Write::create(key, objects::write(kind, fresh)));
                }
                Some(entry) => {
                    let current = objects::read(kind, &entry.value, entry.modified);
                    if let Some(revised) = revised(kind, current, wanted, mandatory) {
                        let bytes = objects::write(kind, revised);
                        writes.push(Write::put(key, Expect::At(entry.modified), bytes));
                    }
                }
            }
        };
        mandatory_levels().into_iter().for_each(|level| keep(&self.levels, level, true));
        suggested_levels().into_iter().for_each(|level| keep(&self.levels, level, false));
        mandatory_schemas().into_iter().for_each(|schema| keep(&self.schemas, schema, true));
        suggested_schemas().into_iter().for_each(|schema| keep(&self.schemas, schema, false));
        if !writes.is_empty() {
            self.store.transact(writes).await?;
        }
        self.tell(&now).await
    }

    /// Writes the conditions of all schemas.
    async fn tell(&self, now: &str) -> Result<(), StoreError> {
        let usable = |entry: &Entry| {
            let level = objects::read(&self.levels, &entry.value, entry.modified);
            LevelSpec::read(&level).map(|spec| spec.name)
        };
        let levels = self.store.list(LEVELS, &ListOptions::default())?;
        let levels: Vec<Arc<str>> = levels.entries.iter().filter_map(usable).collect();
        let schemas = self.store.list(SCHEMAS, &ListOptions::default())?;
        let mut writes = Vec::new();
        for entry in &schemas.entries {
            let mut schema = objects::read(&self.schemas, &entry.value, entry.modified);
            let level = object::text(&schema, &["spec", "priorityLevelConfiguration", "name"]);
            let wanted = condition(level, levels.iter().any(|one| **one == *level), now);
            if tell_condition(&mut schema, wanted) {
                let bytes = objects::write(&self.schemas, schema);
                let expect = Expect::At(entry.modified);
                writes.push(Write::put(Arc::clone(&entry.key), expect, bytes));
            }
        }
        if !writes.is_empty() {
            self.store.transact(writes).await?;
        }
        Ok(())
    }
}

fn created(kind: &Resource, mut wanted: Value, now: &str) -> Value {
    minik_api::default(kind, &mut wanted);
    let metadata = object::metadata_mut(&mut wanted);
    metadata.insert("uid".to_owned(), names::new_uid().into());
    metadata.insert("creationTimestamp".to_owned(), now.into());
    metadata.insert("generation".to_owned(), 1.into());
    wanted
}

/// What an existing object must become, if it must change.
fn revised(
    kind: &Resource,
    mut current: Value,
    mut wanted: Value,
    mandatory: bool,
) -> Option<Value> {
    minik_api::default(kind, &mut wanted);
    let noted = match object::annotation(&current, AUTO_UPDATE) {
        Some("true" | "True" | "TRUE" | "t" | "T" | "1") => Some(true),
        Some("false" | "False" | "FALSE" | "f" | "F" | "0") => Some(false),
        _ => None,
    };
    // Who never changed it did not mean to keep it.
    let follows = mandatory || noted.unwrap_or(object::generation(&current) == 1);
    if object::name(&wanted) == EXEMPT {
        // How much the exempt level lends is the administrators' choice.
        for field in ["nominalConcurrencyShares", "lendablePercent"] {
            let chosen = object::at(&current, &["spec", "exempt", field]).cloned();
            if let (Some(chosen), Some(_)) = (chosen, wanted["spec"].get("exempt")) {
                object::set(&mut wanted, &["spec", "exempt", field], chosen);
            }
        }
    }
    let differs = follows && current["spec"] != wanted["spec"];
    if noted == Some(follows) && !differs {
        return None;
    }
    if differs {
        current["spec"] = wanted["spec"].take();
        let generation = object::generation(&current) + 1;
        object::set(&mut current, &["metadata", "generation"], generation);
    }
    let text = if follows { "true" } else { "false" };
    object::set(&mut current, &["metadata", "annotations", AUTO_UPDATE], text);
    Some(current)
}

/// Whether the schema's level exists, as its status says it.
fn condition(level: &str, exists: bool, now: &str) -> Value {
    let start =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = match exists {
        true => ("False", "Found", format!("{start} and it exists")),
        false => ("True", "NotFound", format!("{start} but there is no such object")),
    };
    json!({
        "type": "Dangling",
        "status": status,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    })
}

/// Puts the condition into the status; whether that was news.
fn tell_condition(schema: &mut Value, wanted: Value) -> bool {
    let mut conditions = object::list(schema, &["status", "conditions"]).to_vec();
    let same = |one: &Value| {
        ["status", "reason", "message"].iter().all(|field| one[*field] == wanted[*field])
    };
    match conditions.iter_mut().find(|one| one["type"] == wanted["type"]) {
        Some(one) if same(one) => return false,
        Some(one) => *one = wanted,
        None => conditions.push(wanted),
    }
    object::set(schema, &["status", "conditions"], Value::Array(conditions));
    true
}

#[cfg(test)]
mod tests;
