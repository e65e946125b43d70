//! What the volumes and devices of a pod say about where it can run.

use k8s_openapi::api::core::v1::{NodeSelector, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use minik_reconcile::{Cache, ObjectKey};

use crate::cluster::NodeFacts;
use crate::filter::matches_term;

/// Names the node a volume is to be made for.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// What stands between a pod and its volumes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Demands {
    /// Nodes that bound volumes can be reached from; all must match.
    pub(crate) reachable_from: Vec<NodeSelector>,
    /// Claims that are bound when the node is known.
    pub(crate) waiting: Vec<ObjectKey>,
    /// Why the pod cannot run anywhere yet.
    pub(crate) missing: Option<String>,
}

impl Demands {
    /// Whether all bound volumes can be reached from the node.
    pub(crate) fn allow(&self, node: &NodeFacts) -> bool {
        self.reachable_from.iter().all(|selector| {
            selector.node_selector_terms.iter().any(|term| matches_term(term, node))
        })
    }
}

/// The caches that tell about volumes.
#[derive(Clone)]
pub(crate) struct Volumes {
    pub(crate) claims: Cache<PersistentVolumeClaim>,
    pub(crate) volumes: Cache<PersistentVolume>,
    pub(crate) classes: Cache<StorageClass>,
}

impl Volumes {
    pub(crate) fn demands(&self, pod: &Pod) -> Demands {
        let mut demands = Demands::default();
        if asks_for_devices(pod) {
            let text = "pod asks for resource claims, which this scheduler does not allocate yet";
            demands.missing = Some(text.to_owned());
            return demands;
        }
        for key in claims_of(pod) {
            let Some(claim) = self.claims.get(&key) else {
                let name = &key.name;
                demands.missing = Some(format!("persistentvolumeclaim \"{name}\" not found"));
                return demands;
            };
            let spec = claim.spec.clone().unwrap_or_default();
            match spec.volume_name.filter(|name| !name.is_empty()) {
                Some(volume) => {
                    let volume = self.volumes.get(&ObjectKey::cluster(volume));
                    let affinity = volume.and_then(|volume| volume.spec.clone()?.node_affinity);
                    demands.reachable_from.extend(affinity.and_then(|one| one.required));
                }
                None if self.waits_for_node(spec.storage_class_name.as_deref()) => {
                    demands.waiting.push(key);
                }
                None => {
                    let text = "pod has unbound immediate PersistentVolumeClaims";
                    demands.missing = Some(text.to_owned());
                    return demands;
                }
            }
        }
        demands
    }

    fn waits_for_node(&self, class: Option<&str>) -> bool {
        let class = class.and_then(|name| self.classes.get(&ObjectKey::cluster(name)));
        class.is_some_and(|class| {
            class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
        })
    }
}

fn asks_for_devices(pod: &Pod) -> bool {
    let claims = pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_ref());
    claims.is_some_and(|claims| !claims.is_empty())
}

fn claims_of(pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let pod_name = pod.metadata.name.clone().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let names = volumes.filter_map(|volume| match &volume.persistent_volume_claim {
        Some(claim) => Some(claim.claim_name.clone()),
        None => volume.ephemeral.as_ref().map(|_| format!("{pod_name}-{}", volume.name)),
    });
    names.map(|name| ObjectKey::new(&*namespace, name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::samples::{node, pod};

    fn from(value: Value) -> Volumes {
        let parse = |name: &str| value[name].clone();
        Volumes {
            claims: Cache::of(serde_json::from_value::<Vec<_>>(parse("claims")).expect("claims")),
            volumes: Cache::of(
                serde_json::from_value::<Vec<_>>(parse("volumes")).expect("volumes"),
            ),
            classes: Cache::of(
                serde_json::from_value::<Vec<_>>(parse("classes")).expect("classes"),
            ),
        }
    }

    fn demands(claim: Option<Value>) -> Demands {
        let claims: Vec<Value> = claim
            .into_iter()
            .map(|spec| {
                json!({ "metadata": { "name": "data", "namespace": "default" }, "spec": spec })
            })
            .collect();
        let volumes = from(json!({
            "claims": claims,
            "volumes": [{ "metadata": { "name": "pv" }, "spec": { "nodeAffinity": { "required": {
                "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "kubernetes.io/hostname",
                    "operator": "In", "values": ["n1"] }] }] } } } }],
            "classes": [
                { "metadata": { "name": "late" }, "provisioner": "p",
                  "volumeBindingMode": "WaitForFirstConsumer" },
                { "metadata": { "name": "standard" }, "provisioner": "p" }],
        }));
        let uses = json!({ "spec": { "volumes": [
            { "name": "v", "persistentVolumeClaim": { "claimName": "data" } }] } });
        volumes.demands(&pod("a", "", uses))
    }

    #[test]
    fn claims_in_each_state() {
        let missing = |claim: Option<Value>| demands(claim).missing.unwrap_or_default();
        assert_eq!(missing(None), "persistentvolumeclaim \"data\" not found");
        assert_eq!(
            missing(Some(json!({ "storageClassName": "standard" }))),
            "pod has unbound immediate PersistentVolumeClaims"
        );
        let late = demands(Some(json!({ "storageClassName": "late" })));
        assert_eq!(late.waiting, [ObjectKey::new("default", "data")]);
        let bound = demands(Some(json!({ "volumeName": "pv" })));
        assert!(bound.allow(&NodeFacts::of(node("n1", json!({})))));
        assert!(!bound.allow(&NodeFacts::of(node("n2", json!({})))));
    }
}
