//! What is wrong with issuers of tokens, in upstream's words.

use std::collections::HashSet;

use super::{ClaimRule, ExtraMapping, Issuer, JwtAuthenticator, Mapping, UserRule};

/// Issuers that can be named.
const ISSUERS_MAX: usize = 64;

const BOTH: &str = "claim and expression can't both be set";
const NEITHER: &str = "claim or expression is required";
const NO_VALUE: &str = "may not be specified when expression is set";

/// Collects what is wrong.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn invalid(&mut self, path: &str, value: &str, why: &str) {
        self.0.push(format!("{path}: Invalid value: {value:?}: {why}"));
    }

    fn required(&mut self, path: &str, why: &str) {
        let colon = if why.is_empty() { "" } else { ": " };
        self.0.push(format!("{path}: Required value{colon}{why}"));
    }

    fn duplicate(&mut self, path: &str, value: &str) {
        self.0.push(format!("{path}: Duplicate value: {value:?}"));
    }
}

/// What is wrong with the issuers.
pub(super) fn all(settings: &[JwtAuthenticator]) -> Vec<String> {
    let have = settings.len();
    if have > ISSUERS_MAX {
        return vec![format!("jwt: Too many: {have}: must have at most {ISSUERS_MAX} items")];
    }
    let mut wrong = Wrong::default();
    let (mut urls, mut discoveries) = (HashSet::new(), HashSet::new());
    for (index, one) in settings.iter().enumerate() {
        let path = format!("jwt[{index}]");
        issuer(&one.issuer, &format!("{path}.issuer"), &mut wrong);
        claim_rules(&one.claim_validation_rules, &path, &mut wrong);
        let (maps, at) = (&one.claim_mappings, format!("{path}.claimMappings"));
        mapping(&maps.username, &format!("{at}.username"), true, true, &mut wrong);
        mapping(&maps.groups, &format!("{at}.groups"), false, true, &mut wrong);
        mapping(&maps.uid, &format!("{at}.uid"), false, false, &mut wrong);
        extra(&maps.extra, &format!("{at}.extra"), &mut wrong);
        user_rules(&one.user_validation_rules, &path, &mut wrong);
        let (url, discovery) = (&one.issuer.url, &one.issuer.discovery_url);
        if !urls.insert(url) {
            wrong.duplicate(&format!("{path}.issuer.url"), url);
        }
        if !discovery.is_empty() && !discoveries.insert(discovery) {
            wrong.duplicate(&format!("{path}.issuer.discoveryURL"), discovery);
        }
    }
    wrong.0
}

fn issuer(given: &Issuer, path: &str, wrong: &mut Wrong) {
    match given.url.is_empty() {
        true => wrong.required(&format!("{path}.url"), ""),
        false => url(&given.url, &format!("{path}.url"), wrong),
    }
    if !given.discovery_url.is_empty() {
        let at = format!("{path}.discoveryURL");
        let bare = |text: &str| text.trim_end_matches('/').to_owned();
        if !given.url.is_empty() && bare(&given.url) == bare(&given.discovery_url) {
            wrong.invalid(&at, &given.discovery_url, "discoveryURL must be different from URL");
        }
        url(&given.discovery_url, &at, wrong);
    }
    audiences(given, path, wrong);
    let authority = &given.certificate_authority;
    if !authority.is_empty() && !authority.contains("-----BEGIN CERTIFICATE-----") {
        let at = format!("{path}.certificateAuthority");
        wrong.invalid(&at, "<omitted>", "unable to parse bytes as PEM block");
    }
    if !given.egress_selector_type.is_empty() {
        let why = "egress selectors are not supported: there is one way out";
        wrong.invalid(&format!("{path}.egressSelectorType"), &given.egress_selector_type, why);
    }
}

fn url(text: &str, path: &str, wrong: &mut Wrong) {
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong.invalid(path, text, "URL scheme must be https");
    };
    if scheme != "https" {
        wrong.invalid(path, text, "URL scheme must be https");
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        wrong.invalid(path, text, "URL must not contain a username or password");
    }
    if !query.is_empty() {
        wrong.invalid(path, text, "URL must not contain a query");
    }
    if !fragment.is_empty() {
        wrong.invalid(path, text, "URL must not contain a fragment");
    }
    if host.is_empty() {
        wrong.invalid(path, text, "URL must name a host");
    }
}

