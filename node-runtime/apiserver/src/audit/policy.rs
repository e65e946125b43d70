//! Which rule of the policy is for a request.

use minik_config::{AuditLevel, AuditPolicy, AuditResources, AuditRule};

use crate::authz::rbac::Wish;
use crate::user::User;

/// The first rule that fits; none when nothing is recorded.
pub(super) fn rule_for<'a>(
    policy: &'a AuditPolicy,
    user: Option<&User>,
    wish: &Wish<'_>,
) -> Option<&'a AuditRule> {
    let rule = policy.rules.iter().find(|rule| fits(rule, user, wish))?;
    (rule.level > AuditLevel::None).then_some(rule)
}

fn fits(rule: &AuditRule, user: Option<&User>, wish: &Wish<'_>) -> bool {
    let (Wish::Page { verb, .. } | Wish::Resource { verb, .. }) = *wish;
    let has = |list: &[String], wanted: &str| list.iter().any(|one| one == wanted);
    if !rule.users.is_empty() && !user.is_some_and(|user| has(&rule.users, &user.name)) {
        return false;
    }
    let in_group = |user: &User| user.groups.iter().any(|group| has(&rule.user_groups, group));
    if !rule.user_groups.is_empty() && !user.is_some_and(in_group) {
        return false;
    }
    if !rule.verbs.is_empty() && !has(&rule.verbs, verb) {
        return false;
    }
    if !rule.namespaces.is_empty() || !rule.resources.is_empty() {
        let Wish::Resource { namespace, .. } = *wish else { return false };
        return (rule.namespaces.is_empty() || has(&rule.namespaces, namespace))
            && (rule.resources.is_empty()
                || rule.resources.iter().any(|resources| covers(resources, wish)));
    }
    match *wish {
        _ if rule.non_resource_urls.is_empty() => true,
        Wish::Page { path, .. } => rule.non_resource_urls.iter().any(|rule| {
            rule == path || rule.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
        }),
        Wish::Resource { .. } => false,
    }
}

fn covers(rule: &AuditResources, wish: &Wish<'_>) -> bool {
    let Wish::Resource { group, resource, subresource, name, .. } = *wish else { return false };
    if rule.group != "*" && rule.group != group {
        return false;
    }
    if rule.resources.is_empty() {
        return true;
    }
    if !rule.resource_names.is_empty() && !rule.resource_names.iter().any(|one| one == name) {
        return false;
    }
    rule.resources.iter().any(|rule| match rule.split_once('/') {
        None => rule == "*" || (rule == resource && subresource.is_empty()),
        Some((base, "*")) if base == resource => true,
        Some((base, sub)) => {
            !subresource.is_empty() && sub == subresource && (base == "*" || base == resource)
        }
    })
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch], resources: [{resources: [services]}]}
- {level: None, userGroups: ["system:nodes"], nonResourceURLs: ["/api*", "/version"]}
- {level: Metadata, namespaces: ["web"], verbs: [delete]}
- {level: Metadata, namespaces: [""], verbs: [patch]}
- {level: Request, resources: [{resources: [configmaps], resourceNames: [one]}]}
- {level: Request, resources: [{group: apps}, {group: "*", resources: ["*/scale", "pods/*"]}]}
- {level: None, resources: [{group: "", resources: ["*"]}]}
- {level: RequestResponse}
"#;

    #[test_case("proxy", "watch", "services", "", "", 0; "user and verb and resource")]
    #[test_case("proxy", "list", "services", "", "", 0; "of the rules for all, the one of the group")]
    #[test_case("node", "get", "/apis/apps", "", "", 0; "path below a star")]
    #[test_case("node", "get", "/version", "", "", 0; "path")]
    #[test_case("node", "get", "/versions", "", "", 3; "another path")]
    #[test_case("proxy", "get", "/version", "", "", 3; "another group")]
    #[test_case("proxy", "delete", "pods", "web", "a", 1; "namespace")]
    #[test_case("proxy", "patch", "nodes", "", "a", 1; "no namespace")]
    #[test_case("proxy", "patch", "/x", "", "", 3; "a path is in no namespace")]
    #[test_case("proxy", "get", "configmaps", "a", "one", 2; "name")]
    #[test_case("proxy", "get", "configmaps", "a", "two", 0; "another name")]
    #[test_case("proxy", "get", "apps/deployments", "a", "b", 2; "group")]
    #[test_case("proxy", "get", "batch/jobs", "a", "b", 3; "another one")]
    #[test_case("proxy", "get", "batch/jobs/scale", "a", "b", 2; "subresource of any")]
    #[test_case("proxy", "get", "pods/log", "a", "b", 2; "any subresource")]
    #[test_case("proxy", "get", "pods", "a", "b", 2; "a star of subresources means the resource too")]
    fn levels(user: &str, verb: &str, what: &str, namespace: &str, name: &str, level: usize) {
        let policy = AuditPolicy::from_text(POLICY).unwrap();
        let user = match user {
            "node" => User::node("n1"),
            name => User::new(format!("system:kube-{name}"), Vec::<String>::new()),
        };
        let parts: Vec<&str> = what.split('/').collect();
        let (group, resource, subresource) = match parts.as_slice() {
            [resource] => ("", *resource, ""),
            ["pods", subresource] => ("", "pods", *subresource),
            [group, resource] => (*group, *resource, ""),
            [group, resource, subresource] => (*group, *resource, *subresource),
            _ => unreachable!(),
        };
        let wish = match what.starts_with('/') {
            true => Wish::Page { verb, path: what },
            false => Wish::Resource { verb, group, resource, subresource, namespace, name },
        };
        let found =
            rule_for(&policy, Some(&user), &wish).map_or(AuditLevel::None, |rule| rule.level);
        let levels = ["None", "Metadata", "Request", "RequestResponse"];
        assert_eq!(found.as_str(), levels[level]);
    }

    #[test]
    fn nobody_known_has_no_name_and_no_group() {
        let policy = AuditPolicy::from_text(
            "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, users: [a]}, \
             {level: Metadata, userGroups: [b]}]}",
        );
        let wish = Wish::Page { verb: "get", path: "/" };
        assert_eq!(rule_for(&policy.unwrap(), None, &wish), None);
    }
}
