//! Tokens of issuers that the settings name (OpenID Connect).

mod check;
mod claims;
mod keys;

use std::str::FromStr;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use minik_config::{Authentication, JwtAuthenticator};
use minik_meta::FieldError;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::Refused;
use super::token::unverified_claims;
use crate::core::Core;
use crate::tls::Trust;
use crate::user::User;
use claims::Mapper;
use keys::Keys;

/// How far into the future a token may begin, in seconds.
const NOT_BEFORE_LEEWAY_S: f64 = 300.0;

/// Why settings of authentication cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// They break rules.
    #[error("invalid authentication configuration: {0}")]
    Settings(String),
    /// Expressions, certificates or addresses in them cannot be used.
    #[error("invalid authentication configuration: {}", list(.0))]
    Rules(Vec<FieldError>),
}

fn list(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The issuers whose tokens are taken.
pub(crate) struct Issuers(Vec<Issuer>);

struct Issuer {
    settings: JwtAuthenticator,
    algorithms: Vec<Algorithm>,
    mapper: Mapper,
    keys: Keys,
}

impl Issuers {
    /// Compiles the rules. `ours` is the issuer of service-account tokens, whom nobody else may be.
    pub(crate) fn new(
        settings: &Authentication,
        ours: &str,
    ) -> Result<Issuers, AuthenticationError> {
        settings.check().map_err(AuthenticationError::Settings)?;
        // Those that can be checked, by the check above, and none that takes a shared secret.
        let known = |name: &String| Algorithm::from_str(name).ok();
        let algorithms: Vec<Algorithm> = settings.algorithms.iter().filter_map(known).collect();
        let mut wrong = Vec::new();
        let issuers = settings.jwt.iter().enumerate().map(|(index, one)| {
            let path = minik_meta::Path::new(format!("jwt[{index}]"));
            wrong.extend(check::issuer(&one.issuer, &path, ours));
            Issuer {
                mapper: check::mapper(one, &path, &mut wrong),
                algorithms: algorithms.clone(),
                keys: Keys::new(
                    &one.issuer.url,
                    &one.issuer.discovery_url,
                    Trust::of_bundle(one.issuer.certificate_authority.clone()),
                ),
                settings: one.clone(),
            }
        });
        let issuers: Vec<Issuer> = issuers.collect();
        match wrong.is_empty() {
            true => Ok(Issuers(issuers)),
            false => Err(AuthenticationError::Rules(wrong)),
        }
    }

    /// The user of a token; nobody if no issuer says it is theirs.
    pub(crate) async fn user(
        &self,
        core: &Arc<Core>,
        token: &str,
        issuer: &str,
    ) -> Result<Option<User>, Refused> {
        let Some(issuer) = self.0.iter().find(|one| one.settings.issuer.url == issuer) else {
            return Ok(None);
        };
        let claims = issuer.verified(core, token).await?;
        let user = claims::user(&issuer.settings, &issuer.mapper, &claims)
            .map_err(|why| Refused(format!("oidc: {why}")))?;
        Ok(Some(user))
    }
}

impl Issuer {
    /// The claims of a token that is signed by the issuer, made out to us, and of this moment.
    async fn verified(&self, core: &Arc<Core>, token: &str) -> Result<Map<String, Value>, Refused> {
        let refused = |why: String| Refused(format!("oidc: verify token: {why}"));
        let claims = unverified_claims(token).ok_or_else(|| refused("malformed jwt".to_owned()))?;
        // What costs nothing is checked before keys are fetched.
        let now = OffsetDateTime::now_utc();
        check_claims(&claims, &self.settings.issuer.audiences, now).map_err(refused)?;
        let header = jsonwebtoken::decode_header(token)
            .map_err(|error| refused(format!("malformed jwt: {error}")))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(refused(format!(
                "oidc: id token signed with unsupported algorithm, expected {:?} got {:?}",
                self.algorithms, header.alg
            )));
        }
        let verify = |key: &DecodingKey| {
            let mut rules = Validation::new(header.alg);
            rules.validate_exp = false;
            rules.validate_aud = false;
            rules.required_spec_claims.clear();
            jsonwebtoken::decode::<Map<String, Value>>(token, key, &rules)
                .ok()
                .map(|data| data.claims)
        };
        let found = self.keys.find(core, header.kid.as_deref(), verify).await;
        found.map_err(|why| refused(why.to_string()))
    }
}

/// Audience and times.
fn check_claims(
    claims: &Map<String, Value>,
    wanted: &[String],
    now: OffsetDateTime,
) -> Result<(), String> {
    let have: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !wanted.iter().any(|one| have.contains(&one.as_str())) {
        return Err(match wanted {
            [one] => format!("oidc: expected audience {one:?} got {have:?}"),
            all => format!("oidc: expected audience in {all:?} got {have:?}"),
        });
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds of this era fit into a double")]
    let now = now.unix_timestamp() as f64;
    let end = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
    if end < now {
        return Err(format!("oidc: token is expired (Token Expiry: {end})"));
    }
    let begin = claims.get("nbf").and_then(Value::as_f64).unwrap_or_default();
    if now + NOT_BEFORE_LEEWAY_S < begin {
        return Err(format!("oidc: current time {now} before the nbf (not before) time: {begin}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case(json!({"aud": "minik", "exp": 1000}), &["minik"], ""; "good")]
    #[test_case(json!({"aud": ["a", "minik"], "exp": 1000.5, "nbf": 1299}), &["b", "minik"], ""; "lists")]
    #[test_case(json!({"aud": "other", "exp": 1000}), &["minik"],
        "oidc: expected audience \"minik\" got [\"other\"]"; "for another")]
    #[test_case(json!({"exp": 1000}), &["a", "b"],
        "oidc: expected audience in [\"a\", \"b\"] got []"; "for nobody")]
    #[test_case(json!({"aud": "minik", "exp": 999}), &["minik"],
        "oidc: token is expired (Token Expiry: 999)"; "expired")]
    #[test_case(json!({"aud": "minik"}), &["minik"],
        "oidc: token is expired (Token Expiry: 0)"; "endless")]
    #[test_case(json!({"aud": "minik", "exp": 2000, "nbf": 1400}), &["minik"],
        "oidc: current time 1000 before the nbf (not before) time: 1400"; "early")]
    fn claims(claims: Value, wanted: &[&str], why: &str) {
        let wanted: Vec<String> = wanted.iter().map(|&one| one.to_owned()).collect();
        let now = OffsetDateTime::from_unix_timestamp(1000).expect("a time");
        let claims = claims.as_object().cloned().expect("an object");
        assert_eq!(check_claims(&claims, &wanted, now).err().unwrap_or_default(), why);
    }
}
