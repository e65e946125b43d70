//! How requests are told apart.

use super::*;
use crate::route::route;
use test_case::test_case;

#[test_case("GET /api/v1/pods", false, "LIST  v1 pods  cluster"; "list")]
#[test_case("GET /api/v1/namespaces/a/pods?watch=1", false, "WATCH  v1 pods  namespace"; "watch")]
#[test_case("POST /api/v1/namespaces/a/pods", false, "POST  v1 pods  namespace"; "create")]
#[test_case("PATCH /apis/apps/v1/namespaces/a/deployments/b/scale", true,
    "APPLY apps v1 deployments scale resource"; "apply")]
#[test_case("GET /api/v1/namespaces/a/pods/b/exec", false, "CONNECT  v1 pods exec resource"; "exec")]
#[test_case("HEAD /readyz/ping", false, "GET    /readyz "; "page")]
#[test_case("BREW /coffee", false, "other     "; "nonsense")]
fn labels(request: &str, applies: bool, expected: &str) {
    let (method, uri) = request.split_once(' ').expect("METHOD URI");
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let method: Method = method.parse().expect("method");
    let action = route(&method, path, &Query::parse(query));
    let labels = Labels::of(&action, &method, applies, true).with::<6>(&[]);
    assert_eq!(labels.join(" "), expected);
}

#[test]
fn what_is_not_there_is_counted_as_one() {
    let action = route(&Method::GET, "/apis/made/up/names", &Query::default());
    let labels = Labels::of(&action, &Method::GET, false, false).with::<6>(&[]);
    assert_eq!(labels.join(" "), "LIST     cluster");
}
