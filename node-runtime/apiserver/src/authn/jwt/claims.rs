//! From the claims of a token to a user, by the mappings and rules of the settings.

use std::collections::BTreeMap;

use minik_cel::{Bindings, Budget, Decl, Program, Value as Outcome, admission};
use minik_config::JwtAuthenticator;
use serde_json::{Map, Value};

use super::super::certificate::CREDENTIAL_ID;
use crate::user::User;

/// An expression with what is said if it is false.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) text: String,
    pub(super) message: String,
    pub(super) program: Program,
}

/// The expressions of one issuer.
#[derive(Debug, Default)]
pub(super) struct Mapper {
    pub(super) username: Option<Rule>,
    pub(super) groups: Option<Rule>,
    pub(super) uid: Option<Rule>,
    pub(super) extra: Vec<(String, Rule)>,
    pub(super) claims: Vec<Rule>,
    pub(super) user: Vec<Rule>,
}

type Claims = Map<String, Value>;

/// The user that the claims describe.
pub(super) fn user(
    settings: &JwtAuthenticator,
    mapper: &Mapper,
    claims: &Claims,
) -> Result<User, String> {
    let whole = Value::Object(claims.clone());
    let mut by_claims = Evaluation::new("claims", &whole, &Decl::json());
    let mut user = User::new(
        username(settings, mapper, claims, &mut by_claims)?,
        groups(settings, mapper, claims, &mut by_claims)?,
    );
    user.uid = uid(settings, mapper, claims, &mut by_claims)?;
    user.extra = extra(mapper, claims, &mut by_claims)?;
    for rule in settings.claim_validation_rules.iter().filter(|rule| !rule.claim.is_empty()) {
        let (claim, want) = (&rule.claim, &rule.required_value);
        if !claims.contains_key(claim) {
            return Err(format!("required claim {claim} not present in ID token"));
        }
        let have = text(claims, claim).map_err(|why| format!("parse claim {claim}: {why}"))?;
        if have != *want {
            return Err(format!(
                "required claim {claim} value does not match. Got = {have}, want = {want}"
            ));
        }
    }
    by_claims
        .check(&mapper.claims)
        .map_err(|why| format!("error evaluating claim validation expression: {why}"))?;
    let mut info = user.info();
    let groups: Vec<&String> =
        user.groups.iter().filter(|group| *group != crate::user::AUTHENTICATED).collect();
    info["groups"] = serde_json::json!(groups);
    info["uid"] = user.uid.clone().into();
    info["extra"] = serde_json::json!(user.extra);
    Evaluation::new("user", &info, &admission::user_info())
        .check(&mapper.user)
        .map_err(|why| format!("error evaluating user info validation rule: {why}"))?;
    Ok(user)
}

fn username(
    settings: &JwtAuthenticator,
    mapper: &Mapper,
    claims: &Claims,
    by_claims: &mut Evaluation<'_>,
) -> Result<String, String> {
    if let Some(rule) = &mapper.username {
        let failed = |why: String| format!("error evaluating username claim expression: {why}");
        return match by_claims.run(rule).map_err(failed)? {
            Outcome::String(name) if name.as_str().is_empty() => {
                Err("empty username via CEL expression is not allowed".to_owned())
            }
            Outcome::String(name) => Ok(name.as_str().to_owned()),
            _ => Err(failed("username claim expression must return a string".to_owned())),
        };
    }
    let mapping = &settings.claim_mappings.username;
    let claim = &mapping.claim;
    let failed = |why: String| format!("parse username claims {claim:?}: {why}");
    let name = text(claims, claim).map_err(failed)?;
    if name.is_empty() {
        return Err(failed("it is empty".to_owned()));
    }
    if claim == "email" {
        match claims.get("email_verified") {
            None | Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err("email not verified".to_owned()),
            Some(_) => return Err("parse 'email_verified' claim: it is no boolean".to_owned()),
        }
    }
    Ok(format!("{}{name}", mapping.prefix.as_deref().unwrap_or_default()))
}

