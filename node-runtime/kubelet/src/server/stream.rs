//! `kubectl exec`, `attach`, `port-forward`: connects what the client speaks with SPDY, which is
//! what the runtime's streaming server speaks.
//!
//! ```text
//! SPDY client                     ── bytes as they are ──────────▶ runtime
//! web socket, channels            ── translated, see `command` ──▶ runtime
//! web socket, SPDY inside         ── unwrapped, see `tunnel` ────▶ runtime
//! ```

mod channels;
mod command;
mod dictionary;
mod spdy;
mod tunnel;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Served;
use super::target::{self, Refusal, Wish};
use super::upstream::{self, Upstream};

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const SPDY: HeaderValue = HeaderValue::from_static("SPDY/3.1");
/// The version of remote command that the runtime is asked for.
const COMMAND_PROTOCOL: HeaderValue = HeaderValue::from_static("v4.channel.k8s.io");
const FORWARD_PROTOCOL: HeaderValue = HeaderValue::from_static("portforward.k8s.io");
/// SPDY inside a web socket.
const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound(text) => (StatusCode::NOT_FOUND, text),
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, text),
            Self::Internal(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
        }
        .into_response()
    }
}

pub(super) async fn exec(
    State(served): State<Served>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    let wish = Wish::parse(request.uri().query().unwrap_or_default());
    let url = target::exec(&served, [&namespace, &pod, &container], &wish).await;
    answer(command(url, &wish, request).await)
}

pub(super) async fn attach(
    State(served): State<Served>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    let wish = Wish::parse(request.uri().query().unwrap_or_default());
    let url = target::attach(&served, [&namespace, &pod, &container], &wish).await;
    answer(command(url, &wish, request).await)
}

pub(super) async fn port_forward(
    State(served): State<Served>,
    Path((namespace, pod)): Path<(String, String)>,
    request: Request,
) -> Response {
    let url = target::port_forward(&served, &namespace, &pod).await;
    answer(forward(url, request).await)
}

fn answer(result: Result<Response, Refusal>) -> Response {
    result.unwrap_or_else(IntoResponse::into_response)
}

async fn command(
    url: Result<String, Refusal>,
    wish: &Wish,
    mut request: Request,
) -> Result<Response, Refusal> {
    let url = url?;
    if !is_web_socket(request.headers()) {
        return pass_through(&url, request).await;
    }
    let offered = offered_protocols(request.headers());
    let Some((name, protocol)) = channels::choose(&offered) else {
        return Err(Refusal::BadRequest(format!("no web socket protocol of {offered:?} is known")));
    };
    let accepted = accept_web_socket(request.headers(), name)?;
    let upstream = open(&url, COMMAND_PROTOCOL).await?;
    let (client, wish) = (hyper::upgrade::on(&mut request), wish.clone());
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        if let Err(error) =
            command::run(TokioIo::new(client), upstream.stream, protocol, &wish).await
        {
            tracing::debug!(%error, "command stream ended");
        }
    });
    Ok(accepted)
}

async fn forward(url: Result<String, Refusal>, mut request: Request) -> Result<Response, Refusal> {
    let url = url?;
    if !is_web_socket(request.headers()) {
        return pass_through(&url, request).await;
    }
    let offered = offered_protocols(request.headers());
    if !offered.split(',').any(|offer| offer.trim() == TUNNEL_PROTOCOL) {
        let text =
            format!("port-forward over a web socket needs {TUNNEL_PROTOCOL}, not {offered:?}");
        return Err(Refusal::BadRequest(text));
    }
    let accepted = accept_web_socket(request.headers(), TUNNEL_PROTOCOL)?;
    let upstream = open(&url, FORWARD_PROTOCOL).await?;
    let client = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        if let Err(error) = tunnel::run(TokioIo::new(client), upstream.stream).await {
            tracing::debug!(%error, "tunnel ended");
        }
    });
    Ok(accepted)
}

/// Opens a SPDY connection of our own to the runtime.
async fn open(url: &str, protocol: HeaderValue) -> Result<Upstream, Refusal> {
    let headers = HeaderMap::from_iter([
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, SPDY),
        (STREAM_PROTOCOL, protocol),
    ]);
    upstream::open(url, Method::POST, headers).await.map_err(Refusal::Internal)
}

fn is_web_socket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

fn offered_protocols(headers: &HeaderMap) -> String {
    let all = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    all.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
}

/// The answer that turns the connection into a web socket.
fn accept_web_socket(headers: &HeaderMap, protocol: &'static str) -> Result<Response, Refusal> {
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| Refusal::BadRequest("Sec-WebSocket-Key is missing".into()))?;
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(Body::empty())
        .map_err(|error| Refusal::Internal(error.to_string()))
}

/// A SPDY client: bytes are copied both ways, whatever they mean.
async fn pass_through(url: &str, mut request: Request) -> Result<Response, Refusal> {
    let client = hyper::upgrade::on(&mut request);
    let (method, headers) = (request.method().clone(), request.headers().clone());
    if !headers.contains_key(header::UPGRADE) {
        return Err(Refusal::BadRequest(
            "this needs an upgrade to SPDY/3.1 or a web socket".into(),
        ));
    }
    let upstream = upstream::open(url, method, headers).await.map_err(Refusal::Internal)?;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = upstream.answer.headers().clone();
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        let (mut client, mut runtime) = (TokioIo::new(client), upstream.stream);
        // Either side may leave whenever it likes.
        drop(tokio::io::copy_bidirectional(&mut client, &mut runtime).await);
    });
    Ok(answer)
}
