//! How long a request may take: the server's limit, or less if the client says so.

use std::time::Duration;

use minik_meta::Status;

use crate::duration;
use crate::route::{Action, Query, Verb};

/// How long a request may take that is no watch and no stream.
const REQUEST_MAX: Duration = Duration::from_secs(60);

/// What a client is told whose time is over.
pub(crate) const TOO_LONG: &str = "request did not complete within the allotted timeout";

/// The time of a request; `None` for those that may take as long as the client likes.
pub(crate) fn time_of(action: &Action, query: &Query) -> Result<Option<Duration>, Status> {
    if is_long_running(action) {
        return Ok(None);
    }
    let Some(text) = query.non_empty("timeout") else { return Ok(Some(REQUEST_MAX)) };
    let wanted = duration::parse(text).map_err(|error| {
        Status::bad_request(format!("invalid timeout specified in the request URL - {error}"))
    })?;
    // Zero and less mean that the client does not care.
    let wanted = wanted.filter(|wanted| !wanted.is_zero());
    Ok(Some(wanted.map_or(REQUEST_MAX, |wanted| wanted.min(REQUEST_MAX))))
}

/// Whether a request may take as long as the client likes: a watch or a stream.
pub(crate) fn is_long_running(action: &Action) -> bool {
    match action {
        Action::Page(_) => false,
        Action::Resource(verb, target) => *verb == Verb::Watch || is_stream(&target.subresource),
    }
}

/// Whether the subresource passes on what another server sends.
pub(crate) fn is_stream(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::route;
    use expect_test::{Expect, expect};
    use http::Method;

    fn check(uri: &str, expected: Expect) {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let query = Query::parse(query);
        let said = match time_of(&route(&Method::GET, path, &query), &query) {
            Ok(time) => format!("{time:?}"),
            Err(status) => format!("{} {}", status.code, status.message),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn clients_may_ask_for_less_time_but_not_for_more() {
        check("/api/v1/pods", expect!["Some(60s)"]);
        check("/version?timeout=1.5s", expect!["Some(1.5s)"]);
        check("/api/v1/pods?timeout=34s", expect!["Some(34s)"]);
        check("/api/v1/pods?timeout=1h2m", expect!["Some(60s)"]);
        check("/api/v1/pods?timeout=0", expect!["Some(60s)"]);
        check("/api/v1/pods?timeout=-3s", expect!["Some(60s)"]);
        check("/api/v1/pods?timeout=", expect!["Some(60s)"]);
        check(
            "/api/v1/pods?timeout=10",
            expect![[
                r#"400 invalid timeout specified in the request URL - time: missing unit in duration "10""#
            ]],
        );
        check("/api/v1/pods?watch=1&timeout=nonsense", expect!["None"]);
        check("/api/v1/namespaces/a/pods/b/log?timeout=1s", expect!["None"]);
    }
}
