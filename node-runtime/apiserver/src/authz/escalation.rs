//! Nobody hands out more than they hold: the check on writes of roles and bindings.

use crate::authz::rbac::PolicyRule;

/// The parts of `wanted` that no rule in `held` covers; empty when nothing is escalated.
///
/// Each rule is broken into single permissions (one verb, group, resource and name), and each of
/// these must be covered by one held rule as a whole.
pub(crate) fn missing(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let single = wanted.iter().flat_map(break_down);
    single.filter(|rule| !held.iter().any(|have| covers(have, rule))).collect()
}

fn break_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut out = Vec::new();
    for verb in &rule.verbs {
        let verbs = vec![verb.clone()];
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let one = PolicyRule {
                    verbs: verbs.clone(),
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    ..PolicyRule::default()
                };
                if rule.resource_names.is_empty() {
                    out.push(one);
                    continue;
                }
                out.extend(
                    rule.resource_names.iter().map(|name| PolicyRule {
                        resource_names: vec![name.clone()],
                        ..one.clone()
                    }),
                );
            }
        }
        out.extend(rule.non_resource_urls.iter().map(|url| PolicyRule {
            verbs: verbs.clone(),
            non_resource_urls: vec![url.clone()],
            ..PolicyRule::default()
        }));
    }
    out
}

/// Whether `held` grants all of the single permission `wanted`.
fn covers(held: &PolicyRule, wanted: &PolicyRule) -> bool {
    let all = |held: &[String], wanted: &[String]| {
        held.iter().any(|have| have == "*") || wanted.iter().all(|want| held.contains(want))
    };
    if !all(&held.verbs, &wanted.verbs) {
        return false;
    }
    if !wanted.non_resource_urls.is_empty() {
        return wanted.non_resource_urls.iter().all(|want| {
            held.non_resource_urls.iter().any(|have| match have.strip_suffix('*') {
                Some(prefix) => want.starts_with(prefix),
                None => want == have,
            })
        });
    }
    let resources = wanted.resources.iter().all(|want| {
        held.resources.iter().any(|have| {
            have == "*"
                || have == want
                || have.strip_prefix("*/").is_some_and(|sub| {
                    want.split_once('/').is_some_and(|(_, wanted_sub)| wanted_sub == sub)
                })
        })
    });
    let names = held.resource_names.is_empty()
        || (!wanted.resource_names.is_empty()
            && wanted.resource_names.iter().all(|want| held.resource_names.contains(want)));
    resources && names && all(&held.api_groups, &wanted.api_groups)
}

/// The message upstream gives, listing what is missing.
pub(crate) fn message(user: &crate::user::User, missing: &[PolicyRule]) -> String {
    let rules: Vec<String> = missing.iter().map(compact).collect();
    format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        list(&user.groups),
        rules.join("\n")
    )
}

/// A list as upstream prints it: `["a" "b"]`.
fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

fn compact(rule: &PolicyRule) -> String {
    let mut parts = Vec::new();
    for (label, list) in [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("Verbs", &rule.verbs),
    ] {
        if !list.is_empty() {
            parts.push(format!("{label}:{list:?}"));
        }
    }
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    /// `verbs groups resources [names]`, comma separated; `-` is the core group.
    fn rule(text: &str) -> PolicyRule {
        let mut words = text
            .split(' ')
            .map(|word| word.split(',').map(|part| part.replace('-', "")).collect::<Vec<String>>());
        let mut next = || words.next().unwrap_or_default();
        PolicyRule {
            verbs: next(),
            api_groups: next(),
            resources: next(),
            resource_names: next(),
            ..PolicyRule::default()
        }
    }

    #[test_case("get,list - pods", "get - pods", 0; "less than held")]
    #[test_case("get - pods", "get,list - pods,secrets", 3; "three single permissions more")]
    #[test_case("* * *", "get apps deployments/scale", 0; "star holds everything")]
    #[test_case("get - */status", "get - pods/status", 0; "star base covers the subresource")]
    #[test_case("get - secrets a", "get - secrets", 1; "a named right is less than all names")]
    #[test_case("get - secrets", "get - secrets a,b", 0; "all names cover the named")]
    fn escalations(held: &str, wanted: &str, expected: usize) {
        assert_eq!(missing(&[rule(held)], &[rule(wanted)]).len(), expected);
    }
}