fn audiences(given: &Issuer, path: &str, wrong: &mut Wrong) {
    let at = format!("{path}.audiences");
    if given.audiences.is_empty() {
        return wrong.required(&at, &format!("at least one {at} is required"));
    }
    let mut seen = HashSet::new();
    for (index, audience) in given.audiences.iter().enumerate() {
        if audience.is_empty() {
            wrong.required(&format!("{at}[{index}]"), "");
        }
        if !seen.insert(audience) {
            wrong.duplicate(&format!("{at}[{index}]"), audience);
        }
    }
    let why = match (given.audiences.len(), given.audience_match_policy.as_str()) {
        (_, "MatchAny") | (1, "") => return,
        (1, _) => "audienceMatchPolicy must be empty or MatchAny for single audience",
        _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
    };
    wrong.invalid(&format!("{path}.audienceMatchPolicy"), &given.audience_match_policy, why);
}

fn mapping(given: &Mapping, path: &str, required: bool, has_prefix: bool, wrong: &mut Wrong) {
    match (given.claim.is_empty(), given.expression.is_empty()) {
        (false, false) => wrong.invalid(path, "", BOTH),
        (true, true) if required => wrong.required(path, NEITHER),
        (true, false) => {
            if let Some(prefix) = &given.prefix {
                wrong.invalid(&format!("{path}.prefix"), prefix, NO_VALUE);
            }
        }
        (false, true) if has_prefix && given.prefix.is_none() => {
            let why = "prefix is required when claim is set. It can be set to an empty string to \
                       disable prefixing";
            wrong.required(&format!("{path}.prefix"), why);
        }
        _ => {}
    }
}

fn claim_rules(rules: &[ClaimRule], path: &str, wrong: &mut Wrong) {
    let (mut claims, mut expressions) = (HashSet::new(), HashSet::new());
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("{path}.claimValidationRules[{index}]");
        match (rule.claim.as_str(), rule.expression.as_str()) {
            ("", "") => wrong.required(&at, NEITHER),
            ("", expression) => {
                if !rule.required_value.is_empty() {
                    wrong.invalid(&format!("{at}.requiredValue"), &rule.required_value, NO_VALUE);
                }
                if !expressions.insert(expression) {
                    wrong.duplicate(&format!("{at}.expression"), expression);
                }
            }
            (claim, "") => {
                if !rule.message.is_empty() {
                    let why = "may not be specified when claim is set";
                    wrong.invalid(&format!("{at}.message"), &rule.message, why);
                }
                if !claims.insert(claim) {
                    wrong.duplicate(&format!("{at}.claim"), claim);
                }
            }
            (claim, _) => wrong.invalid(&at, claim, BOTH),
        }
    }
}

fn user_rules(rules: &[UserRule], path: &str, wrong: &mut Wrong) {
    let mut seen = HashSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("{path}.userValidationRules[{index}].expression");
        if rule.expression.is_empty() {
            wrong.required(&at, "");
        } else if !seen.insert(&rule.expression) {
            wrong.duplicate(&at, &rule.expression);
        }
    }
}

fn extra(mappings: &[ExtraMapping], path: &str, wrong: &mut Wrong) {
    let mut seen = HashSet::new();
    for (index, mapping) in mappings.iter().enumerate() {
        let at = format!("{path}[{index}]");
        extra_key(&mapping.key, &format!("{at}.key"), wrong);
        if !seen.insert(&mapping.key) {
            wrong.duplicate(&format!("{at}.key"), &mapping.key);
        } else if mapping.value_expression.is_empty() {
            wrong.required(&format!("{at}.valueExpression"), "");
        }
    }
}

/// Keys belong to somebody's domain, and not to Kubernetes'.
fn extra_key(key: &str, path: &str, wrong: &mut Wrong) {
    if key.is_empty() {
        return wrong.required(path, "");
    }
    let label = |label: &str| {
        let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-');
        !label.is_empty() && label.bytes().all(known)
    };
    let parts = key.split_once('/').filter(|(_, rest)| !rest.is_empty());
    let Some((domain, _)) = parts.filter(|(domain, _)| domain.split('.').all(label)) else {
        return wrong.invalid(
            path,
            key,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        );
    };
    if key.chars().any(char::is_uppercase) {
        wrong.invalid(path, key, "must be lowercase");
    }
    if ["k8s.io", "kubernetes.io"].iter().any(|own| {
        domain.strip_suffix(own).is_some_and(|left| left.is_empty() || left.ends_with('.'))
    }) {
        let why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
        wrong.invalid(path, key, why);
    }
}
