//! Service-account tokens: signed with ES256, bound to an account and mostly to a pod, valid only
//! as long as all of these exist.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use minik_meta::object;
use minik_pki::KeyPairPem;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::bearer::Verified;
use super::certificate::CREDENTIAL_ID;
use crate::core::Core;
use crate::user::{SERVICE_ACCOUNT_PREFIX, User};

/// How far clocks may differ, and how long tokens still count after the deletion began of what they
/// are bound to. In seconds.
const LEEWAY_S: i64 = 60;

/// Makes and checks tokens.
pub(crate) struct Tokens {
    issuer: String,
    /// What a token must be made out to, to be taken here.
    pub(crate) audiences: Vec<String>,
    signing: EncodingKey,
    verifying: DecodingKey,
    jwk: Jwk,
    key_id: String,
}

/// A name with the uid that tells it from a later object of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

/// The claims of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) kubernetes: KubernetesClaims,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// What a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KubernetesClaims {
    pub(crate) namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Reference>,
    pub(crate) serviceaccount: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) warnafter: Option<i64>,
}

/// Why a token is refused, or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The keys are not ECDSA P-256 PEM.
    #[error("the service account keys cannot be used")]
    Keys(#[source] jsonwebtoken::errors::Error),
    /// Malformed or wrongly signed.
    #[error("the token is not valid")]
    Invalid(#[source] jsonwebtoken::errors::Error),
    /// It is too early or too late for it, or what it is bound to is gone.
    #[error("{0}")]
    Stale(String),
    /// Made out to somebody else.
    #[error("token audiences {have:?} is invalid for the target audiences {want:?}")]
    Audience {
        /// The token's audiences.
        have: Vec<String>,
        /// Those it should have.
        want: Vec<String>,
    },
    /// Its subject is not the account it names.
    #[error("the subject {0:?} does not fit the claims")]
    Subject(String),
}

impl Tokens {
    /// Checks the keys. `issuer` is also the audience that tokens have by default.
    pub(crate) fn new(issuer: &str, keys: &KeyPairPem) -> Result<Tokens, TokenError> {
        let signing = EncodingKey::from_ec_pem(keys.private_pem.as_bytes());
        let signing = signing.map_err(TokenError::Keys)?;
        let verifying = DecodingKey::from_ec_pem(keys.public_pem.as_bytes());
        let verifying = verifying.map_err(TokenError::Keys)?;
        let mut jwk =
            Jwk::from_encoding_key(&signing, Algorithm::ES256).map_err(TokenError::Keys)?;
        let key_id =
            jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).map_err(TokenError::Keys)?;
        jwk.common.key_id = Some(key_id.clone());
        jwk.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
        Ok(Tokens {
            issuer: issuer.to_owned(),
            audiences: vec![issuer.to_owned()],
            signing,
            verifying,
            jwk,
            key_id,
        })
    }

    /// The issuer in the claims of new tokens.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs `claims`.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        let header = Header { typ: None, ..header };
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(TokenError::Invalid)
    }

    /// The user of `token`, which must have one of `audiences`, and whose account and bound objects
    /// must exist; nobody if the token is none of ours.
    pub(crate) fn user(
        &self,
        core: &Core,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Verified>, TokenError> {
        if unverified_issuer(token).as_deref() != Some(&*self.issuer) {
            return Ok(None);
        }
        let claims = self.claims(token)?;
        let common: Vec<String> =
            audiences.iter().filter(|want| claims.aud.contains(want)).cloned().collect();
        if common.is_empty() {
            return Err(TokenError::Audience { have: claims.aud, want: audiences.to_vec() });
        }
        let bound = &claims.kubernetes;
        let (namespace, account) = (&bound.namespace, &bound.serviceaccount);
        if claims.sub != format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{}", account.name) {
            return Err(TokenError::Subject(claims.sub));
        }
        let now = minik_meta::time::now().unix_timestamp();
        let alive = |what, namespace: &str, wanted: &Reference| {
            let found = core.read_core_object(plural_of(what), namespace, &wanted.name);
            is_alive(what, namespace, wanted, found.as_ref(), now).map_err(TokenError::Stale)
        };
        alive("service account", namespace, account)?;
        if let Some(secret) = &bound.secret {
            alive("secret", namespace, secret)?;
        }
        if let Some(pod) = &bound.pod {
            alive("pod", namespace, pod)?;
        }
        if let (Some(node), None) = (&bound.node, &bound.pod) {
            alive("node", "", node)?;
        }
        Ok(Some(Verified { user: user_of(&claims), audiences: common }))
    }

    fn claims(&self, token: &str) -> Result<Claims, TokenError> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.leeway = LEEWAY_S.unsigned_abs();
        rules.validate_nbf = true;
        rules.validate_aud = false;
        rules.set_issuer(&[&self.issuer]);
        rules.required_spec_claims = HashSet::from(["exp", "iss", "sub"].map(str::to_owned));
        let stale = |what: &str| TokenError::Stale(format!("service account token {what}"));
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.verifying, &rules);
        let claims = decoded.map(|data| data.claims).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => stale("has expired"),
            ErrorKind::ImmatureSignature => stale("is not valid yet"),
            _ => TokenError::Invalid(error),
        })?;
        match claims.iat > minik_meta::time::now().unix_timestamp() + LEEWAY_S {
            true => Err(stale("is issued in the future")),
            false => Ok(claims),
        }
    }

    /// The `/openid/v1/jwks` document.
    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": [self.jwk]})
    }

    /// The `/.well-known/openid-configuration` document.
    pub(crate) fn openid_configuration(&self, jwks_uri: &str) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

