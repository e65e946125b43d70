//! `Impersonate-*` headers: acting as somebody else, if the roles allow it.

use std::collections::BTreeMap;

use http::HeaderMap;
use minik_meta::Status;

use crate::authz::rbac::Wish;
use crate::authz::{self, Authorizer};
use crate::route::decode;
use crate::user::{ANONYMOUS, SERVICE_ACCOUNT_PREFIX, UNAUTHENTICATED, User};

const EXTRA_PREFIX: &str = "impersonate-extra-";

/// One thing the caller must be allowed to impersonate.
#[derive(Debug, PartialEq, Eq)]
struct Need {
    group: &'static str,
    resource: &'static str,
    subresource: String,
    namespace: String,
    name: String,
}

/// The user the headers ask to act as, if they ask.
pub(crate) fn impersonated(
    authorizer: &Authorizer,
    caller: &User,
    headers: &HeaderMap,
) -> Result<Option<User>, Status> {
    let Some((user, needs)) = wanted(headers)? else { return Ok(None) };
    for need in needs {
        let wish = Wish::Resource {
            verb: "impersonate",
            group: need.group,
            resource: need.resource,
            subresource: &need.subresource,
            namespace: &need.namespace,
            name: &need.name,
        };
        if !authorizer.allows(caller, &wish) {
            return Err(authz::forbidden(caller, &wish));
        }
    }
    Ok(Some(user))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty())
}

/// The user described by the headers and what it takes to be them.
fn wanted(headers: &HeaderMap) -> Result<Option<(User, Vec<Need>)>, Status> {
    let groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    let uid = text(headers, "impersonate-uid").unwrap_or_default();
    let extra = extra(headers);
    let Some(name) = text(headers, "impersonate-user") else {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        return Err(Status::internal("requested impersonation without impersonating a user"));
    };

    let service_account =
        name.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
    let mut needs = vec![match service_account {
        Some((namespace, account)) => need("", "serviceaccounts", "", namespace, account),
        None => need("", "users", "", "", name),
    }];
    needs.extend(groups.iter().map(|group| need("", "groups", "", "", group)));
    if !uid.is_empty() {
        needs.push(need("authentication.k8s.io", "uids", "", "", uid));
    }
    for (key, values) in &extra {
        let each =
            values.iter().map(|value| need("authentication.k8s.io", "userextras", key, "", value));
        needs.extend(each);
    }

    let mut user = match service_account {
        Some((namespace, account)) if groups.is_empty() => {
            User::service_account(namespace, account)
        }
        _ if name == ANONYMOUS => {
            let mut groups = groups;
            if !groups.iter().any(|group| group == UNAUTHENTICATED) {
                groups.push(UNAUTHENTICATED.to_owned());
            }
            User { name: name.to_owned(), groups, ..User::default() }
        }
        _ => User::new(name, groups),
    };
    user.uid = uid.to_owned();
    user.extra = extra;
    Ok(Some((user, needs)))
}

fn need(
    group: &'static str,
    resource: &'static str,
    subresource: &str,
    namespace: &str,
    name: &str,
) -> Need {
    Need {
        group,
        resource,
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let key = name.as_str().strip_prefix(EXTRA_PREFIX);
        if let (Some(key), Ok(value)) = (key, value.to_str()) {
            extra.entry(decode(key, false)).or_default().push(value.to_owned());
        }
    }
    extra
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().expect("header value"));
        }
        map
    }

    #[test]
    fn nothing_asked_is_nothing_needed() {
        assert_eq!(wanted(&headers(&[("accept", "*/*")])), Ok(None));
    }

    #[test]
    fn every_part_needs_its_own_right() {
        let (user, needs) = wanted(&headers(&[
            ("impersonate-user", "ann"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-extra-acme.com%2fproject", "web"),
        ]))
        .expect("valid")
        .expect("asked");
        assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(user.extra["acme.com/project"], ["web"]);
        let resources: Vec<_> = needs.iter().map(|need| need.resource).collect();
        assert_eq!(resources, ["users", "groups", "groups", "userextras"]);
    }

    #[test]
    fn a_service_account_comes_with_its_groups() {
        let (user, needs) =
            wanted(&headers(&[("impersonate-user", "system:serviceaccount:web:robot")]))
                .expect("valid")
                .expect("asked");
        assert_eq!(user, User::service_account("web", "robot"));
        assert_eq!(needs, [need("", "serviceaccounts", "", "web", "robot")]);
    }

    #[test]
    fn a_group_without_a_user_is_refused() {
        assert!(wanted(&headers(&[("impersonate-group", "system:masters")])).is_err());
    }
}
