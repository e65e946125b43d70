//! Who may say who somebody is: issuers of tokens, and who may stay unknown. The
//! `AuthenticationConfiguration` that kube-apiserver reads, and the `--oidc-*` flags that say less.
//!
//! Expressions are kept as texts; whoever evaluates them compiles them.

mod check;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{or_default, typed};

const VERSION: &str = "apiserver.config.k8s.io/v1";
const KIND: &str = "AuthenticationConfiguration";

/// Signatures that can be checked, of those that OpenID Connect has.
const ALGORITHMS: &[&str] =
    &["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512"];
/// What tokens are signed with if flags do not say.
const ALGORITHM: &str = "RS256";

/// Whose tokens are taken beside those of service accounts, and who may stay unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Issuers of tokens, each with its rules.
    pub jwt: Vec<JwtAuthenticator>,
    /// Which requests may be made by nobody known.
    pub anonymous: Anonymous,
    /// The signatures that are taken, by their names in tokens: `RS256`.
    pub algorithms: Vec<String>,
}

impl Default for Authentication {
    fn default() -> Authentication {
        Authentication {
            jwt: Vec::new(),
            anonymous: Anonymous::Always,
            algorithms: ALGORITHMS.iter().map(|&name| name.to_owned()).collect(),
        }
    }
}

/// Which requests may be made by nobody known, that is by `system:anonymous`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// None.
    Never,
    /// All; what they may do is for the roles to say.
    Always,
    /// Those for exactly these paths.
    Paths(Vec<String>),
}

/// An issuer of tokens, and how its claims become a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct JwtAuthenticator {
    /// Who signs the tokens.
    pub issuer: Issuer,
    /// What claims must be like.
    pub claim_validation_rules: Vec<ClaimRule>,
    /// How claims become a user.
    pub claim_mappings: ClaimMappings,
    /// What the user must be like.
    pub user_validation_rules: Vec<UserRule>,
}

/// Who signs tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Issuer {
    /// The `iss` of its tokens, an `https` URL.
    pub url: String,
    /// Where its discovery document is; if empty, at the usual path below `url`.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    /// Who vouches for its certificate, PEM; if empty, those whom the system trusts.
    pub certificate_authority: String,
    /// To one of whom a token must be made out.
    pub audiences: Vec<String>,
    /// `MatchAny`, the only policy there is.
    pub audience_match_policy: String,
    /// Must be empty: there is one way out of here.
    pub egress_selector_type: String,
}

/// What a claim must be, or an expression over all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ClaimRule {
    /// The claim.
    pub claim: String,
    /// The text it must be.
    pub required_value: String,
    /// The expression, over `claims`.
    pub expression: String,
    /// What is said if it is false.
    pub message: String,
}

/// How claims become a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ClaimMappings {
    /// Their name.
    pub username: Mapping,
    /// Their groups.
    pub groups: Mapping,
    /// Their unique id.
    pub uid: Mapping,
    /// More facts.
    pub extra: Vec<ExtraMapping>,
}

/// A claim with a prefix, or an expression over `claims`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Mapping {
    /// The claim.
    pub claim: String,
    /// What is put before it.
    pub prefix: Option<String>,
    /// The expression.
    pub expression: String,
}

/// A fact about a user from an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ExtraMapping {
    /// Its key, `example.com/team`.
    pub key: String,
    /// The expression over `claims`.
    pub value_expression: String,
}

/// What a user must be like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct UserRule {
    /// An expression over `user`.
    pub expression: String,
    /// What is said if it is false.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, deserialize_with = "or_default")]
    jwt: Vec<JwtAuthenticator>,
    anonymous: Option<RawAnonymous>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAnonymous {
    enabled: bool,
    #[serde(default, deserialize_with = "or_default")]
    conditions: Vec<RawCondition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    path: String,
}

