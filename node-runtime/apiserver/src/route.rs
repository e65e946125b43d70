//! From method and path to [`Action`]: the whole surface of the API on one screen.
//!
//! Pure: knows no kinds. Whether a resource exists is asked later, after authorization, so
//! that a stranger cannot find out by guessing.

mod query;

use http::Method;

use crate::fairness::Dump;

pub(crate) use query::{Query, decode};

/// What a request asks for, with no HTTP left in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A page outside the resources.
    Page(Page),
    /// One verb on one resource.
    Resource(Verb, Target),
}

/// Something served that is not a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// `/`: the list of paths.
    Index,
    /// `/healthz`, `/livez`, `/readyz` and one check below them.
    Health { probe: &'static str, check: Option<String> },
    /// `/version`
    Version,
    /// `/metrics`
    Metrics,
    /// `/metrics/slis`
    HealthMetrics,
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3`, or the document of one group version.
    OpenApiV3 { group_version: Option<String> },
    /// `/.well-known/openid-configuration`
    OpenIdConfiguration,
    /// `/openid/v1/jwks`
    Jwks,
    /// `/debug/api_priority_and_fairness/…`
    Fairness(Dump),
    /// `/api`
    Legacy,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group { group: String },
    /// `/api/v1`, `/apis/GROUP/VERSION`
    Resources { group: String, version: String },
    /// Something lives there, but not for this method.
    WrongMethod,
    /// Nothing lives there.
    Unknown,
}

/// What is done to a resource, named as roles name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The verb as roles and messages spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        }
    }
}

/// The resource, object or subresource that a path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    /// The plural: `pods`.
    pub(crate) resource: String,
    /// Empty for cluster-scoped resources and requests over all namespaces.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    /// Empty for the object itself: `status`, `log`.
    pub(crate) subresource: String,
    /// What follows the subresource: the path given to a proxy, starting with `/`.
    pub(crate) rest: String,
}

/// Finds out what `method path?query` asks for.
pub(crate) fn route(method: &Method, path: &str, query: &Query) -> Action {
    let raw: Vec<&str> = path.trim_matches('/').split('/').collect();
    let parts: Vec<String> = raw.iter().map(|part| decode(part, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, below) = match parts.as_slice() {
        ["api", version, below @ ..] if !below.is_empty() => ("", *version, below),
        ["apis", group, version, below @ ..] if !below.is_empty() => (*group, *version, below),
        _ => return Action::Page(page(method, &parts)),
    };
    let prefix = parts.len() - below.len();
    let Some((target, used)) = target(group, version, below) else {
        return Action::Page(Page::Unknown);
    };
    let rest = rest_of(path, prefix + used);
    match verb(method, &target, query) {
        Some(verb) => Action::Resource(verb, Target { rest, ..target }),
        None => Action::Page(Page::WrongMethod),
    }
}

/// The pages outside the resources. Those that are no documents of the API answer to every method.
fn page(method: &Method, parts: &[&str]) -> Page {
    let page = page_of(parts);
    match page {
        Page::Version
        | Page::OpenIdConfiguration
        | Page::Jwks
        | Page::Legacy
        | Page::Groups
        | Page::Group { .. }
        | Page::Resources { .. }
            if *method != Method::GET =>
        {
            Page::WrongMethod
        }
        page => page,
    }
}

fn page_of(parts: &[&str]) -> Page {
    match parts {
        [""] => Page::Index,
        [probe @ ("healthz" | "livez" | "readyz"), check @ ..] => {
            let probe = match *probe {
                "livez" => "livez",
                "readyz" => "readyz",
                _ => "healthz",
            };
            Page::Health { probe, check: (!check.is_empty()).then(|| check.join("/")) }
        }
        ["version"] => Page::Version,
        ["metrics"] => Page::Metrics,
        ["metrics", "slis"] => Page::HealthMetrics,
        ["openapi", "v2"] => Page::OpenApiV2,
        ["openapi", "v3"] => Page::OpenApiV3 { group_version: None },
        ["openapi", "v3", rest @ ..] => Page::OpenApiV3 { group_version: Some(rest.join("/")) },
        [".well-known", "openid-configuration"] => Page::OpenIdConfiguration,
        ["openid", "v1", "jwks"] => Page::Jwks,
        ["debug", "api_priority_and_fairness", dump] => {
            Dump::of(dump).map_or(Page::Unknown, Page::Fairness)
        }
        ["api"] => Page::Legacy,
        ["apis"] => Page::Groups,
        ["api", version] => {
            Page::Resources { group: String::new(), version: (*version).to_owned() }
        }
        ["apis", group] => Page::Group { group: (*group).to_owned() },
        ["apis", group, version] => {
            Page::Resources { group: (*group).to_owned(), version: (*version).to_owned() }
        }
        _ => Page::Unknown,
    }
}

/// The resource named by what follows the version, and how many path parts that took.
fn target(group: &str, version: &str, below: &[&str]) -> Option<(Target, usize)> {
    let (namespace, skip, parts) = match below {
        // A namespace's own subresources; every other name there is a resource inside it.
        ["namespaces", _, "status" | "finalize"] => ("", 0, below),
        ["namespaces", namespace, parts @ ..] if !parts.is_empty() => (*namespace, 2, parts),
        _ => ("", 0, below),
    };
    let at = |index: usize| parts.get(index).copied().unwrap_or_default().to_owned();
    let target = Target {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: at(0),
        namespace: namespace.to_owned(),
        name: at(1),
        subresource: at(2),
        rest: String::new(),
    };
    let used = skip + parts.len().min(3);
    let proxied = target.subresource == "proxy";
    (!target.resource.is_empty() && (parts.len() <= 3 || proxied)).then_some((target, used))
}

/// The part of `path` after its first `count` parts, exactly as it was sent.
fn rest_of(path: &str, count: usize) -> String {
    let path = path.strip_prefix('/').unwrap_or(path);
    match path.match_indices('/').nth(count - 1) {
        Some((at, _)) => path[at..].to_owned(),
        None => String::new(),
    }
}

fn verb(method: &Method, target: &Target, query: &Query) -> Option<Verb> {
    let one = !target.name.is_empty();
    let whole = target.subresource.is_empty();
    match *method {
        Method::GET if one && whole && query.flag("watch") => Some(Verb::Watch),
        Method::GET if one => Some(Verb::Get),
        Method::GET if query.flag("watch") => Some(Verb::Watch),
        Method::GET => Some(Verb::List),
        Method::POST if one && whole => None,
        Method::POST => Some(Verb::Create),
        Method::PUT if one => Some(Verb::Update),
        Method::PATCH if one => Some(Verb::Patch),
        Method::DELETE if one => Some(Verb::Delete),
        Method::DELETE => Some(Verb::DeleteCollection),
        // Only proxies take other methods, and name their verb after what they may do.
        Method::HEAD | Method::OPTIONS if target.subresource == "proxy" => Some(Verb::Get),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// A line that says what was understood.
    fn describe(action: &Action) -> String {
        match action {
            Action::Page(page) => format!("{page:?}"),
            Action::Resource(verb, target) => {
                let Target { group, version, resource, namespace, name, subresource, rest } =
                    target;
                let mut line = format!("{verb:?} {group}/{version} {resource}");
                for (label, value) in
                    [("ns", namespace), ("name", name), ("sub", subresource), ("rest", rest)]
                {
                    if !value.is_empty() {
                        line += &format!(" {label}={value}");
                    }
                }
                line
            }
        }
    }

    fn check(request: &str, expected: Expect) {
        let (method, uri) = request.split_once(' ').expect("method and path");
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let method = method.parse().expect("method");
        expected.assert_eq(&describe(&route(&method, path, &Query::parse(query))));
    }

    #[test]
    fn resources() {
        check("GET /api/v1/pods", expect!["List /v1 pods"]);
        check("GET /api/v1/pods?watch=1&resourceVersion=7", expect!["Watch /v1 pods"]);
        check("GET /api/v1/pods?watch=false", expect!["List /v1 pods"]);
        check("GET /api/v1/namespaces/web/pods/a", expect!["Get /v1 pods ns=web name=a"]);
        check("GET /api/v1/watch/pods", expect!["Get /v1 watch name=pods"]);
        check("POST /api/v1/namespaces/web/pods", expect!["Create /v1 pods ns=web"]);
        check(
            "PUT /apis/apps/v1/namespaces/web/deployments/a/scale",
            expect!["Update apps/v1 deployments ns=web name=a sub=scale"],
        );
        check("PATCH /api/v1/nodes/n1/status", expect!["Patch /v1 nodes name=n1 sub=status"]);
        check(
            "DELETE /api/v1/namespaces/web/secrets",
            expect!["DeleteCollection /v1 secrets ns=web"],
        );
        check("DELETE /api/v1/namespaces/web", expect!["Delete /v1 namespaces name=web"]);
        check(
            "PUT /api/v1/namespaces/web/finalize",
            expect!["Update /v1 namespaces name=web sub=finalize"],
        );
        check(
            "GET /api/v1/namespaces/web/services/https:a:443/proxy/x%20y/z/",
            expect!["Get /v1 services ns=web name=https:a:443 sub=proxy rest=/x%20y/z/"],
        );
        check("GET /api/v1/nodes/n1/proxy/", expect!["Get /v1 nodes name=n1 sub=proxy rest=/"]);
        check("GET /api/v1/namespaces/web/pods/a/log/more", expect!["Unknown"]);
        check("PUT /api/v1/nodes", expect!["WrongMethod"]);
        check("POST /api/v1/nodes/n1", expect!["WrongMethod"]);
        check("HEAD /api/v1/nodes", expect!["WrongMethod"]);
        check("OPTIONS /api/v1/nodes", expect!["WrongMethod"]);
        check("HEAD /api/v1/nodes/n1/proxy", expect!["Get /v1 nodes name=n1 sub=proxy"]);
    }

    #[test]
    fn pages() {
        check("GET /", expect!["Index"]);
        check("GET /readyz?verbose", expect![[r#"Health { probe: "readyz", check: None }"#]]);
        check("GET /livez/ping", expect![[r#"Health { probe: "livez", check: Some("ping") }"#]]);
        check(
            "GET /readyz/poststarthook/rbac/bootstrap-roles",
            expect![[
                r#"Health { probe: "readyz", check: Some("poststarthook/rbac/bootstrap-roles") }"#
            ]],
        );
        check("GET /api", expect!["Legacy"]);
        check("GET /apis", expect!["Groups"]);
        check("GET /api/v1", expect![[r#"Resources { group: "", version: "v1" }"#]]);
        check("GET /apis/apps/v1/", expect![[r#"Resources { group: "apps", version: "v1" }"#]]);
        check("GET /apis/apps", expect![[r#"Group { group: "apps" }"#]]);
        check(
            "GET /openapi/v3/apis/apps/v1",
            expect![[r#"OpenApiV3 { group_version: Some("apis/apps/v1") }"#]],
        );
        check("POST /version", expect!["WrongMethod"]);
        check("HEAD /apis/apps", expect!["WrongMethod"]);
        check("POST /readyz", expect![[r#"Health { probe: "readyz", check: None }"#]]);
        check("POST /nothing", expect!["Unknown"]);
        check("GET /nothing", expect!["Unknown"]);
    }
}
