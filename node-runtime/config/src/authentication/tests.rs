//! Settings that are taken, and what is said about others.

use expect_test::expect;
use test_case::test_case;

use super::*;

fn read(jwt: &str) -> String {
    let text =
        format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n{jwt}");
    match Authentication::from_text(&text) {
        Ok(read) => format!("{} issuers", read.jwt.len()),
        Err(why) => {
            why.trim_matches(['[', ']']).replace(", jwt[", "\njwt[").replace(", anon", "\nanon")
        }
    }
}

#[test]
fn a_whole_configuration() {
    assert_eq!(
        read(
            "
jwt:
- issuer:
    url: https://a.example
    discoveryURL: https://b.example/keys
    audiences: [minik, other]
    audienceMatchPolicy: MatchAny
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
  - {expression: 'claims.exp - claims.nbf <= 86400', message: too long}
  - {expression: 'claims.email_verified == true'}
  claimMappings:
    username: {expression: 'claims.email'}
    groups: {claim: groups, prefix: 'a:'}
    uid: {claim: sub}
    extra: [{key: example.com/team, valueExpression: claims.team}]
  userValidationRules:
  - {expression: \"!user.username.startsWith('system:')\", message: reserved}
anonymous: {enabled: true, conditions: [{path: /livez}]}
"
        ),
        "1 issuers"
    );
}

#[test]
fn everything_wrong() {
    expect![[r#"
        jwt[0].issuer.url: Invalid value: "http://u:p@a?b=c#d": URL scheme must be https
        jwt[0].issuer.url: Invalid value: "http://u:p@a?b=c#d": URL must not contain a username or password
        jwt[0].issuer.url: Invalid value: "http://u:p@a?b=c#d": URL must not contain a query
        jwt[0].issuer.url: Invalid value: "http://u:p@a?b=c#d": URL must not contain a fragment
        jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required
        jwt[0].issuer.certificateAuthority: Invalid value: "<omitted>": unable to parse bytes as PEM block
        jwt[0].claimValidationRules[0]: Required value: claim or expression is required
        jwt[0].claimMappings.username: Required value: claim or expression is required
        jwt[0].claimMappings.groups.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing
        jwt[0].claimMappings.uid: Invalid value: "": claim and expression can't both be set
        jwt[0].claimMappings.extra[0].key: Invalid value: "team": must be a domain-prefixed path (such as "acme.io/foo")
        jwt[0].claimMappings.extra[1].key: Invalid value: "a.k8s.io/b": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use
        jwt[0].claimMappings.extra[1].valueExpression: Required value
        jwt[0].userValidationRules[0].expression: Required value
        anonymous.conditions: Forbidden: enabled should be set to true when conditions are defined"#]]
    .assert_eq(&read(
        "
jwt:
- issuer: {url: 'http://u:p@a?b=c#d', certificateAuthority: none}
  claimValidationRules: [{}, {expression: claims.a}]
  claimMappings:
    groups: {claim: groups}
    uid: {claim: a, expression: b}
    extra: [{key: team, valueExpression: claims.a}, {key: a.k8s.io/b}]
  userValidationRules: [{}]
anonymous: {enabled: false, conditions: [{path: /livez}]}
",
    ));
}

const MAPPED: &str = "claimMappings: {username: {claim: sub, prefix: ''}}";

#[test_case("issuer: {url: 'https://a', audiences: [a, b]}", MAPPED,
    "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences"; "policy")]
#[test_case("issuer: {url: 'https://a', discoveryURL: 'https://a/', audiences: [a]}", MAPPED,
    "jwt[0].issuer.discoveryURL: Invalid value: \"https://a/\": discoveryURL must be different from URL"; "discovery")]
fn issuers(issuer: &str, mappings: &str, said: &str) {
    assert_eq!(read(&format!("jwt:\n- {issuer}\n  {mappings}\n")), said);
}

#[test]
fn one_issuer_twice() {
    let one = format!("- issuer: {{url: 'https://a', audiences: [a]}}\n  {MAPPED}\n");
    assert_eq!(
        read(&format!("jwt:\n{one}{one}")),
        "jwt[1].issuer.url: Duplicate value: \"https://a\""
    );
}

#[test]
fn other_files() {
    let other = "apiVersion: apiserver.config.k8s.io/v9\nkind: AuthenticationConfiguration";
    assert!(Authentication::from_text(other).unwrap_err().contains("v9"));
    assert!(read("more: 1").contains("unknown field"), "{}", read("more: 1"));
}

#[test_case("", "", "https://a#"; "the issuer by default")]
#[test_case("", "-", ""; "none")]
#[test_case("email", "", ""; "mail addresses have none")]
#[test_case("email", "x:", "x:"; "as asked")]
fn prefixes(claim: &str, prefix: &str, expected: &str) {
    let flags = OidcFlags {
        issuer_url: "https://a".to_owned(),
        client_id: "minik".to_owned(),
        username_claim: claim.to_owned(),
        username_prefix: prefix.to_owned(),
        ..OidcFlags::default()
    };
    let settings = flags.settings().expect("good flags");
    assert_eq!(settings.jwt[0].claim_mappings.username.prefix.as_deref(), Some(expected));
    assert_eq!(settings.algorithms, ["RS256"]);
    let bad = OidcFlags { signing_algorithms: vec!["none".to_owned()], ..flags };
    assert!(bad.settings().unwrap_err().starts_with("\"none\" is no signature"));
}
