//! What all owners of pods do alike: find theirs, take and let go, make and delete.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Client, Resource};
use minik_client::{ApiErrorExt, EventRecorder, Level, said};
use minik_reconcile::{Cache, Change, ChangeError, KeyOf, ReconcileError, slow_start};

use crate::owned::{self, Claim};
use crate::wiring::{name_of, namespace_of};

/// The means of one controller to act on pods.
#[derive(Clone)]
pub(crate) struct PodControl {
    pub(crate) client: Client,
    pub(crate) events: EventRecorder,
    pub(crate) pods: Cache<Pod>,
}

/// Pods that the API did not let be made or deleted.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Of the event and of the owner's status: `FailedCreate`, `FailedDelete`.
    pub(crate) reason: &'static str,
    pub(crate) error: ChangeError,
}

impl PodControl {
    /// The pods that `owner` controls.
    pub(crate) fn owned_by<O: Resource>(&self, owner: &O) -> Vec<Arc<Pod>> {
        let mut owned = self.pods.owned_by(owner.uid_str());
        owned.retain(|pod| owned::is_controlled_by(&**pod, owner.uid_str()));
        owned
    }

    /// Takes and lets go until the pods owned are those that the selector names among the
    /// `eligible` ones.
    pub(crate) async fn claim<O: Resource<DynamicType = ()>>(
        &self,
        owner: &O,
        selector: &LabelSelector,
        eligible: impl Fn(&Pod) -> bool,
    ) -> Result<(), ReconcileError> {
        for pod in self.pods.in_namespace(namespace_of(owner)) {
            if !eligible(&pod) {
                continue;
            }
            match owned::claim(owner, selector, &*pod) {
                Claim::Keep | Claim::Ignore => {}
                Claim::Adopt => self.write(&owned::adopt(owner, &*pod)).await?,
                Claim::Release => self.write(&owned::release(owner, &*pod)).await?,
            }
        }
        Ok(())
    }

    /// Writes a change to a pod, which may be gone, and waits until the cache shows it.
    pub(crate) async fn write(&self, change: &Change<Pod>) -> Result<(), ReconcileError> {
        match change.apply(&self.client).await {
            Ok(Some(pod)) => self.pods.caught_up(&pod).await,
            Ok(None) => Ok(()),
            Err(gone) if gone.error.is_not_found() => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Makes and deletes pods, says so, and waits until the cache shows it. What the API refuses
    /// is returned, unless the namespace is going away.
    pub(crate) async fn carry_out<O: Resource<DynamicType = ()>>(
        &self,
        owner: &O,
        changes: Vec<Change<Pod>>,
    ) -> Result<Option<Refused>, ReconcileError> {
        let (done, refused) = slow_start(changes, async |change| {
            let creates = matches!(change, Change::Create(_));
            let reason = if creates { "FailedCreate" } else { "FailedDelete" };
            let pod = change.apply(&self.client).await;
            let pod = pod.map_err(|error| Refused { reason, error })?;
            self.say_done(owner, &change, pod.as_ref());
            Ok::<_, Refused>(pod)
        })
        .await;
        for pod in done.iter().flatten() {
            self.pods.caught_up(pod).await?;
        }
        let Some(refused) = refused else { return Ok(None) };
        if refused.error.error.is_namespace_terminating() {
            return Ok(None);
        }
        let doing = if refused.reason == "FailedCreate" { "creating" } else { "deleting" };
        let message = format!("Error {doing}: {}", said(&refused.error.error));
        self.events.record(owner, Level::Warning, refused.reason, message);
        Ok(Some(refused))
    }

    fn say_done<O>(&self, owner: &O, change: &Change<Pod>, pod: Option<&Pod>)
    where
        O: Resource<DynamicType = ()>,
    {
        let (reason, message) = match (change, pod) {
            (Change::Delete { key, .. }, _) => {
                ("SuccessfulDelete", format!("Deleted pod: {}", key.name))
            }
            (Change::Create(_), Some(pod)) => {
                ("SuccessfulCreate", format!("Created pod: {}", name_of(pod)))
            }
            _ => return,
        };
        self.events.record(owner, Level::Normal, reason, message);
    }
}
