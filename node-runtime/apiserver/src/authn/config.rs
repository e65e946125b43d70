//! Settings of authentication: the `AuthenticationConfiguration` that kube-apiserver reads, and the
//! `--oidc-*` flags that say less.

use std::collections::BTreeMap;

use minik_meta::FieldError;
use serde::Deserialize;

use super::jwt::check;

const KIND: &str = "AuthenticationConfiguration";
const GROUP: &str = "apiserver.config.k8s.io";

/// Signatures that can be checked, of those that OpenID Connect has.
const ALGORITHMS: &[&str] =
    &["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512"];
/// What tokens are signed with if flags do not say.
const ALGORITHM: &str = "RS256";

/// Whose tokens are taken, and who may stay unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Issuers of tokens, each with its rules. Build it with [`Authentication::from_yaml`] or
    /// [`OidcFlags::settings`].
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

impl Anonymous {
    /// Whether a request for the path may be made.
    pub(crate) fn may_ask(&self, path: &str) -> bool {
        match self {
            Anonymous::Never => false,
            Anonymous::Always => true,
            Anonymous::Paths(paths) => paths.iter().any(|one| one == path),
        }
    }
}

/// Why settings of authentication cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// It is no YAML of that kind.
    #[error("the authentication configuration cannot be read: {0}")]
    Syntax(String),
    /// It is another kind, or a version that is not known.
    #[error("no kind {kind:?} is registered for version {version:?}")]
    Kind {
        /// The kind it says.
        kind: String,
        /// The version it says.
        version: String,
    },
    /// It breaks rules.
    #[error("invalid authentication configuration: {}", list(.0))]
    Invalid(Vec<FieldError>),
    /// Tokens would have to be signed in a way that cannot be checked here.
    #[error("oidc: unsupported signing alg: {0:?}")]
    Algorithm(String),
}

fn list(errors: &[FieldError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match texts.len() {
        1 => texts.concat(),
        _ => format!("[{}]", texts.join(", ")),
    }
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
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<JwtAuthenticator>,
    anonymous: Option<AnonymousFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AnonymousFile {
    enabled: bool,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Condition {
    path: String,
}

impl Authentication {
    /// Reads an `AuthenticationConfiguration`, YAML or JSON, with its expressions.
    ///
    /// # Errors
    /// [`AuthenticationError`] says what is wrong, with every rule that is broken.
    pub fn from_yaml(text: &str) -> Result<Authentication, AuthenticationError> {
        let file: File = serde_yaml::from_str(text)
            .map_err(|error| AuthenticationError::Syntax(error.to_string()))?;
        let (group, version) = file.api_version.split_once('/').unwrap_or_default();
        if group != GROUP || !["v1", "v1beta1"].contains(&version) || file.kind != KIND {
            let (kind, version) = (file.kind, file.api_version);
            return Err(AuthenticationError::Kind { kind, version });
        }
        let mut wrong = check::all(&file.jwt);
        let anonymous = match file.anonymous {
            None => Anonymous::Always,
            Some(file) if !file.enabled => {
                if !file.conditions.is_empty() {
                    wrong.push(check::conditions_without_use());
                }
                Anonymous::Never
            }
            Some(file) if file.conditions.is_empty() => Anonymous::Always,
            Some(file) => {
                Anonymous::Paths(file.conditions.into_iter().map(|one| one.path).collect())
            }
        };
        match wrong.is_empty() {
            true => Ok(Authentication { jwt: file.jwt, anonymous, ..Authentication::default() }),
            false => Err(AuthenticationError::Invalid(wrong)),
        }
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
    /// [`AuthenticationError`] says what is wrong.
    pub fn settings(&self) -> Result<Authentication, AuthenticationError> {
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
        if let Some(other) = algorithms.iter().find(|one| !ALGORITHMS.contains(&one.as_str())) {
            return Err(AuthenticationError::Algorithm(other.clone()));
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
        let wrong = check::all(&jwt);
        match wrong.is_empty() {
            true => Ok(Authentication { jwt, algorithms, ..Authentication::default() }),
            false => Err(AuthenticationError::Invalid(wrong)),
        }
    }
}

#[cfg(test)]
mod tests;
