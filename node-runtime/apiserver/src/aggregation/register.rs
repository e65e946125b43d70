//! Keeps an `APIService` for every version of custom resources that is served here. Those of
//! built-in versions are made when the server starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use minik_api::aggregation::{CUSTOM_PRIORITY, FOLLOWS, MANAGED, local, name};
use minik_meta::{names, object, time};
use minik_store::{Expect, ListOptions, StoreError, WatchError, Write};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::registry::PREFIX;
use crate::core::Core;
use crate::definitions;
use crate::kinds::Kind;
use crate::objects;

/// Changes that are looked at together.
const BATCH_MAX: usize = 64;

/// Follows the definitions until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let Some(kind) = core.kinds.find("apiregistration.k8s.io", "v1", "apiservices") else { return };
    loop {
        let after = core.store.revision();
        if let Err(error) = settle(&core, &kind).await {
            warn!(%error, "cannot write the API services of custom resources");
        }
        let Ok(mut watch) = core.store.watch(definitions::PREFIX, after) else { continue };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = watch.next_batch(BATCH_MAX) => match changed {
                Ok(_) | Err(WatchError::Compacted { .. }) => {}
                Err(WatchError::Closed) => return,
            },
        }
    }
}

/// Makes what is missing and removes what is not served any more.
async fn settle(core: &Core, kind: &Kind) -> Result<(), StoreError> {
    let customs = core.kinds.customs();
    let mut wanted: BTreeMap<String, Value> = customs
        .iter()
        .map(|one| {
            let service = local(&one.group, &one.version, CUSTOM_PRIORITY, FOLLOWS);
            (name(&one.group, &one.version), service)
        })
        .collect();
    for entry in core.store.list(PREFIX, &ListOptions::default())?.entries {
        let found = objects::read(kind, &entry.value, entry.modified);
        // Somebody else's stays, and stands for the version.
        let known = wanted.remove(object::name(&found)).is_some();
        if !known && object::label(&found, MANAGED) == Some(FOLLOWS) {
            let write = Write::delete(entry.key.clone(), Expect::At(entry.modified));
            ignore_conflict(core.store.commit(write).await.map(|_| ()))?;
        }
    }
    for (name, mut service) in wanted {
        let metadata = object::metadata_mut(&mut service);
        metadata.insert("uid".to_owned(), names::new_uid().into());
        metadata.insert("creationTimestamp".to_owned(), time::now_rfc3339().into());
        let write = Write::create(format!("{PREFIX}{name}"), objects::write(kind, service));
        ignore_conflict(core.store.commit(write).await.map(|_| ()))?;
    }
    Ok(())
}

/// Whoever was faster wrote what they wanted.
fn ignore_conflict(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Conflict { .. }) => Ok(()),
        result => result,
    }
}
