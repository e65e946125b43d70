//! The node's lease: as long as it is renewed, the node lives.

use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::serde_json::json;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use minik_client::ApiErrorExt;
use tracing::warn;

use crate::shared::Shared;

const NAMESPACE: &str = "kube-node-lease";
/// The node is taken for dead after this time without renewal.
const DURATION_S: i32 = 40;

/// The lease of one node.
pub(super) struct Lease {
    leases: Api<LeaseObject>,
    name: String,
}

impl Lease {
    pub(super) fn new(shared: &Shared) -> Self {
        let leases = Api::namespaced(shared.client.clone(), NAMESPACE);
        Self { leases, name: shared.config.node_name.clone() }
    }

    /// Renews the lease; makes it if it is not there.
    pub(super) async fn renew(&self, node: &Node) {
        let renew_time = MicroTime(Timestamp::now());
        let patch = json!({"spec": {
            "renewTime": renew_time, "holderIdentity": self.name,
            "leaseDurationSeconds": DURATION_S,
        }});
        let params = PatchParams::default();
        let renewed = self.leases.patch(&self.name, &params, &Patch::Merge(&patch)).await;
        let result = match renewed {
            Err(error) if error.is_not_found() => {
                let lease = self.new_lease(node, renew_time);
                self.leases.create(&PostParams::default(), &lease).await
            }
            result => result,
        };
        if let Err(error) = result {
            warn!(error = &error as &dyn std::error::Error, "lease not renewed");
        }
    }

    fn new_lease(&self, node: &Node, renew_time: MicroTime) -> LeaseObject {
        let owner = node.metadata.uid.clone().map(|uid| OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: self.name.clone(),
            uid,
            ..Default::default()
        });
        LeaseObject {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(NAMESPACE.into()),
                owner_references: owner.map(|owner| vec![owner]),
                ..Default::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.name.clone()),
                lease_duration_seconds: Some(DURATION_S),
                renew_time: Some(renew_time),
                ..Default::default()
            }),
        }
    }
}