impl Authentication {
    /// Understands an `AuthenticationConfiguration`.
    ///
    /// # Errors
    /// What is wrong, to be read after the name of the file: every rule that is broken.
    pub fn from_text(text: &str) -> Result<Authentication, String> {
        let raw: Raw = typed(text, VERSION, KIND)?;
        let mut wrong = check::all(&raw.jwt);
        let anonymous = match raw.anonymous {
            None => Anonymous::Always,
            Some(raw) if !raw.enabled => {
                if !raw.conditions.is_empty() {
                    let why = "enabled should be set to true when conditions are defined";
                    wrong.push(format!("anonymous.conditions: Forbidden: {why}"));
                }
                Anonymous::Never
            }
            Some(raw) if raw.conditions.is_empty() => Anonymous::Always,
            Some(raw) => Anonymous::Paths(raw.conditions.into_iter().map(|one| one.path).collect()),
        };
        told(&wrong)?;
        Ok(Authentication { jwt: raw.jwt, anonymous, ..Authentication::default() })
    }

    /// Whether the settings follow all rules, those for expressions aside.
    ///
    /// # Errors
    /// Every rule that is broken.
    pub fn check(&self) -> Result<(), String> {
        if let Some(other) = self.algorithms.iter().find(|one| !ALGORITHMS.contains(&one.as_str()))
        {
            return Err(unsupported(other));
        }
        told(&check::all(&self.jwt))
    }

    /// Whether the file says itself who may stay unknown.
    pub(crate) fn text_says_anonymous(text: &str) -> bool {
        typed::<Raw>(text, VERSION, KIND).is_ok_and(|raw| raw.anonymous.is_some())
    }
}

fn unsupported(algorithm: &str) -> String {
    format!(
        "{algorithm:?} is no signature that can be checked; these can: {}",
        ALGORITHMS.join(", ")
    )
}

fn told(wrong: &[String]) -> Result<(), String> {
    match wrong {
        [] => Ok(()),
        [one] => Err(one.clone()),
        all => Err(format!("[{}]", all.join(", "))),
    }
}

/// The `--oidc-*` flags of kube-apiserver, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OidcFlags {
    /// `--oidc-issuer-url`
    pub issuer_url: String,
    /// `--oidc-client-id`: to whom tokens must be made out.
    pub client_id: String,
    /// `--oidc-username-claim`; `sub` if empty.
    pub username_claim: String,
    /// `--oidc-username-prefix`; the issuer and `#` if empty, unless names are mail addresses;
    /// none if `-`.
    pub username_prefix: String,
    /// `--oidc-groups-claim`
    pub groups_claim: String,
    /// `--oidc-groups-prefix`
    pub groups_prefix: String,
    /// `--oidc-required-claim`, each a claim and the text it must be.
    pub required_claims: BTreeMap<String, String>,
    /// The content of `--oidc-ca-file`, PEM.
    pub certificate_authority: String,
    /// `--oidc-signing-algs`; `RS256` if empty.
    pub signing_algorithms: Vec<String>,
}

impl OidcFlags {
    /// The settings that the flags stand for.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn settings(&self) -> Result<Authentication, String> {
        let claim = if self.username_claim.is_empty() { "sub" } else { &self.username_claim };
        let prefix = match self.username_prefix.as_str() {
            "-" => String::new(),
            "" if claim != "email" => format!("{}#", self.issuer_url),
            prefix => prefix.to_owned(),
        };
        let mut algorithms = self.signing_algorithms.clone();
        if algorithms.is_empty() {
            algorithms.push(ALGORITHM.to_owned());
        }
        let mapping = |claim: &str, prefix: String| Mapping {
            claim: claim.to_owned(),
            prefix: (!claim.is_empty()).then_some(prefix),
            expression: String::new(),
        };
        let rules = self.required_claims.iter().map(|(claim, value)| ClaimRule {
            claim: claim.clone(),
            required_value: value.clone(),
            ..ClaimRule::default()
        });
        let jwt = vec![JwtAuthenticator {
            issuer: Issuer {
                url: self.issuer_url.clone(),
                certificate_authority: self.certificate_authority.clone(),
                audiences: vec![self.client_id.clone()],
                ..Issuer::default()
            },
            claim_validation_rules: rules.collect(),
            claim_mappings: ClaimMappings {
                username: mapping(claim, prefix),
                groups: mapping(&self.groups_claim, self.groups_prefix.clone()),
                ..ClaimMappings::default()
            },
            ..JwtAuthenticator::default()
        }];
        let settings = Authentication { jwt, algorithms, ..Authentication::default() };
        settings.check()?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests;
