//! Asks webhooks: programs that decide or convert for this server, over HTTPS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use minik_meta::object;
use rustls::pki_types::ServerName;
use serde_json::Value;

use crate::body::{self, Body};
use crate::core::Core;
use crate::forward::{ForwardError, Upstream, forward};
use crate::tls::{self, TlsError};

/// Why a webhook gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    #[error("Post {url:?}: {source}")]
    Unreachable { url: String, source: ForwardError },
    #[error("Post {url:?}: context deadline exceeded")]
    Timeout { url: String },
    #[error("Post {url:?}: {source}")]
    Name { url: String, source: io::Error },
    #[error("Post {url:?}: tls: {source}")]
    Trust { url: String, source: TlsError },
    #[error("Post {url:?}: tls: a CA bundle is needed to verify the server")]
    NoBundle { url: String },
    #[error("service {service:?} not found")]
    NoService { service: String },
    #[error("the server at {url:?} answered with {code}: {text}")]
    Code { url: String, code: StatusCode, text: String },
    #[error("the answer of {url:?} cannot be read: {why}")]
    Answer { url: String, why: String },
    #[error("{0:?} is no address of a webhook")]
    Url(String),
}

/// Where a webhook is.
struct Place {
    /// For people.
    url: String,
    host: String,
    port: u16,
    path: String,
    /// Where to connect, if that is not what the host's name says.
    address: Option<SocketAddr>,
}

/// Sends `request` to the webhook of a client configuration (`url` or `service`, `caBundle`) and
/// returns its answer.
pub(crate) async fn ask(
    core: &Core,
    client: &Value,
    request: &Value,
    timeout: Duration,
) -> Result<Value, WebhookError> {
    let place = place(core, client)?;
    let url = place.url.clone();
    let asking = ask_at(client, place, request);
    match tokio::time::timeout(timeout, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(WebhookError::Timeout { url }),
    }
}

async fn ask_at(client: &Value, place: Place, request: &Value) -> Result<Value, WebhookError> {
    let Place { url, host, port, path, address } = place;
    let bundle = object::text(client, &["caBundle"]);
    if bundle.is_empty() {
        return Err(WebhookError::NoBundle { url });
    }
    let pem = BASE64_STANDARD.decode(bundle).unwrap_or_default();
    let pem = String::from_utf8_lossy(&pem);
    let config = tls::verified_client_config(&pem)
        .map_err(|source| WebhookError::Trust { url: url.clone(), source })?;
    let name = ServerName::try_from(host.clone()).map_err(|_| WebhookError::Url(url.clone()))?;
    let address = match address {
        Some(address) => address,
        None => resolve(&host, port)
            .await
            .map_err(|source| WebhookError::Name { url: url.clone(), source })?,
    };
    let to =
        Upstream { address, tls: Some((Arc::new(config), name)), host: format!("{host}:{port}") };
    let body = serde_json::to_vec(request).unwrap_or_default();
    let mut outgoing: Request<Body> = Request::new(body::full(body));
    *outgoing.method_mut() = Method::POST;
    let json = HeaderValue::from_static("application/json");
    outgoing.headers_mut().insert(CONTENT_TYPE, json.clone());
    outgoing.headers_mut().insert(ACCEPT, json);
    let answer = forward(&to, &path, outgoing)
        .await
        .map_err(|source| WebhookError::Unreachable { url: url.clone(), source })?;
    let code = answer.status();
    let bytes: Bytes = body::read(answer.into_body())
        .await
        .map_err(|error| WebhookError::Answer { url: url.clone(), why: error.to_string() })?;
    if !code.is_success() {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned();
        return Err(WebhookError::Code { url, code, text });
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| WebhookError::Answer { url, why: error.to_string() })
}

async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let mut found = tokio::net::lookup_host((host, port)).await?;
    found.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))
}

fn place(core: &Core, client: &Value) -> Result<Place, WebhookError> {
    match object::at(client, &["service"]) {
        None => of_url(object::text(client, &["url"])),
        Some(service) => of_service(core, service),
    }
}

fn of_url(url: &str) -> Result<Place, WebhookError> {
    let wrong = || WebhookError::Url(url.to_owned());
    let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
    let (authority, path) = match rest.find('/') {
        Some(at) => (&rest[..at], &rest[at..]),
        None => (rest, "/"),
    };
    // The colons of an IPv6 address are inside brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (authority, 443),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Place { url: url.to_owned(), host, port, path: path.to_owned(), address: None })
}

/// The cluster address of a service; pods behind it are found by the proxy.
fn of_service(core: &Core, service: &Value) -> Result<Place, WebhookError> {
    let text = |key: &str| object::text(service, &[key]);
    let (namespace, name) = (text("namespace"), text("name"));
    let port = object::integer(service, &["port"]).unwrap_or(443);
    let port = u16::try_from(port).unwrap_or(443);
    let path = match text("path") {
        "" => "/",
        path => path,
    };
    let host = format!("{name}.{namespace}.svc");
    let url = format!("https://{host}:{port}{path}");
    let missing = || WebhookError::NoService { service: name.to_owned() };
    let found = core.read_core_object("services", namespace, name).ok_or_else(missing)?;
    let address = match object::text(&found, &["spec", "externalName"]) {
        "" => {
            let ip: IpAddr =
                object::text(&found, &["spec", "clusterIP"]).parse().map_err(|_| missing())?;
            Some(SocketAddr::new(ip, port))
        }
        _ => None,
    };
    Ok(Place { url, host, port, path: path.to_owned(), address })
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("https://a.example.com", Some(("a.example.com", 443, "/")))]
    #[test_case("https://a:8443/convert/x", Some(("a", 8443, "/convert/x")))]
    #[test_case("https://[::1]:9443/", Some(("::1", 9443, "/")))]
    #[test_case("https://[::1]/", Some(("::1", 443, "/")))]
    #[test_case("http://a", None)]
    #[test_case("https://a:x", None)]
    fn urls(url: &str, expected: Option<(&str, u16, &str)>) {
        let place = of_url(url).ok();
        let found = place.as_ref().map(|one| (one.host.as_str(), one.port, one.path.as_str()));
        assert_eq!(found, expected);
    }
}
