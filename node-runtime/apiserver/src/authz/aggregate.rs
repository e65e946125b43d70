//! Cluster roles that are the union of others: kept up to date as those others change.

use crate::vault::Store;
use minik_api::Resource;
use minik_meta::{LabelSelector, object};
use minik_store::{Expect, ListOptions, StoreError, Write};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::kinds::Kind;
use crate::objects;

/// Follows the cluster roles until `stop`, and rewrites the aggregated ones that have changed.
pub(crate) async fn run(store: Store, kind: Kind, stop: CancellationToken) {
    let prefix = objects::prefix(&kind, "");
    let mut after = store.revision();
    loop {
        if let Err(error) = refresh(&store, &kind, &prefix).await {
            warn!(%error, "cannot aggregate cluster roles");
        }
        let Ok(mut watch) = store.watch(&prefix, after) else {
            // Too far behind: what was missed is in the next refresh.
            after = store.revision();
            continue;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = watch.next_batch(64) => match changed {
                Ok(events) => after = events.last().map_or(after, |event| event.revision),
                Err(minik_store::WatchError::Compacted { .. }) => after = store.revision(),
                Err(minik_store::WatchError::Closed) => return,
            },
        }
    }
}

async fn refresh(store: &Store, kind: &Resource, prefix: &str) -> Result<(), StoreError> {
    let page = store.list(prefix, &ListOptions::default())?;
    let roles: Vec<_> = page
        .entries
        .iter()
        .map(|entry| (entry, objects::read(kind, &entry.value, entry.modified)))
        .collect();
    let all: Vec<&Value> = roles.iter().map(|(_, role)| role).collect();
    for (entry, role) in &roles {
        let Some(rules) = union(role, &all) else { continue };
        if rules == role["rules"].as_array().cloned().unwrap_or_default() {
            continue;
        }
        let mut updated = role.clone();
        object::set(&mut updated, &["rules"], rules);
        let bytes = objects::write(kind, updated);
        match store.commit(Write::put(entry.key.clone(), Expect::At(entry.modified), bytes)).await {
            // Somebody else wrote it: that change brings us here again.
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The rules an aggregated role must have: those of all roles it selects, each rule once.
fn union(role: &Value, all: &[&Value]) -> Option<Vec<Value>> {
    object::at(role, &["aggregationRule"])?;
    let selectors = object::list(role, &["aggregationRule", "clusterRoleSelectors"]);
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors {
        let Ok(selector) = LabelSelector::from_object(Some(selector)) else { continue };
        for part in all {
            let itself = object::name(part) == object::name(role);
            if itself || !selector.matches(object::labels(part)) {
                continue;
            }
            for rule in object::list(part, &["rules"]) {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_of_selected_roles_are_joined_once() {
        let aggregated = json!({
            "metadata": {"name": "view"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}]},
        });
        let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        let part = |name: &str, value: &str| json!({"metadata": {"name": name, "labels": {"to-view": value}}, "rules": [rule]});
        let (a, b, c) = (part("a", "true"), part("b", "true"), part("c", "false"));
        assert_eq!(union(&aggregated, &[&aggregated, &a, &b, &c]), Some(vec![rule.clone()]));
        assert_eq!(union(&a, &[&a]), None);
    }
}
