//! Service-account tokens: signed with ES256, bound to an account and mostly to a pod, valid only
//! as long as all of these exist.

use std::collections::HashSet;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use minik_meta::object;
use minik_pki::KeyPairPem;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::core::Core;
use crate::user::{SERVICE_ACCOUNT_PREFIX, User};

/// How long after a pod's or account's deletion began its tokens still count, in seconds.
const DELETION_LEEWAY_S: i64 = 60;

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

/// A token that is good, and for whom.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) user: User,
    /// The audiences that were asked for and that the token has.
    pub(crate) audiences: Vec<String>,
}

/// Why a token is refused, or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The keys are not ECDSA P-256 PEM.
    #[error("the service account keys cannot be used")]
    Keys(#[source] jsonwebtoken::errors::Error),
    /// Malformed, wrongly signed, expired, or by another issuer.
    #[error("the token is not valid")]
    Invalid(#[source] jsonwebtoken::errors::Error),
    /// Made out to somebody else.
    #[error("the token is for {have:?}, not for {want:?}")]
    Audience {
        /// The token's audiences.
        have: Vec<String>,
        /// Those it should have.
        want: Vec<String>,
    },
    /// Its subject is not the account it names.
    #[error("the subject {0:?} does not fit the claims")]
    Subject(String),
    /// What it is bound to is gone.
    #[error("{what} {namespace}/{name} of the token is gone")]
    Gone {
        /// The kind of the object.
        what: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
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

    /// The user of `token`, which must have one of `audiences` (empty: one of ours), and whose
    /// account and bound objects must exist.
    pub(crate) fn user(
        &self,
        core: &Core,
        token: &str,
        audiences: &[String],
    ) -> Result<Verified, TokenError> {
        let claims = self.claims(token)?;
        let want: &[String] = if audiences.is_empty() { &self.audiences } else { audiences };
        let common: Vec<String> =
            want.iter().filter(|want| claims.aud.contains(want)).cloned().collect();
        if common.is_empty() {
            return Err(TokenError::Audience { have: claims.aud, want: want.to_vec() });
        }
        let bound = &claims.kubernetes;
        let (namespace, account) = (&bound.namespace, &bound.serviceaccount);
        if claims.sub != format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{}", account.name) {
            return Err(TokenError::Subject(claims.sub));
        }
        exists(core, "serviceaccounts", namespace, account)?;
        if let Some(pod) = &bound.pod {
            exists(core, "pods", namespace, pod)?;
        }
        if let Some(secret) = &bound.secret {
            exists(core, "secrets", namespace, secret)?;
        }
        if let (Some(node), None) = (&bound.node, &bound.pod) {
            exists(core, "nodes", "", node)?;
        }
        Ok(Verified { user: user_of(&claims), audiences: common })
    }

    fn claims(&self, token: &str) -> Result<Claims, TokenError> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.leeway = 0;
        rules.validate_nbf = true;
        rules.validate_aud = false;
        rules.set_issuer(&[&self.issuer]);
        rules.required_spec_claims = HashSet::from(["exp", "iss", "sub"].map(str::to_owned));
        jsonwebtoken::decode::<Claims>(token, &self.verifying, &rules)
            .map(|data| data.claims)
            .map_err(TokenError::Invalid)
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

fn exists(
    core: &Core,
    what: &'static str,
    namespace: &str,
    wanted: &Reference,
) -> Result<(), TokenError> {
    let object = core.read_core_object(what, namespace, &wanted.name);
    let alive = object.is_some_and(|object| {
        let deleted = object::deletion_timestamp(&object).and_then(minik_meta::time::parse);
        let now = minik_meta::time::now().unix_timestamp();
        let over = deleted.is_some_and(|at| at.unix_timestamp() + DELETION_LEEWAY_S < now);
        (wanted.uid.is_empty() || object::uid(&object) == wanted.uid) && !over
    });
    if alive {
        return Ok(());
    }
    Err(TokenError::Gone { what, namespace: namespace.to_owned(), name: wanted.name.clone() })
}

fn user_of(claims: &Claims) -> User {
    let bound = &claims.kubernetes;
    let mut user = User::service_account(&bound.namespace, &bound.serviceaccount.name);
    user.uid.clone_from(&bound.serviceaccount.uid);
    let mut extra = |key: &str, value: String| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
    };
    extra("credential-id", format!("JTI={}", claims.jti));
    for (kind, reference) in [("pod", &bound.pod), ("node", &bound.node)] {
        if let Some(reference) = reference {
            extra(&format!("{kind}-name"), reference.name.clone());
            extra(&format!("{kind}-uid"), reference.uid.clone());
        }
    }
    user
}
