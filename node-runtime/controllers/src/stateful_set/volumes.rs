//! The claims of a StatefulSet: made before their pod, kept or deleted with it as the set says.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Client;
use minik_client::ApiErrorExt;
use minik_reconcile::{Cache, Change, ChangeError, KeyOf, ObjectKey};

use crate::owned::controller_ref;
use crate::stateful_set::identity::{claim_name, ordinal, pod_name, start};
use crate::stateful_set::spec;
use crate::wiring::{name_of, namespace_of};

/// Makes the claims of a pod that are not there.
pub(super) async fn make(
    client: &Client,
    there: &Cache<PersistentVolumeClaim>,
    set: &StatefulSet,
    pod: &Pod,
) -> Result<(), ChangeError> {
    for claim in claims(set, name_of(pod)) {
        if there.get(&claim.key()).is_some() {
            continue;
        }
        match Change::create(claim).apply(client).await {
            Err(refused) if !refused.error.is_already_exists() => return Err(refused),
            _ => {}
        }
    }
    Ok(())
}

fn claims(set: &StatefulSet, pod: &str) -> Vec<PersistentVolumeClaim> {
    let templates = spec(set).volume_claim_templates.iter().flatten();
    let made = templates.map(|template| {
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        labels.extend(spec(set).selector.match_labels.clone().unwrap_or_default());
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(claim_name(template, pod)),
                namespace: Some(namespace_of(set).to_owned()),
                labels: Some(labels),
                annotations: template.metadata.annotations.clone(),
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        }
    });
    made.collect()
}

fn deletes(policy: Option<&String>) -> bool {
    policy.map(String::as_str) == Some("Delete")
}

/// Changes that give claims the owners they go with: the set, if claims go when it is deleted; the
/// pod, if they go when the set is scaled down below it.
pub(super) fn owners(
    set: &StatefulSet,
    claims: &Cache<PersistentVolumeClaim>,
    pods: &[Arc<Pod>],
) -> Vec<Change<PersistentVolumeClaim>> {
    let policy = spec(set).persistent_volume_claim_retention_policy.clone().unwrap_or_default();
    let templates = spec(set).volume_claim_templates.as_deref().unwrap_or_default();
    let first = start(set);
    let wanted = first..first + spec(set).replicas.unwrap_or(1);
    let mut changes = Vec::new();
    for pod in pods {
        let Some(ordinal) = ordinal(set, pod) else { continue };
        for template in templates {
            let name = claim_name(template, &pod_name(set, ordinal));
            let Some(claim) = claims.get(&ObjectKey::new(namespace_of(set), name)) else {
                continue;
            };
            let condemned = !wanted.contains(&ordinal);
            let by_set = deletes(policy.when_deleted.as_ref())
                && !(condemned && deletes(policy.when_scaled.as_ref()));
            let by_pod = condemned && deletes(policy.when_scaled.as_ref());
            let mut owners = claim.metadata.owner_references.clone().unwrap_or_default();
            let before = owners.clone();
            adjust(&mut owners, set, by_set);
            adjust(&mut owners, &**pod, by_pod);
            if owners != before {
                let mut written = (*claim).clone();
                written.metadata.owner_references = (!owners.is_empty()).then_some(owners);
                changes.push(Change::Replace(Box::new(written)));
            }
        }
    }
    changes
}

fn adjust<O>(owners: &mut Vec<OwnerReference>, owner: &O, wanted: bool)
where
    O: kube::Resource<DynamicType = ()>,
{
    let is_there = owners.iter().any(|one| one.uid == owner.uid_str());
    if wanted && !is_there {
        let mut reference = controller_ref(owner);
        reference.controller = None;
        reference.block_owner_deletion = None;
        owners.push(reference);
    } else if !wanted {
        owners.retain(|one| one.uid != owner.uid_str());
    }
}
