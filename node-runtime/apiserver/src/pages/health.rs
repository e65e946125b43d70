//! `/healthz`, `/livez`, `/readyz`: whether the server is well, check by check.

use std::collections::BTreeSet;
use std::fmt::Write;

use http::{Response, StatusCode};

use crate::body::Body;
use crate::core::Core;
use crate::respond;
use crate::route::Query;

/// One thing that must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Check {
    name: &'static str,
    /// Why it does not hold; for those who may know.
    failure: Option<&'static str>,
}

/// What was done before the socket was bound: it holds whenever somebody can ask.
const STARTED: &[&str] = &[
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/start-system-namespaces-controller",
];

/// The checks of a page, in its order.
fn checks(core: &Core, probe: &str) -> Vec<Check> {
    let check = |name, failure| Check { name, failure };
    let store = (!core.store.is_open()).then_some("the store takes no writes");
    let mut checks = vec![check("ping", None), check("log", None), check("etcd", store)];
    if probe == "readyz" {
        checks.push(check("etcd-readiness", store));
    }
    checks.extend(STARTED.iter().map(|name| check(name, None)));
    if probe == "readyz" {
        let ending = core.is_shutting_down().then_some("process is shutting down");
        checks.push(check("shutdown", ending));
    }
    checks
}

/// Answers for a page, or for one check of it; `None` if there is no such check.
pub(super) fn serve(
    core: &Core,
    probe: &'static str,
    one: Option<&str>,
    query: &Query,
) -> Option<Response<Body>> {
    let checks = checks(core, probe);
    let Some(name) = one else {
        let excluded: BTreeSet<&str> = query.all("exclude").collect();
        for check in checks.iter().filter(|check| !excluded.contains(check.name)) {
            core.metrics.health(probe, check.name, check.failure.is_none());
        }
        return Some(respond_to(&summary(
            probe,
            &checks,
            excluded,
            query.get("verbose").is_some(),
        )));
    };
    let check = checks.iter().find(|check| check.name == name)?;
    Some(respond_to(&match check.failure {
        None => (true, "ok".to_owned()),
        Some(why) => (false, format!("internal server error: {why}\n")),
    }))
}

fn respond_to((good, text): &(bool, String)) -> Response<Body> {
    let code = if *good { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    respond::text(code, text.clone())
}

/// Whether all checks hold, and what is said about them.
fn summary(
    probe: &str,
    checks: &[Check],
    mut excluded: BTreeSet<&str>,
    verbose: bool,
) -> (bool, String) {
    let mut text = String::new();
    let mut good = true;
    for Check { name, failure } in checks {
        let _ = match failure {
            _ if excluded.remove(name) => writeln!(text, "[+]{name} excluded: ok"),
            None => writeln!(text, "[+]{name} ok"),
            Some(_) => {
                good = false;
                writeln!(text, "[-]{name} failed: reason withheld")
            }
        };
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(",");
        let _ =
            writeln!(text, "warn: some health checks cannot be excluded: no matches for {names}");
    }
    let verdict = if good { "passed" } else { "failed" };
    let _ = writeln!(text, "{probe} check {verdict}");
    if good && !verbose { (true, "ok".to_owned()) } else { (good, text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(failing: &str, excluded: &[&str], verbose: bool, expected: Expect) {
        let checks = ["ping", "etcd", "shutdown"]
            .map(|name| Check { name, failure: (name == failing).then_some("why") });
        let excluded = excluded.iter().copied().collect();
        let (good, text) = summary("readyz", &checks, excluded, verbose);
        expected.assert_eq(&format!("{good}\n{text}"));
    }

    #[test]
    fn pages_of_checks() {
        check(
            "",
            &[],
            false,
            expect![[r#"
            true
            ok"#]],
        );
        check(
            "",
            &["etcd"],
            true,
            expect![[r#"
            true
            [+]ping ok
            [+]etcd excluded: ok
            [+]shutdown ok
            readyz check passed
        "#]],
        );
        check(
            "shutdown",
            &["x", "y"],
            false,
            expect![[r#"
            false
            [+]ping ok
            [+]etcd ok
            [-]shutdown failed: reason withheld
            warn: some health checks cannot be excluded: no matches for "x","y"
            readyz check failed
        "#]],
        );
        check(
            "etcd",
            &["etcd"],
            false,
            expect![[r#"
            true
            ok"#]],
        );
    }
}
