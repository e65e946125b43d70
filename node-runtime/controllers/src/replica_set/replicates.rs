//! What a ReplicaSet and a ReplicationController have in common.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Resource;
use minik_reconcile::Cached;
use serde::Serialize;

/// Keeps a number of pods of one template running.
pub(super) trait Replicates:
    Cached + Serialize + Resource<Scope = NamespaceResourceScope, DynamicType = ()>
{
    /// As it is named in owner references.
    const KIND: &'static str;

    /// The object in the form of a ReplicaSet.
    fn as_set(&self) -> ReplicaSet;

    /// The object with this status, in its own form.
    fn with_status(&self, status: ReplicaSetStatus) -> Self;
}

impl Replicates for ReplicaSet {
    const KIND: &'static str = "ReplicaSet";

    fn as_set(&self) -> ReplicaSet {
        self.clone()
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        ReplicaSet { status: Some(status), ..self.clone() }
    }
}

impl Replicates for ReplicationController {
    const KIND: &'static str = "ReplicationController";

    fn as_set(&self) -> ReplicaSet {
        let spec = self.spec.clone().unwrap_or_default();
        let status = self.status.clone();
        ReplicaSet {
            metadata: self.metadata.clone(),
            spec: Some(ReplicaSetSpec {
                replicas: spec.replicas,
                min_ready_seconds: spec.min_ready_seconds,
                selector: LabelSelector { match_labels: spec.selector, ..LabelSelector::default() },
                template: spec.template,
            }),
            status: status.map(|status| ReplicaSetStatus {
                replicas: status.replicas,
                fully_labeled_replicas: status.fully_labeled_replicas,
                ready_replicas: status.ready_replicas,
                available_replicas: status.available_replicas,
                observed_generation: status.observed_generation,
                conditions: status.conditions.map(|conditions| {
                    let same = |one: ReplicationControllerCondition| {
                        k8s_openapi::api::apps::v1::ReplicaSetCondition {
                            last_transition_time: one.last_transition_time,
                            message: one.message,
                            reason: one.reason,
                            status: one.status,
                            type_: one.type_,
                        }
                    };
                    conditions.into_iter().map(same).collect()
                }),
                terminating_replicas: None,
            }),
        }
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let conditions = status.conditions.map(|conditions| {
            let same = |one: k8s_openapi::api::apps::v1::ReplicaSetCondition| {
                ReplicationControllerCondition {
                    last_transition_time: one.last_transition_time,
                    message: one.message,
                    reason: one.reason,
                    status: one.status,
                    type_: one.type_,
                }
            };
            conditions.into_iter().map(same).collect()
        });
        let status = ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            conditions,
        };
        ReplicationController { status: Some(status), ..self.clone() }
    }
}
