//! The keys of an issuer: fetched when the first token comes, and again when one comes that none of
//! them signed. Nobody asks in between.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::body::{self, BodyError};
use crate::core::Core;
use crate::tls::Trust;
use crate::webhook::{Place, cause};

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// How long the issuer may take to tell its keys.
const FETCH_MAX: Duration = Duration::from_secs(30);
/// Tokens with unknown keys must not make us ask the issuer all the time: twice within this time,
/// so that a key that changed right after we asked is found.
const FETCH_TWICE_IN: Duration = Duration::from_secs(20);
/// Keys that are kept of one issuer.
const KEYS_MAX: usize = 256;

/// Why a token's key is not known.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("failed to verify signature: failed to verify id token signature")]
    Signature,
    #[error("fetching keys {0}")]
    Fetch(String),
}

pub(super) struct Keys {
    issuer: String,
    discovery: String,
    trust: Trust,
    known: RwLock<Arc<Vec<Key>>>,
    /// Held while keys are fetched: one asks, the others wait.
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    last: Option<Instant>,
    before: Option<Instant>,
    failed: Option<KeyError>,
}

struct Key {
    id: Option<String>,
    key: DecodingKey,
}

impl Keys {
    pub(super) fn new(issuer: &str, discovery: &str, trust: Trust) -> Keys {
        let discovery = match discovery.is_empty() {
            true => format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer)),
            false => discovery.to_owned(),
        };
        Keys {
            issuer: issuer.to_owned(),
            discovery,
            trust,
            known: RwLock::default(),
            asked: Mutex::default(),
        }
    }

    /// What `verify` makes of the first key it takes, of those with the id (any, if there is none).
    pub(super) async fn find<T>(
        &self,
        core: &Core,
        id: Option<&str>,
        verify: impl Fn(&DecodingKey) -> Option<T>,
    ) -> Result<T, KeyError> {
        let matching = |keys: &[Key]| {
            let fits = |one: &&Key| id.is_none() || one.id.is_none() || one.id.as_deref() == id;
            keys.iter().filter(fits).find_map(|one| verify(&one.key))
        };
        let before = self.now();
        if let Some(found) = matching(&before) {
            return Ok(found);
        }
        self.fetch_again(core, &before).await?;
        matching(&self.now()).ok_or(KeyError::Signature)
    }

    fn now(&self) -> Arc<Vec<Key>> {
        Arc::clone(&self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Fetches the keys, unless that was done just now or since `seen` was looked at.
    async fn fetch_again(&self, core: &Core, seen: &Arc<Vec<Key>>) -> Result<(), KeyError> {
        let mut asked = self.asked.lock().await;
        if !Arc::ptr_eq(seen, &self.now()) {
            return Ok(());
        }
        if asked.before.is_some_and(|at| at.elapsed() < FETCH_TWICE_IN) {
            return asked.failed.clone().map_or(Ok(()), Err);
        }
        let fetched = match tokio::time::timeout(FETCH_MAX, self.fetch(core)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("{}: context deadline exceeded", self.discovery)),
        };
        let result = match fetched {
            Ok(keys) => {
                *self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
                    Arc::new(keys);
                Ok(())
            }
            Err(why) => {
                tracing::warn!(issuer = self.issuer, why, "the keys of an issuer cannot be had");
                Err(KeyError::Fetch(why))
            }
        };
        asked.before = asked.last.replace(Instant::now());
        asked.failed = result.clone().err();
        result
    }

    async fn fetch(&self, core: &Core) -> Result<Vec<Key>, String> {
        let document = self.get(core, &self.discovery).await?;
        let issuer = document["issuer"].as_str().unwrap_or_default();
        if issuer != self.issuer {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got \
                 {issuer:?}",
                self.issuer
            ));
        }
        let uri = document["jwks_uri"].as_str().filter(|uri| !uri.is_empty());
        let uri = uri.ok_or("provider did not return JWKS URL")?;
        Ok(keys_of(&self.get(core, uri).await?))
    }

    async fn get(&self, core: &Core, url: &str) -> Result<Value, String> {
        let failed = |why: &dyn std::fmt::Display| format!("Get {url:?}: {why}");
        let place = Place::of_url(url).map_err(|error| failed(&error))?;
        let client = core.webhooks.client(&place, &self.trust).map_err(|error| failed(&error))?;
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = url.parse::<Uri>().map_err(|error| failed(&error))?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = client.request(request).await.map_err(|error| failed(&cause(&error)))?;
        if !answer.status().is_success() {
            return Err(failed(&answer.status()));
        }
        let body = answer.into_body().map_err(BodyError::new).boxed_unsync();
        let bytes = body::read(body).await.map_err(|error| failed(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| failed(&error))
    }
}

/// The keys that signatures can be checked with; others are skipped.
fn keys_of(document: &Value) -> Vec<Key> {
    let all = document["keys"].as_array().map_or(&[][..], Vec::as_slice);
    let usable = all.iter().filter_map(|one| {
        let key: Jwk = serde_json::from_value(one.clone()).ok()?;
        let is_for_other = matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
        if is_for_other || one["kty"] == "oct" {
            return None;
        }
        let id = key.common.key_id.clone();
        Some(Key { id, key: DecodingKey::from_jwk(&key).ok()? })
    });
    usable.take(KEYS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_public_keys_for_signatures_count() {
        let ec = |id: &str, purpose: &str| {
            json!({"kty": "EC", "crv": "P-256", "kid": id, "use": purpose,
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
        };
        let document = json!({"keys": [
            ec("a", "sig"), ec("b", "enc"), {"kty": "oct", "k": "c2VjcmV0", "kid": "c"}, {"kty": "new"},
        ]});
        let ids: Vec<_> = keys_of(&document).into_iter().map(|key| key.id).collect();
        assert_eq!(ids, [Some("a".to_owned())]);
        assert!(keys_of(&json!({"keys": "none"})).is_empty());
    }

    #[test]
    fn discovery_is_below_the_issuer() {
        let at =
            |issuer: &str, discovery: &str| Keys::new(issuer, discovery, Trust::System).discovery;
        assert_eq!(at("https://a/b/", ""), "https://a/b/.well-known/openid-configuration");
        assert_eq!(at("https://a", "https://c/d"), "https://c/d");
    }
}
