//! What a plan wants written, as values, and the thin functions that write them.

use std::fmt::Debug;
use std::future::Future;

use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource};
use minik_client::{ApiErrorExt, said};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::key::{KeyOf, ObjectKey};

/// One write to the API that a plan asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<K> {
    /// Make this object.
    Create(Box<K>),
    /// Write this object whole; refused if it was changed since it was read.
    Replace(Box<K>),
    /// Write the status of this object; refused if it was changed since it was read.
    ReplaceStatus(Box<K>),
    /// Alter some fields (merge patch).
    Patch {
        /// Which object.
        key: ObjectKey,
        /// The fields, `null` removes one.
        fields: Value,
    },
    /// Delete the object if it is still this one.
    Delete {
        /// Which object.
        key: ObjectKey,
        /// Its unique id.
        uid: String,
    },
}

impl<K: Resource> Change<K> {
    /// The deletion of exactly this object.
    pub fn delete(object: &K) -> Change<K> {
        Change::Delete { key: object.key(), uid: object.uid_str().to_owned() }
    }

    /// The creation of this object.
    pub fn create(object: K) -> Change<K> {
        Change::Create(Box::new(object))
    }
}

/// A change that the API refused.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", said(error))]
pub struct ChangeError {
    /// Verb and object, for the log.
    pub what: String,
    /// What the API said.
    pub error: kube::Error,
}

impl<K> Change<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    /// Carries the change out. Returns the object as the API has it now, `None` if it is gone.
    ///
    /// Deleting what is gone already is not an error.
    ///
    /// # Errors
    /// [`ChangeError`] with what the API answered.
    pub async fn apply(&self, client: &Client) -> Result<Option<K>, ChangeError> {
        let failed = |what: String| move |error| ChangeError { what, error };
        let at = |key: &ObjectKey| Api::<K>::namespaced(client.clone(), &key.namespace);
        let kind = K::kind(&());
        let post = PostParams::default();
        match self {
            Change::Create(object) => {
                let key = object.key();
                let made = at(&key).create(&post, object).await;
                made.map(Some).map_err(failed(format!("create {kind} {key}")))
            }
            Change::Replace(object) => {
                let key = object.key();
                let written = at(&key).replace(&key.name, &post, object).await;
                written.map(Some).map_err(failed(format!("update {kind} {key}")))
            }
            Change::ReplaceStatus(object) => {
                let key = object.key();
                let written = at(&key).replace_status(&key.name, &post, object).await;
                written.map(Some).map_err(failed(format!("update status of {kind} {key}")))
            }
            Change::Patch { key, fields } => {
                let patch = Patch::Merge(fields);
                let written = at(key).patch(&key.name, &PatchParams::default(), &patch).await;
                written.map(Some).map_err(failed(format!("patch {kind} {key}")))
            }
            Change::Delete { key, uid } => match at(key).delete(&key.name, &exactly(uid)).await {
                Ok(answer) => Ok(answer.left()),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(failed(format!("delete {kind} {key}"))(error)),
            },
        }
    }
}

/// Options that delete only the object with this unique id.
fn exactly(uid: &str) -> DeleteParams {
    DeleteParams::default()
        .preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None })
}

/// Carries out all changes at once; the answers come in their order.
///
/// # Errors
/// The first [`ChangeError`]; the other changes are carried out all the same.
pub async fn apply_each<K>(client: &Client, changes: &[Change<K>]) -> Result<Vec<K>, ChangeError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let answers = join_all(changes.iter().map(|change| change.apply(client))).await;
    let answers: Result<Vec<Option<K>>, ChangeError> = answers.into_iter().collect();
    Ok(answers?.into_iter().flatten().collect())
}

/// Carries out changes in batches of 1, 2, 4, … and stops after the first batch with a failure,
/// so that a request the API always refuses is not sent five hundred times.
///
/// Returns what was done and the first failure, if any.
pub async fn slow_start<T, R, E, F, Fut>(items: Vec<T>, act: F) -> (Vec<R>, Option<E>)
where
    F: Fn(T) -> Fut,
    Fut: Future<Output = Result<R, E>>,
{
    let mut done = Vec::new();
    let mut items = items.into_iter();
    let mut size = 1;
    loop {
        let batch: Vec<Fut> = items.by_ref().take(size).map(&act).collect();
        if batch.is_empty() {
            return (done, None);
        }
        let mut failed = None;
        for answer in join_all(batch).await {
            match answer {
                Ok(value) => done.push(value),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if failed.is_some() {
            return (done, failed);
        }
        size *= 2;
    }
}