/// Whom the token says it is from, which anybody could have written.
pub(super) fn unverified_issuer(token: &str) -> Option<String> {
    unverified_claims(token)?.get("iss")?.as_str().map(str::to_owned)
}

/// What the token says, which anybody could have written.
pub(super) fn unverified_claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn plural_of(what: &str) -> &'static str {
    match what {
        "secret" => "secrets",
        "pod" => "pods",
        "node" => "nodes",
        _ => "serviceaccounts",
    }
}

/// Whether an object that a token needs is there and the same as ever.
fn is_alive(
    what: &str,
    namespace: &str,
    wanted: &Reference,
    found: Option<&Value>,
    now: i64,
) -> Result<(), String> {
    let is_account = what == "service account";
    let invalidated = || "service account token has been invalidated".to_owned();
    let name = &wanted.name;
    let Some(object) = found else {
        return Err(match is_account {
            true => format!("serviceaccounts {name:?} not found"),
            false => invalidated(),
        });
    };
    let (uid, claim) = (object::uid(object), &wanted.uid);
    if uid != claim {
        return Err(match what {
            "service account" => {
                format!("service account UID ({uid}) does not match claim ({claim})")
            }
            what => format!(
                "{what} UID ({uid}) does not match service account {what} ref claim ({claim})"
            ),
        });
    }
    let deleted = object::deletion_timestamp(object).and_then(minik_meta::time::parse);
    match deleted.is_some_and(|at| at.unix_timestamp() + LEEWAY_S < now) {
        false => Ok(()),
        true if is_account => Err(format!("service account {namespace}/{name} has been deleted")),
        true => Err(invalidated()),
    }
}

fn user_of(claims: &Claims) -> User {
    let bound = &claims.kubernetes;
    let mut user = User::service_account(&bound.namespace, &bound.serviceaccount.name);
    user.uid.clone_from(&bound.serviceaccount.uid);
    let mut extra = |key: &str, value: String| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
    };
    for (kind, reference) in [("pod", &bound.pod), ("node", &bound.node)] {
        let Some(reference) = reference else { continue };
        extra(&format!("{kind}-name"), reference.name.clone());
        if !reference.uid.is_empty() {
            extra(&format!("{kind}-uid"), reference.uid.clone());
        }
    }
    if !claims.jti.is_empty() {
        user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={}", claims.jti)]);
    }
    user
}