fn groups(
    settings: &JwtAuthenticator,
    mapper: &Mapper,
    claims: &Claims,
    by_claims: &mut Evaluation<'_>,
) -> Result<Vec<String>, String> {
    if let Some(rule) = &mapper.groups {
        let found = by_claims.run(rule).and_then(|found| texts(&found));
        return found.map_err(|why| format!("error evaluating group claim expression: {why}"));
    }
    let mapping = &settings.claim_mappings.groups;
    let claim = &mapping.claim;
    let Some(value) = claims.get(claim).filter(|_| !claim.is_empty()) else {
        return Ok(Vec::new());
    };
    let prefix = mapping.prefix.as_deref().unwrap_or_default();
    let wrong =
        || format!("parse groups claim {claim:?}: it is neither a text nor a list of texts");
    let one = |value: &Value| value.as_str().map(|group| format!("{prefix}{group}"));
    let found: Option<Vec<String>> = match value {
        Value::Array(all) => all.iter().map(one).collect(),
        Value::Null => Some(Vec::new()),
        value => one(value).map(|group| vec![group]),
    };
    found.ok_or_else(wrong)
}

fn uid(
    settings: &JwtAuthenticator,
    mapper: &Mapper,
    claims: &Claims,
    by_claims: &mut Evaluation<'_>,
) -> Result<String, String> {
    let claim = &settings.claim_mappings.uid.claim;
    if !claim.is_empty() {
        return text(claims, claim).map_err(|why| format!("parse uid claim {claim:?}: {why}"));
    }
    let Some(rule) = &mapper.uid else { return Ok(String::new()) };
    let failed = |why: String| format!("error evaluating uid claim expression: {why}");
    match by_claims.run(rule).map_err(failed)? {
        Outcome::String(uid) => Ok(uid.as_str().to_owned()),
        _ => Err(failed("uid claim expression must return a string".to_owned())),
    }
}

fn extra(
    mapper: &Mapper,
    claims: &Claims,
    by_claims: &mut Evaluation<'_>,
) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut extra = BTreeMap::new();
    if let Some(id) = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
    }
    for (key, rule) in &mapper.extra {
        let found = by_claims.run(rule).and_then(|found| texts(&found)).map_err(|why| {
            format!("error evaluating extra claim expression: {}: {why}", rule.text)
        })?;
        if !found.is_empty() {
            extra.insert(key.clone(), found);
        }
    }
    Ok(extra)
}

fn text(claims: &Claims, claim: &str) -> Result<String, String> {
    match claims.get(claim) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err("it is no text".to_owned()),
        None => Err("claim not present".to_owned()),
    }
}

/// A text or a list of texts; empty ones do not count.
fn texts(found: &Outcome<'_>) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let mut texts = match found {
        Outcome::Null => Vec::new(),
        Outcome::String(text) => vec![text.as_str().to_owned()],
        Outcome::List(list) => {
            let items = list.iter().map(|item| match item {
                Outcome::String(text) => Ok(text.as_str().to_owned()),
                _ => Err(wrong()),
            });
            items.collect::<Result<_, _>>()?
        }
        _ => return Err(wrong()),
    };
    texts.retain(|text| !text.is_empty());
    Ok(texts)
}

/// Expressions over one value, within one budget.
struct Evaluation<'a> {
    bindings: Bindings<'a>,
    budget: Budget,
}

impl<'a> Evaluation<'a> {
    fn new(name: &str, value: &'a Value, decl: &std::sync::Arc<Decl>) -> Evaluation<'a> {
        let bindings = Bindings::new().with(name, Outcome::of_json(value, decl));
        Evaluation { bindings, budget: Budget::per_request() }
    }

    fn run(&mut self, rule: &Rule) -> Result<Outcome<'a>, String> {
        let Evaluation { bindings, budget } = self;
        rule.program.evaluate(bindings, budget).map_err(|error| {
            format!("expression '{}' resulted in error: {}", rule.text, error.message)
        })
    }

    fn check(&mut self, rules: &[Rule]) -> Result<(), String> {
        for rule in rules {
            match self.run(rule)? {
                Outcome::Bool(true) => {}
                Outcome::Bool(false) => {
                    let (text, message) = (&rule.text, &rule.message);
                    return Err(format!("validation expression '{text}' failed: {message}"));
                }
                _ => return Err("validation expression must return a boolean".to_owned()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
