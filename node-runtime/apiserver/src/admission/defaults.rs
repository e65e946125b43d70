//! Small things that are added to new objects: tolerations, taints, default classes, finalizers.

use minik_api::Resource;
use minik_meta::{Status, object};
use minik_store::ListOptions;
use serde_json::{Value, json};

use crate::call::Call;
use crate::objects;

/// How long pods stay on a node that is not ready or not reachable, in seconds.
const EVICTION_DELAY_S: i64 = 300;

/// Pods tolerate a node's outage for a while, unless they say otherwise.
pub(super) fn tolerations(pod: &mut Value) {
    let fields = object::fields(&mut pod["spec"]);
    let list = fields.entry("tolerations").or_insert_with(|| json!([]));
    let Some(list) = list.as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = list.iter().any(|toleration| {
            let named = object::text(toleration, &["key"]);
            let effect = object::text(toleration, &["effect"]);
            (named == key || named.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !tolerated {
            list.push(json!({
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": EVICTION_DELAY_S,
            }));
        }
    }
}

/// New nodes get no pods until they are known to be ready.
pub(super) fn node_taint(node: &mut Value) {
    const KEY: &str = "node.kubernetes.io/not-ready";
    let fields = object::fields(&mut node["spec"]);
    let list = fields.entry("taints").or_insert_with(|| json!([]));
    let Some(list) = list.as_array_mut() else { return };
    if !list.iter().any(|taint| taint["key"] == KEY && taint["effect"] == "NoSchedule") {
        list.push(json!({"key": KEY, "effect": "NoSchedule"}));
    }
}

/// Claims without a class get the default one.
pub(super) fn storage_class(call: &Call, claim: &mut Value) -> Result<(), Status> {
    let named = object::at(claim, &["spec", "storageClassName"]).is_some()
        || object::annotation(claim, "volume.beta.kubernetes.io/storage-class").is_some();
    if named {
        return Ok(());
    }
    let class = default_class(
        call,
        ("storage.k8s.io", "storageclasses"),
        "storageclass.kubernetes.io/is-default-class",
    )?;
    if let Some(class) = class {
        object::set(claim, &["spec", "storageClassName"], class);
    }
    Ok(())
}

/// Ingresses without a class get the default one.
pub(super) fn ingress_class(call: &Call, ingress: &mut Value) -> Result<(), Status> {
    let named = object::at(ingress, &["spec", "ingressClassName"]).is_some()
        || object::annotation(ingress, "kubernetes.io/ingress.class").is_some();
    if named {
        return Ok(());
    }
    let class = default_class(
        call,
        ("networking.k8s.io", "ingressclasses"),
        "ingressclass.kubernetes.io/is-default-class",
    )?;
    if let Some(class) = class {
        object::set(ingress, &["spec", "ingressClassName"], class);
    }
    Ok(())
}

/// The newest object whose annotation makes it the default; of equally new ones the first by name.
fn default_class(
    call: &Call,
    (group, plural): (&str, &str),
    annotation: &str,
) -> Result<Option<String>, Status> {
    let prefix = format!("{}{group}/{plural}/", objects::ROOT);
    let page = call.core.store.list(&prefix, &ListOptions::default());
    let page = page.map_err(Status::internal)?;
    let mut best: Option<(String, String)> = None;
    for entry in &page.entries {
        let Ok(class) = serde_json::from_slice::<Value>(&entry.value) else { continue };
        if object::annotation(&class, annotation) != Some("true") {
            continue;
        }
        let created = object::text(&class, &["metadata", "creationTimestamp"]).to_owned();
        if best.as_ref().is_none_or(|(newest, _)| created > *newest) {
            best = Some((created, object::name(&class).to_owned()));
        }
    }
    Ok(best.map(|(_, name)| name))
}

/// Volumes and claims in use are not deleted from under their users.
pub(super) fn protection(kind: &Resource, object: &mut Value) {
    let finalizer = match kind.kind.as_ref() {
        "PersistentVolumeClaim" if kind.group.is_empty() => "kubernetes.io/pvc-protection",
        "PersistentVolume" if kind.group.is_empty() => "kubernetes.io/pv-protection",
        _ => return,
    };
    if object::finalizers(object).any(|have| have == finalizer) {
        return;
    }
    let mut finalizers: Vec<String> = object::finalizers(object).map(str::to_owned).collect();
    finalizers.push(finalizer.to_owned());
    object::set(object, &["metadata", "finalizers"], finalizers);
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case(json!([]), 2; "both are added")]
    #[test_case(json!([{"operator": "Exists"}]), 1; "everything is tolerated already")]
    #[test_case(json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "tolerationSeconds": 5}]), 2; "own delay stays")]
    fn tolerations_of_pods(given: Value, expected: usize) {
        let mut pod = json!({"spec": {"tolerations": given}});
        tolerations(&mut pod);
        assert_eq!(object::list(&pod, &["spec", "tolerations"]).len(), expected);
    }
}
