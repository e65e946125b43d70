//! Users of claims.

use minik_config::Authentication;
use serde_json::json;
use test_case::test_case;

use super::super::check;
use super::*;

fn mapped(settings: &str, claims: &Value) -> Result<User, String> {
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n\
         - issuer: {{url: 'https://a', audiences: [a]}}\n{settings}"
    );
    let read = Authentication::from_text(&text).expect("good settings");
    let mapper = check::mapper(&read.jwt[0], &minik_meta::Path::root(), &mut Vec::new());
    user(&read.jwt[0], &mapper, claims.as_object().expect("an object"))
}

#[test]
fn claims_with_prefixes() {
    let settings = "
  claimMappings:
    username: {claim: sub, prefix: 'a:'}
    groups: {claim: groups, prefix: 'g:'}
    uid: {claim: id}
";
    let claims = json!({"sub": "ann", "groups": ["dev", "ops"], "id": "7", "jti": "x"});
    let user = mapped(settings, &claims).expect("a user");
    assert_eq!((&*user.name, &*user.uid), ("a:ann", "7"));
    assert_eq!(user.groups, ["g:dev", "g:ops", "system:authenticated"]);
    assert_eq!(user.extra[CREDENTIAL_ID], ["JTI=x"]);
    let one = mapped(settings, &json!({"sub": "ann", "groups": "dev", "id": "7"}));
    assert_eq!(one.expect("a user").groups, ["g:dev", "system:authenticated"]);
}

#[test]
fn expressions() {
    let settings = "
  claimMappings:
    username: {expression: 'claims.sub + \"@\" + claims.realm.name'}
    groups: {expression: 'claims.roles.filter(r, r != \"none\")'}
    uid: {expression: 'string(claims.id)'}
    extra:
    - {key: example.com/team, valueExpression: 'claims.?team.orValue(\"\")'}
    - {key: example.com/realm, valueExpression: claims.realm.name}
";
    let claims =
        json!({"sub": "ann", "realm": {"name": "r"}, "roles": ["dev", "none", ""], "id": 7});
    let user = mapped(settings, &claims).expect("a user");
    assert_eq!((&*user.name, &*user.uid), ("ann@r", "7"));
    assert_eq!(user.groups, ["dev", "system:authenticated"]);
    assert_eq!(
        user.extra,
        BTreeMap::from([("example.com/realm".to_owned(), vec!["r".to_owned()])])
    );
}

const PLAIN: &str = "  claimMappings: {username: {claim: sub, prefix: ''}}\n";
const MAIL: &str = "  claimMappings: {username: {claim: email, prefix: ''}}\n";
const RULES: &str = "
  claimMappings: {username: {claim: sub, prefix: ''}}
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
  - {expression: 'claims.level > 1', message: level too low}
  userValidationRules:
  - {expression: \"!user.username.startsWith('system:')\", message: reserved}
  - {expression: 'user.groups.all(g, g != \"root\")'}
";

#[test_case(PLAIN, json!({}), "parse username claims \"sub\": claim not present"; "absent")]
#[test_case(PLAIN, json!({"sub": 1}), "parse username claims \"sub\": it is no text"; "a number")]
#[test_case(MAIL, json!({"email": "a@b"}), ""; "mail, nobody says verified")]
#[test_case(MAIL, json!({"email": "a@b", "email_verified": true}), ""; "mail verified")]
#[test_case(MAIL, json!({"email": "a@b", "email_verified": false}), "email not verified"; "mail not verified")]
#[test_case(RULES, json!({"sub": "a", "hd": "example.com", "level": 2}), ""; "all rules kept")]
#[test_case(RULES, json!({"sub": "a", "level": 2}), "required claim hd not present in ID token"; "no claim")]
#[test_case(RULES, json!({"sub": "a", "hd": "x", "level": 2}),
    "required claim hd value does not match. Got = x, want = example.com"; "another claim")]
#[test_case(RULES, json!({"sub": "a", "hd": "example.com", "level": 1}),
    "error evaluating claim validation expression: validation expression 'claims.level > 1' failed: level too low"; "claims")]
#[test_case(RULES, json!({"sub": "system:admin", "hd": "example.com", "level": 2}),
    "error evaluating user info validation rule: validation expression '!user.username.startsWith('system:')' failed: reserved"; "user")]
fn refusals(settings: &str, claims: Value, why: &str) {
    assert_eq!(mapped(settings, &claims).err().unwrap_or_default(), why);
}
