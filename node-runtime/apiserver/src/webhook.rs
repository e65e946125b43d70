//! Asks webhooks: programs that decide or convert for this server, over HTTPS.

mod connect;
mod place;

use std::error::Error as _;
use std::io;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use minik_meta::object;
use serde_json::Value;

use crate::body::{self, BodyError, ReadError};
use crate::core::Core;
use crate::tls::{TlsError, Trust};

pub(crate) use connect::{Clients, DialError};
pub(crate) use place::Place;

/// What of an unexpected answer is quoted, in bytes.
const QUOTED_BYTES: usize = 256;

/// Why a webhook gave no answer. The texts follow those of Go's clients, which people search for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    #[error("Post {url:?}: {source}")]
    Dial { url: String, source: DialError },
    #[error("Post {url:?}: {why}")]
    Broken { url: String, why: String },
    #[error("Post {url:?}: context deadline exceeded")]
    Timeout { url: String },
    #[error("unable to load root certificates: {0}")]
    Trust(#[from] TlsError),
    #[error("unable to load root certificates: {0:?} is not base64")]
    Bundle(&'static str),
    #[error("service {service:?} not found")]
    NoService { service: String },
    #[error("cannot route to service with ClusterIP {ip:?}")]
    NoAddress { ip: String },
    #[error("{}", of_code(*code, text))]
    Code { code: StatusCode, text: String },
    #[error("{0}")]
    Answer(String),
    #[error("{0:?} is no address of a webhook")]
    Url(String),
}

/// How Go's client tells of an answer that is no success.
fn of_code(code: StatusCode, text: &str) -> String {
    match code.as_u16() {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => "the server does not allow access to the requested resource".to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later"
            .to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        code if code >= 500 => {
            format!("an error on the server ({text:?}) has prevented the request from succeeding")
        }
        code => format!(
            "the server responded with the status code {code} but did not return more information"
        ),
    }
}

/// Sends `request` to the webhook of a client configuration (`url` or `service`, `caBundle`) and
/// returns its answer. If `announced`, the webhook is told how long it may take.
pub(crate) async fn ask(
    core: &Core,
    client: &Value,
    request: &Value,
    timeout: Duration,
    announced: bool,
) -> Result<Value, WebhookError> {
    let mut place = Place::of(core, client)?;
    if announced {
        place.path += &format!("?timeout={}s", timeout.as_millis().div_ceil(1000).max(1));
    }
    let url = place.url();
    let asking = ask_at(core, client, place, request);
    match tokio::time::timeout(timeout, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(WebhookError::Timeout { url }),
    }
}

async fn ask_at(
    core: &Core,
    client: &Value,
    place: Place,
    request: &Value,
) -> Result<Value, WebhookError> {
    let bundle = object::text(client, &["caBundle"]);
    let bundle = BASE64_STANDARD.decode(bundle).map_err(|_| WebhookError::Bundle("caBundle"))?;
    let bundle = String::from_utf8_lossy(&bundle);
    let url = place.url();
    let uri: Uri = url.parse().map_err(|_| WebhookError::Url(url.clone()))?;
    let trust = Trust::of_bundle(bundle.into_owned());
    let http = core.webhooks.client(&place, &trust)?;
    let body = serde_json::to_vec(request).unwrap_or_default();
    let mut outgoing = Request::new(Full::new(Bytes::from(body)));
    *outgoing.method_mut() = Method::POST;
    *outgoing.uri_mut() = uri;
    let json = HeaderValue::from_static("application/json");
    outgoing.headers_mut().insert(CONTENT_TYPE, json.clone());
    outgoing.headers_mut().insert(ACCEPT, json);
    let answer = http.request(outgoing).await.map_err(|error| unreachable(&url, &error))?;
    let code = answer.status();
    let body = answer.into_body().map_err(BodyError::new).boxed_unsync();
    let bytes = body::read(body).await.map_err(|error| match error {
        ReadError::TooLarge { .. } => WebhookError::Answer(error.to_string()),
        ReadError::Broken(source) => {
            WebhookError::Broken { url: url.clone(), why: source.to_string() }
        }
    })?;
    if !code.is_success() {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(QUOTED_BYTES)]).into_owned();
        return Err(WebhookError::Code { code, text });
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        WebhookError::Answer(format!("couldn't get version/kind; json parse error: {error}"))
    })
}

/// What the HTTP client says, without the layers around it.
fn unreachable(url: &str, error: &hyper_util::client::legacy::Error) -> WebhookError {
    let url = url.to_owned();
    match cause(error) {
        Cause::Dial(source) => WebhookError::Dial { url, source },
        Cause::Other(why) => WebhookError::Broken { url, why },
    }
}

/// Why the HTTP client failed.
pub(crate) enum Cause {
    Dial(DialError),
    Other(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Dial(error) => error.fmt(f),
            Cause::Other(why) => f.write_str(why),
        }
    }
}

pub(crate) fn cause(error: &hyper_util::client::legacy::Error) -> Cause {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        if let Some(dial) = inner.downcast_ref::<DialError>() {
            return Cause::Dial(dial.clone());
        }
        cause = inner;
    }
    let source = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    let ended = source.is_some_and(hyper::Error::is_incomplete_message)
        || cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    Cause::Other(if ended { "EOF".to_owned() } else { cause.to_string() })
}
