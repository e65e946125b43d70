//! Compiles the expressions of an issuer, and says what is wrong with them.

use minik_cel::{Decl, Environment, Program, Type, admission};
use minik_config::{Issuer, JwtAuthenticator};
use minik_meta::{FieldError, Path};

use super::claims::{Mapper, Rule};
use crate::tls::{self, Trust};
use crate::webhook::Place;

/// What is wrong with where an issuer is and whom it is vouched for by. `ours` is the issuer of
/// service-account tokens: nobody else may issue what this server issues.
pub(super) fn issuer(given: &Issuer, path: &Path, ours: &str) -> Vec<FieldError> {
    let path = path.child("issuer");
    let mut wrong = Vec::new();
    if given.url == ours {
        let why = format!("URL must not overlap with disallowed issuers: [{ours}]");
        wrong.push(FieldError::invalid(&path.child("url"), ours, why));
    }
    for (field, url) in [("url", &given.url), ("discoveryURL", &given.discovery_url)] {
        if let Some(error) = Place::of_url(url).err().filter(|_| !url.is_empty()) {
            wrong.push(FieldError::invalid(&path.child(field), url.as_str(), error.to_string()));
        }
    }
    if !given.certificate_authority.is_empty() {
        let trust = Trust::Bundle(given.certificate_authority.clone());
        if let Err(error) = tls::outgoing_config(&trust, None) {
            let at = path.child("certificateAuthority");
            wrong.push(FieldError::invalid(&at, "<omitted>", error.to_string()));
        }
    }
    wrong
}

/// The expressions of an issuer, as far as they are good.
pub(super) fn mapper(
    settings: &JwtAuthenticator,
    path: &Path,
    wrong: &mut Vec<FieldError>,
) -> Mapper {
    let mut compile = Compiler { wrong };
    let maps = &settings.claim_mappings;
    let at = path.child("claimMappings");
    let expression = |name: &str| at.child(name).child("expression");
    let (rules, checks) = (path.child("claimValidationRules"), path.child("userValidationRules"));
    let mapper = Mapper {
        claims: (settings.claim_validation_rules.iter().enumerate())
            .filter_map(|(index, rule)| {
                let at = rules.index(index).child("expression");
                compile.condition("claims", &rule.expression, &rule.message, &at)
            })
            .collect(),
        username: compile.mapping(&maps.username.expression, &expression("username")),
        groups: compile.mapping(&maps.groups.expression, &expression("groups")),
        uid: compile.mapping(&maps.uid.expression, &expression("uid")),
        extra: (maps.extra.iter().enumerate())
            .filter_map(|(index, one)| {
                let at = at.child("extra").index(index).child("valueExpression");
                Some((one.key.clone(), compile.mapping(&one.value_expression, &at)?))
            })
            .collect(),
        user: (settings.user_validation_rules.iter().enumerate())
            .filter_map(|(index, rule)| {
                let at = checks.index(index).child("expression");
                compile.condition("user", &rule.expression, &rule.message, &at)
            })
            .collect(),
    };
    wrong.extend(unverified_mail(&mapper, &expression("username")));
    mapper
}

/// Names that are mail addresses must be known to be.
fn unverified_mail(mapper: &Mapper, path: &Path) -> Option<FieldError> {
    let selects = |rule: &Rule, field| rule.program.selects("claims", field);
    let name = mapper.username.as_ref().filter(|rule| selects(rule, "email"))?;
    let mut others = mapper.extra.iter().map(|(_, rule)| rule).chain(&mapper.claims).chain([name]);
    if others.any(|rule| selects(rule, "email_verified")) {
        return None;
    }
    let why = "claims.email_verified must be used in claimMappings.username.expression or \
               claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when \
               claims.email is used in claimMappings.username.expression";
    Some(FieldError::invalid(path, name.text.as_str(), why))
}

struct Compiler<'a> {
    wrong: &'a mut Vec<FieldError>,
}

impl Compiler<'_> {
    /// An expression over `claims`; none if there is none, or it is wrong.
    fn mapping(&mut self, text: &str, path: &Path) -> Option<Rule> {
        self.compile("claims", text, "", path)
    }

    /// The same that is true or false.
    fn condition(
        &mut self,
        variable: &str,
        text: &str,
        message: &str,
        path: &Path,
    ) -> Option<Rule> {
        let rule = self.compile(variable, text, message, path)?;
        if *rule.program.ty() == Type::Bool {
            return Some(rule);
        }
        self.wrong.push(FieldError::invalid(path, text, "must evaluate to bool"));
        None
    }

    fn compile(&mut self, variable: &str, text: &str, message: &str, path: &Path) -> Option<Rule> {
        if text.is_empty() {
            return None;
        }
        let decl = if variable == "user" { admission::user_info() } else { Decl::json() };
        match Program::compile(&Environment::new().with(variable, decl), text) {
            Ok(program) => {
                let (text, message) = (text.to_owned(), message.to_owned());
                Some(Rule { text, message, program })
            }
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let why = format!("compilation failed: {}", errors.join("\n"));
                self.wrong.push(FieldError::invalid(path, text, why));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use minik_config::Authentication;

    use super::super::Issuers;

    fn built(rest: &str) -> String {
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n\
             - issuer: {{url: 'https://a', audiences: [a]}}\n{rest}"
        );
        let settings = Authentication::from_text(&text).expect("it follows the other rules");
        Issuers::new(&settings, "https://ours").err().map(|why| why.to_string()).unwrap_or_default()
    }

    #[test]
    fn good_expressions() {
        let whole = "  claimMappings:
    username: {expression: 'claims.?email.orValue(\"\") + string(claims.email_verified)'}
    groups: {expression: 'claims.roles.split(\",\")'}
    extra: [{key: example.com/team, valueExpression: claims.team}]
  claimValidationRules: [{expression: 'claims.exp - claims.nbf <= 86400'}]
  userValidationRules: [{expression: \"!user.username.startsWith('system:')\"}]
";
        assert_eq!(built(whole), "");
    }

    #[test]
    fn bad_expressions() {
        let bad = "  claimMappings:
    username: {expression: 'claims.email'}
    groups: {expression: 'claims.'}
  claimValidationRules: [{expression: 'claims.a'}]
  userValidationRules: [{expression: 'user.name == \"a\"'}]
";
        expect![[r#"
            invalid authentication configuration: jwt[0].claimValidationRules[0].expression: Invalid value: "claims.a": must evaluate to bool, jwt[0].claimMappings.groups.expression: Invalid value: "claims.": compilation failed: ERROR: <input>:1:8: Syntax error: mismatched input '<EOF>' expecting IDENTIFIER
             | claims.
             | .......^, jwt[0].userValidationRules[0].expression: Invalid value: "user.name == \"a\"": compilation failed: ERROR: <input>:1:5: undefined field 'name'
             | user.name == "a"
             | ....^, jwt[0].claimMappings.username.expression: Invalid value: "claims.email": claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"#]].assert_eq(&built(bad));
    }

    #[test]
    fn nobody_else_issues_our_tokens() {
        let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n\
                    jwt: [{issuer: {url: 'https://a', audiences: [a]}, claimMappings: \
                    {username: {claim: sub, prefix: ''}}}]";
        let settings = Authentication::from_text(text).expect("good settings");
        let refused = Issuers::new(&settings, "https://a").err().expect("refused").to_string();
        assert!(refused.contains("must not overlap with disallowed issuers"), "{refused}");
    }
}
