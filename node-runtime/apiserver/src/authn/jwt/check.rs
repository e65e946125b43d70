//! What is wrong with the settings of an issuer, and its expressions, compiled.

use std::collections::HashSet;

use minik_cel::{Decl, Environment, Program, Type, admission};
use minik_meta::{FieldError, Path, names};

use super::super::config::{ClaimRule, ExtraMapping, Issuer, JwtAuthenticator, Mapping, UserRule};
use super::claims::{Mapper, Rule};
use crate::tls::Trust;

/// Issuers that can be named.
const ISSUERS_MAX: usize = 64;

const BOTH: &str = "claim and expression can't both be set";
const NEITHER: &str = "claim or expression is required";

/// What is wrong with the issuers.
pub(crate) fn all(settings: &[JwtAuthenticator]) -> Vec<FieldError> {
    let root = Path::new("jwt");
    if settings.len() > ISSUERS_MAX {
        return vec![FieldError::too_many(&root, settings.len(), ISSUERS_MAX)];
    }
    let mut wrong = Vec::new();
    let (mut urls, mut discoveries) = (HashSet::new(), HashSet::new());
    for (index, one) in settings.iter().enumerate() {
        let path = root.index(index);
        issuer(&one.issuer, &path.child("issuer"), &mut wrong);
        mapper(one, &path, &mut wrong);
        let (url, discovery) = (&one.issuer.url, &one.issuer.discovery_url);
        if !urls.insert(url) {
            wrong.push(FieldError::duplicate(&path.child("issuer").child("url"), url.as_str()));
        }
        if !discovery.is_empty() && !discoveries.insert(discovery) {
            let path = path.child("issuer").child("discoveryURL");
            wrong.push(FieldError::duplicate(&path, discovery.as_str()));
        }
    }
    wrong
}

/// Nobody else may issue what this server issues.
pub(super) fn overlap(settings: &[JwtAuthenticator], ours: &str) -> Vec<FieldError> {
    let same = settings.iter().enumerate().filter(|(_, one)| one.issuer.url == ours);
    same.map(|(index, _)| {
        let why = format!("URL must not overlap with disallowed issuers: [{ours}]");
        FieldError::invalid(&Path::new(format!("jwt[{index}].issuer.url")), ours, why)
    })
    .collect()
}

/// Conditions for requests that are never taken.
pub(crate) fn conditions_without_use() -> FieldError {
    let why = "enabled should be set to true when conditions are defined";
    FieldError::invalid(&Path::new("anonymous.conditions"), serde_json::Value::Null, why)
}

fn issuer(given: &Issuer, path: &Path, wrong: &mut Vec<FieldError>) {
    match given.url.is_empty() {
        true => wrong.push(FieldError::required(&path.child("url"), "")),
        false => url(&given.url, &path.child("url"), wrong),
    }
    if !given.discovery_url.is_empty() {
        let at = path.child("discoveryURL");
        let bare = |text: &str| text.trim_end_matches('/').to_owned();
        if !given.url.is_empty() && bare(&given.url) == bare(&given.discovery_url) {
            let why = "discoveryURL must be different from URL";
            wrong.push(FieldError::invalid(&at, given.discovery_url.as_str(), why));
        }
        url(&given.discovery_url, &at, wrong);
    }
    audiences(given, path, wrong);
    if !given.certificate_authority.is_empty() {
        let trust = Trust::Bundle(given.certificate_authority.clone());
        if let Err(error) = crate::tls::outgoing_config(&trust, None) {
            let at = path.child("certificateAuthority");
            wrong.push(FieldError::invalid(&at, "<omitted>", error.to_string()));
        }
    }
    if !given.egress_selector_type.is_empty() {
        let why = "egress selectors are not supported: there is one way out";
        let at = path.child("egressSelectorType");
        wrong.push(FieldError::invalid(&at, given.egress_selector_type.as_str(), why));
    }
}

fn url(text: &str, path: &Path, wrong: &mut Vec<FieldError>) {
    let mut say = |why: &str| wrong.push(FieldError::invalid(path, text, why));
    let Some((scheme, rest)) = text.split_once("://") else {
        return say("URL scheme must be https");
    };
    if scheme != "https" {
        say("URL scheme must be https");
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        say("URL must not contain a username or password");
    }
    if !query.is_empty() {
        say("URL must not contain a query");
    }
    if !fragment.is_empty() {
        say("URL must not contain a fragment");
    }
    if scheme == "https" && crate::webhook::Place::of_url(text).is_err() {
        say("URL must name a host");
    }
}

