//! A connection to the runtime's streaming server.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The two ends of a stream that is open.
pub(super) struct Upstream {
    /// The runtime's answer, for its headers.
    pub(super) answer: Response<Incoming>,
    pub(super) stream: TokioIo<Upgraded>,
}

/// Asks the runtime for the stream at `url` with the client's `headers`.
pub(super) async fn open(
    url: &str,
    method: Method,
    headers: HeaderMap,
) -> Result<Upstream, String> {
    let uri: Uri = url.parse().map_err(|_| format!("the runtime's URL is none: {url}"))?;
    let authority = uri.authority().ok_or("the runtime's URL has no host")?.clone();
    let stream =
        TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80)))
            .await
            .map_err(|error| format!("the runtime's streaming server at {authority}: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    // Ends by itself when the stream does.
    tokio::spawn(connection.with_upgrades());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    *request.headers_mut() = headers;
    let host = authority.as_str().parse().map_err(|_| "the runtime's URL has no host")?;
    request.headers_mut().insert(header::HOST, host);
    let mut answer = sender.send_request(request).await.map_err(text)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("the runtime's streaming server answered {}", answer.status()));
    }
    let upgraded = hyper::upgrade::on(&mut answer).await.map_err(text)?;
    Ok(Upstream { answer, stream: TokioIo::new(upgraded) })
}
