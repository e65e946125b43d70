//! Updates that are tried again when somebody else was faster.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::PostParams;
use kube::{Api, Error, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::errors::ApiErrorExt;

/// How often a conflicting update is tried before the conflict is the caller's.
pub const TRIES_MAX: u32 = 5;

/// Between two tries: long enough for the other writer's second half, too short to notice.
const PAUSE: Duration = Duration::from_millis(10);

/// Whether a change was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The object was altered and is to be written.
    Write,
    /// The object is as it should be.
    Leave,
}

/// Reads `name`, lets `edit` alter it, writes it; again with a fresh copy on a conflict.
///
/// # Errors
/// Whatever the API answers, a conflict only after [`TRIES_MAX`] tries.
pub async fn update<K>(
    api: &Api<K>,
    name: &str,
    mut edit: impl FnMut(&mut K) -> Edit + Send,
) -> Result<K, Error>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    let mut tries = 1;
    loop {
        let mut object = api.get(name).await?;
        if edit(&mut object) == Edit::Leave {
            return Ok(object);
        }
        match api.replace(name, &PostParams::default(), &object).await {
            Err(error) if error.is_conflict() && tries < TRIES_MAX => tries += 1,
            answer => return answer,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Like [`update`], for the status subresource.
///
/// # Errors
/// Whatever the API answers, a conflict only after [`TRIES_MAX`] tries.
pub async fn update_status<K>(
    api: &Api<K>,
    name: &str,
    mut edit: impl FnMut(&mut K) -> Edit + Send,
) -> Result<K, Error>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    let mut tries = 1;
    loop {
        let mut object = api.get(name).await?;
        if edit(&mut object) == Edit::Leave {
            return Ok(object);
        }
        match api.replace_status(name, &PostParams::default(), &object).await {
            Err(error) if error.is_conflict() && tries < TRIES_MAX => tries += 1,
            answer => return answer,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