fn audiences(given: &Issuer, path: &Path, wrong: &mut Vec<FieldError>) {
    let at = path.child("audiences");
    if given.audiences.is_empty() {
        let why = format!("at least one {at} is required");
        wrong.push(FieldError::required(&at, why));
        return;
    }
    let mut seen = HashSet::new();
    for (index, audience) in given.audiences.iter().enumerate() {
        if audience.is_empty() {
            wrong.push(FieldError::required(&at.index(index), ""));
        }
        if !seen.insert(audience) {
            wrong.push(FieldError::duplicate(&at.index(index), audience.as_str()));
        }
    }
    let (policy, at) = (given.audience_match_policy.as_str(), path.child("audienceMatchPolicy"));
    let why = match (given.audiences.len(), policy) {
        (_, "MatchAny") | (1, "") => return,
        (1, _) => "audienceMatchPolicy must be empty or MatchAny for single audience",
        _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
    };
    wrong.push(FieldError::invalid(&at, policy, why));
}

/// Compiles the expressions of an issuer, as far as they are good.
pub(super) fn mapper(
    settings: &JwtAuthenticator,
    path: &Path,
    wrong: &mut Vec<FieldError>,
) -> Mapper {
    let maps = &settings.claim_mappings;
    let at = path.child("claimMappings");
    let mapper = Mapper {
        claims: claim_rules(&settings.claim_validation_rules, path, wrong),
        username: mapping(&maps.username, &at.child("username"), true, true, wrong),
        groups: mapping(&maps.groups, &at.child("groups"), false, true, wrong),
        uid: mapping(&maps.uid, &at.child("uid"), false, false, wrong),
        extra: extra(&maps.extra, &at.child("extra"), wrong),
        user: user_rules(&settings.user_validation_rules, path, wrong),
    };
    let selects = |rule: &Rule, field| rule.program.selects("claims", field);
    let verifies = mapper.username.iter().chain(mapper.extra.iter().map(|(_, rule)| rule));
    let mut verifies = verifies.chain(&mapper.claims);
    if let Some(name) = mapper.username.as_ref().filter(|rule| selects(rule, "email"))
        && !verifies.any(|rule| selects(rule, "email_verified"))
    {
        let why = "claims.email_verified must be used in claimMappings.username.expression or \
                   claimMappings.extra[*].valueExpression or claimValidationRules[*].expression \
                   when claims.email is used in claimMappings.username.expression";
        let at = at.child("username").child("expression");
        wrong.push(FieldError::invalid(&at, name.text.as_str(), why));
    }
    mapper
}

fn compile(
    variable: &str,
    text: &str,
    message: &str,
    is_condition: bool,
    path: &Path,
) -> Result<Rule, FieldError> {
    let decl = if variable == "user" { admission::user_info() } else { Decl::json() };
    let environment = Environment::new().with(variable, decl);
    let invalid = |why: String| FieldError::invalid(path, text, why);
    let program = Program::compile(&environment, text).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        invalid(format!("compilation failed: {}", errors.join("\n")))
    })?;
    if is_condition && *program.ty() != Type::Bool {
        return Err(invalid("must evaluate to bool".to_owned()));
    }
    Ok(Rule { text: text.to_owned(), message: message.to_owned(), program })
}

fn keep<T>(found: Result<T, FieldError>, wrong: &mut Vec<FieldError>) -> Option<T> {
    found.map_err(|error| wrong.push(error)).ok()
}

fn mapping(
    given: &Mapping,
    path: &Path,
    required: bool,
    has_prefix: bool,
    wrong: &mut Vec<FieldError>,
) -> Option<Rule> {
    let (claim, expression) = (&given.claim, &given.expression);
    match (claim.is_empty(), expression.is_empty()) {
        (false, false) => wrong.push(FieldError::invalid(path, "", BOTH)),
        (true, true) if required => wrong.push(FieldError::required(path, NEITHER)),
        (true, false) => {
            if let Some(prefix) = &given.prefix {
                let why = "may not be specified when expression is set";
                wrong.push(FieldError::invalid(&path.child("prefix"), prefix.as_str(), why));
            }
            let at = path.child("expression");
            return keep(compile("claims", expression, "", false, &at), wrong);
        }
        (false, true) if has_prefix && given.prefix.is_none() => {
            let why = "prefix is required when claim is set. It can be set to an empty string to \
                       disable prefixing";
            wrong.push(FieldError::required(&path.child("prefix"), why));
        }
        _ => {}
    }
    None
}

