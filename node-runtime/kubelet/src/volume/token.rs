//! Service-account tokens bound to a pod, renewed when four fifths of their life are over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;

use super::VolumeError;
use crate::object;

/// A token that lives longer than this is renewed every day all the same.
const RENEW_AT_LEAST: Duration = Duration::from_secs(24 * 3600);
/// Tokens are not asked for more often than this.
const RENEW_AT_MOST: Duration = Duration::from_secs(10);
/// Life of a token when the volume says nothing, in seconds.
const DEFAULT_LIFE_S: i64 = 3600;

#[derive(Clone)]
struct Held {
    token: String,
    renew_at: Instant,
}

/// The tokens of one pod.
#[derive(Default)]
pub(crate) struct Tokens {
    held: Mutex<HashMap<(String, i64), Held>>,
}

impl Tokens {
    fn held(&self) -> MutexGuard<'_, HashMap<(String, i64), Held>> {
        self.held.lock().expect("nothing panics while it holds the tokens")
    }

    /// When the first token is due for renewal.
    pub(crate) fn renew_at(&self) -> Option<Instant> {
        self.held().values().map(|held| held.renew_at).min()
    }

    /// The token for one projection: the one held, or a new one when that is due.
    pub(crate) async fn get(
        &self,
        client: &Client,
        pod: &Pod,
        projection: &ServiceAccountTokenProjection,
    ) -> Result<String, VolumeError> {
        let audience = projection.audience.clone().unwrap_or_default();
        let life = projection.expiration_seconds.unwrap_or(DEFAULT_LIFE_S);
        let key = (audience.clone(), life);
        let held = self.held().get(&key).cloned();
        if let Some(held) = held.filter(|held| held.renew_at > Instant::now()) {
            return Ok(held.token);
        }
        let fresh = request(client, pod, audience, life).await?;
        self.held().insert(key, fresh.clone());
        Ok(fresh.token)
    }
}

async fn request(
    client: &Client,
    pod: &Pod,
    audience: String,
    life: i64,
) -> Result<Held, VolumeError> {
    let account = object::service_account(pod);
    let failed = |message| VolumeError::Token { account: account.to_owned(), message };
    let spec = TokenRequestSpec {
        audiences: Some(if audience.is_empty() { Vec::new() } else { vec![audience] }),
        expiration_seconds: Some(life),
        bound_object_ref: Some(BoundObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        }),
    };
    let wanted = TokenRequest { spec: Some(spec), ..Default::default() };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), object::namespace(pod));
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &wanted)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let status = answer.status.ok_or_else(|| failed("the answer has no token".into()))?;
    let (Some(token), Some(expires)) = (status.token, status.expiration_timestamp) else {
        return Err(failed("the answer has no token".into()));
    };
    let left = expires.0.as_second() - Timestamp::now().as_second();
    let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
    let renew_at = Instant::now() + (left * 4 / 5).clamp(RENEW_AT_MOST, RENEW_AT_LEAST);
    Ok(Held { token, renew_at })
}
