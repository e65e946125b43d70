//! Passes requests on to the API server that serves them, in the name of who makes them.

use std::sync::Arc;

use http::header::{HOST, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use tracing::warn;

use super::registry::Remote;
use super::{Aggregation, header};
use crate::body::{self, Body, BodyError};
use crate::core::Core;
use crate::forward;
use crate::respond;
use crate::tls::Trust;
use crate::user::User;
use crate::webhook::{Place, WebhookError, cause};

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA_PREFIX: &str = "x-remote-extra-";

/// Answers a request by asking the server that serves its version.
pub(crate) async fn serve(
    core: &Arc<Core>,
    user: &User,
    remote: &Remote,
    mut request: Request<Body>,
) -> Response<Body> {
    if !remote.is_available {
        return unavailable("service unavailable");
    }
    let place = match Place::of_service(core, &remote.namespace, &remote.service, remote.port) {
        Ok(place) => place,
        Err(error) => {
            warn!(service = remote.name, %error, "the service of an API server is missing");
            return unavailable("service unavailable");
        }
    };
    put_user(request.headers_mut(), user);
    let passing = pass(&core.aggregation, &place, &remote.trust, request);
    passing.await.unwrap_or_else(|why| {
        warn!(service = remote.name, why, "an API server does not answer");
        unavailable(&format!("error trying to reach service: {why}"))
    })
}

/// Upstream answers in plain text here.
fn unavailable(why: &str) -> Response<Body> {
    respond::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
}

/// Says in the headers who makes the request; nobody else may have said so before.
pub(super) fn put_user(headers: &mut HeaderMap, user: &User) {
    let claims: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-remote-")).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
    headers.insert(USER, header(&user.name));
    if !user.uid.is_empty() {
        headers.insert(UID, header(&user.uid));
    }
    for group in &user.groups {
        headers.append(GROUP, header(group));
    }
    for (key, values) in &user.extra {
        let Ok(name) = HeaderName::from_bytes(extra_name(key).as_bytes()) else { continue };
        for value in values {
            headers.append(name.clone(), header(value));
        }
    }
}

/// The header of a key: what no header may contain is escaped as in URLs.
fn extra_name(key: &str) -> String {
    let mut name = EXTRA_PREFIX.to_owned();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => name.push(char::from(byte)),
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
            | b'|' | b'~' => name.push(char::from(byte)),
            byte => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

/// Sends a request to a server behind this one and returns its answer.
pub(super) async fn pass(
    aggregation: &Aggregation,
    place: &Place,
    trust: &Trust,
    mut request: Request<Body>,
) -> Result<Response<Body>, String> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    if request.headers().contains_key(UPGRADE) {
        return upgrade(aggregation, place, trust, &path, request).await;
    }
    let text = |error: WebhookError| error.to_string();
    let client = aggregation.clients.client(place, trust).map_err(text)?;
    forward::clean(request.headers_mut(), false);
    request.headers_mut().remove(HOST);
    let uri = Place { path, ..place.clone() }.url();
    *request.uri_mut() = uri.parse::<Uri>().map_err(|error| error.to_string())?;
    // What the client spoke with us says nothing about the other connection.
    *request.version_mut() = Version::HTTP_11;
    let mut answer = client.request(request).await.map_err(|error| cause(&error).to_string())?;
    forward::strip_hop_by_hop(answer.headers_mut(), false);
    Ok(answer.map(|body| body.map_err(BodyError::new).boxed_unsync()))
}

/// Upgrades need a connection of their own.
async fn upgrade(
    aggregation: &Aggregation,
    place: &Place,
    trust: &Trust,
    path: &str,
    request: Request<Body>,
) -> Result<Response<Body>, String> {
    let text = |error: WebhookError| error.to_string();
    let dialer = aggregation.clients.dialer(place, trust, &[b"http/1.1"]).map_err(text)?;
    let connecting = tokio::time::timeout(forward::CONNECT_MAX, dialer.connect());
    let stream = match connecting.await {
        Ok(stream) => stream.map_err(|error| error.to_string())?.into_inner(),
        Err(_) => return Err(format!("dial tcp {}: i/o timeout", place.host)),
    };
    let address = stream.get_ref().0.peer_addr().map_err(|error| error.to_string())?;
    let host = format!("{}:{}", place.host, place.port);
    let answer = forward::upgrade_over(stream, address, &host, path, request).await;
    answer.map_err(|error| error.to_string())
}

/// A request of this server itself.
pub(super) fn own_request(path: &str, accept: &str) -> Request<Body> {
    let mut request = Request::new(body::empty());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let accept = HeaderValue::from_str(accept);
    if let Ok(accept) = accept {
        request.headers_mut().insert(http::header::ACCEPT, accept);
    }
    put_user(request.headers_mut(), &User::new("system:kube-aggregator", ["system:masters"]));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_we_say_who_asks() {
        let mut headers = HeaderMap::new();
        headers.insert(USER, HeaderValue::from_static("forged"));
        headers.insert("x-remote-extra-forged", HeaderValue::from_static("yes"));
        let mut user = User::new("ann", ["dev", "ops"]);
        user.extra.insert("example.com/a b".to_owned(), vec!["1".to_owned(), "2".to_owned()]);
        put_user(&mut headers, &user);
        let all = |name: &str| -> Vec<&str> {
            headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
        };
        assert_eq!(all("x-remote-user"), ["ann"]);
        assert_eq!(all("x-remote-group"), ["dev", "ops", "system:authenticated"]);
        assert_eq!(all("x-remote-extra-forged"), [""; 0]);
        // `%` is a character that header names may have.
        assert_eq!(all("x-remote-extra-example.com%2fa%20b"), ["1", "2"]);
    }
}
