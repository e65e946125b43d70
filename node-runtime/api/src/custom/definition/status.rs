//! What a definition's status says: accepted names, and conditions.

use minik_meta::{object, time};
use serde_json::{Value, json};

use super::names::{self, Approval};
use crate::custom::resources::condition;

/// The finalizer that holds a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// How far the deletion of a definition's objects is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeletionStage {
    /// It was just asked for.
    Pending,
    /// Objects are being deleted.
    InProgress,
    /// Some could not be deleted: why.
    Failed(String),
    /// There are none left.
    Completed,
}

/// Whether a definition is being deleted.
pub fn is_terminating(definition: &Value) -> bool {
    object::deletion_timestamp(definition).is_some()
}

/// The status that names and annotations ask for, if it is not what the definition has. `others`
/// are all other definitions.
pub fn status(definition: &Value, others: &[Value]) -> Option<Value> {
    let group = object::text(definition, &["spec", "group"]);
    let same_group: Vec<&Value> =
        others.iter().filter(|one| object::text(one, &["spec", "group"]) == group).collect();
    let mut changed = definition.clone();
    let (accepted, conflict) = names::accept(definition, &same_group);
    object::set(&mut changed, &["status", "acceptedNames"], accepted);
    match conflict {
        Some(conflict) => {
            set(&mut changed, "NamesAccepted", false, conflict.reason, &conflict.message);
            // Names that were served stay served.
            if condition(definition, "Established") != Some("True") {
                let message = "not all names are accepted";
                set(&mut changed, "Established", false, "NotAccepted", message);
            }
        }
        None => {
            set(&mut changed, "NamesAccepted", true, "NoConflicts", "no conflicts found");
            if condition(definition, "Established") != Some("True") && !is_terminating(definition) {
                let message = "the initial names have been accepted";
                set(&mut changed, "Established", true, "InitialNamesAccepted", message);
            }
        }
    }
    if names::is_protected(group) {
        approve(&mut changed);
    }
    (changed["status"] != definition["status"]).then(|| changed["status"].take())
}

fn approve(definition: &mut Value) {
    let (status, reason, message) = match names::approval(definition) {
        Approval::Approved(at) => (true, "ApprovedAnnotation", format!("approved in {at}")),
        Approval::Waived(why) => (false, "UnapprovedAnnotation", format!("not approved: {why:?}")),
        Approval::Missing => {
            let what = "protected groups must have approval annotation \
                        \"api-approved.kubernetes.io\", see \
                        https://github.com/kubernetes/enhancements/pull/1111";
            (false, "MissingAnnotation", what.to_owned())
        }
        Approval::Invalid(_, why) => (false, "InvalidAnnotation", why),
    };
    set(definition, "KubernetesAPIApprovalPolicyConformant", status, reason, &message);
}

/// Says how far the deletion of the objects is. Returns whether that is news.
pub fn mark_deletion(definition: &mut Value, stage: &DeletionStage) -> bool {
    let before = definition["status"].clone();
    let (status, reason, message) = match stage {
        DeletionStage::Pending => (
            true,
            "InstanceDeletionPending",
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        ),
        DeletionStage::InProgress => {
            (true, "InstanceDeletionInProgress", "CustomResource deletion is in progress")
        }
        DeletionStage::Failed(why) => (true, "InstanceDeletionFailed", why.as_str()),
        DeletionStage::Completed => (false, "InstanceDeletionCompleted", "removed all instances"),
    };
    set(definition, "Terminating", status, reason, message);
    before != definition["status"]
}

/// Sets a condition; the time of transition changes with its status only.
fn set(definition: &mut Value, kind: &str, status: bool, reason: &str, message: &str) {
    let status = if status { "True" } else { "False" };
    let mut conditions = object::list(definition, &["status", "conditions"]).to_vec();
    let known = conditions.iter_mut().find(|one| object::text(one, &["type"]) == kind);
    let kept = known.as_ref().filter(|one| object::text(one, &["status"]) == status);
    let since = match kept.map(|one| object::text(one, &["lastTransitionTime"])) {
        Some(since) if !since.is_empty() => since.to_owned(),
        _ => time::now_rfc3339(),
    };
    let new = json!({
        "type": kind,
        "status": status,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    });
    match known {
        Some(known) => *known = new,
        None => conditions.push(new),
    }
    object::set(definition, &["status", "conditions"], conditions);
}