fn claim_rules(rules: &[ClaimRule], path: &Path, wrong: &mut Vec<FieldError>) -> Vec<Rule> {
    let (mut claims, mut expressions) = (HashSet::new(), HashSet::new());
    let mut compiled = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = path.child("claimValidationRules").index(index);
        let (claim, expression) = (rule.claim.as_str(), rule.expression.as_str());
        match (claim, expression) {
            ("", "") => wrong.push(FieldError::required(&at, NEITHER)),
            ("", expression) => {
                if !rule.required_value.is_empty() {
                    let why = "may not be specified when expression is set";
                    let at = at.child("requiredValue");
                    wrong.push(FieldError::invalid(&at, rule.required_value.as_str(), why));
                }
                let at = at.child("expression");
                if !expressions.insert(expression) {
                    wrong.push(FieldError::duplicate(&at, expression));
                    continue;
                }
                let rule = compile("claims", expression, &rule.message, true, &at);
                compiled.extend(keep(rule, wrong));
            }
            (claim, "") => {
                if !rule.message.is_empty() {
                    let why = "may not be specified when claim is set";
                    let at = at.child("message");
                    wrong.push(FieldError::invalid(&at, rule.message.as_str(), why));
                }
                if !claims.insert(claim) {
                    wrong.push(FieldError::duplicate(&at.child("claim"), claim));
                }
            }
            _ => wrong.push(FieldError::invalid(&at, claim, BOTH)),
        }
    }
    compiled
}

fn user_rules(rules: &[UserRule], path: &Path, wrong: &mut Vec<FieldError>) -> Vec<Rule> {
    let mut seen = HashSet::new();
    let mut compiled = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = path.child("userValidationRules").index(index).child("expression");
        let text = rule.expression.as_str();
        if text.is_empty() {
            wrong.push(FieldError::required(&at, ""));
        } else if !seen.insert(text) {
            wrong.push(FieldError::duplicate(&at, text));
        } else {
            compiled.extend(keep(compile("user", text, &rule.message, true, &at), wrong));
        }
    }
    compiled
}

fn extra(
    mappings: &[ExtraMapping],
    path: &Path,
    wrong: &mut Vec<FieldError>,
) -> Vec<(String, Rule)> {
    let mut seen = HashSet::new();
    let mut compiled = Vec::new();
    for (index, mapping) in mappings.iter().enumerate() {
        let at = path.index(index);
        let key = mapping.key.as_str();
        wrong.extend(extra_key(key, &at.child("key")));
        if !seen.insert(key) {
            wrong.push(FieldError::duplicate(&at.child("key"), key));
            continue;
        }
        let (text, at) = (mapping.value_expression.as_str(), at.child("valueExpression"));
        if text.is_empty() {
            wrong.push(FieldError::required(&at, ""));
            continue;
        }
        let rule = keep(compile("claims", text, "", false, &at), wrong);
        compiled.extend(rule.map(|rule| (key.to_owned(), rule)));
    }
    compiled
}

/// Keys belong to somebody's domain, and not to Kubernetes'.
fn extra_key(key: &str, path: &Path) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    let mut say = |why: &str| wrong.push(FieldError::invalid(path, key, why));
    let Some((domain, rest)) = key.split_once('/').filter(|(domain, _)| !domain.is_empty()) else {
        match key.is_empty() {
            true => wrong.push(FieldError::required(path, "")),
            false => say("must be a domain-prefixed path (such as \"acme.io/foo\")"),
        }
        return wrong;
    };
    names::dns1123_subdomain(domain).iter().for_each(|why| say(why));
    if rest.is_empty() {
        say("must be a domain-prefixed path (such as \"acme.io/foo\")");
    }
    if key.chars().any(char::is_uppercase) {
        say("must be lowercase");
    }
    if ["k8s.io", "kubernetes.io"].iter().any(|own| {
        domain.strip_suffix(own).is_some_and(|left| left.is_empty() || left.ends_with('.'))
    }) {
        say("k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
    }
    wrong
}
