//! Turns what a request ended in into an HTTP response.

use std::io::Write;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, WARNING};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use minik_api::protobuf;
use minik_meta::Status;
use serde_json::Value;

use crate::body::{self, Body};
use crate::negotiate::Format;

/// Answers larger than this are compressed for clients that want it, in bytes.
const GZIP_BYTES_MIN: usize = 128 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer whose bytes are already in the format of `content_type`.
pub(crate) fn bytes(code: StatusCode, content_type: HeaderValue, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(body::full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    let cache = HeaderValue::from_static("no-cache, private");
    response.headers_mut().insert(http::header::CACHE_CONTROL, cache);
    response
}

/// A JSON answer that is already written.
pub(crate) fn json_bytes(code: StatusCode, json: Bytes) -> Response<Body> {
    bytes(code, JSON, json)
}

/// A text for people and simple probes.
pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response =
        bytes(code, HeaderValue::from_static("text/plain; charset=utf-8"), text.into());
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(http::header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// The answer where nothing lives.
pub(crate) fn no_page() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// `value` in the format asked for.
pub(crate) fn value(code: StatusCode, format: Format, value: &Value) -> Response<Body> {
    match format {
        Format::Json => json_bytes(code, write_json(value)),
        Format::PrettyJson => {
            let mut out = serde_json::to_vec_pretty(value).unwrap_or_default();
            out.push(b'\n');
            json_bytes(code, out.into())
        }
        Format::Yaml => {
            let yaml = HeaderValue::from_static("application/yaml");
            let text = serde_yaml::to_string(value).unwrap_or_default();
            bytes(code, yaml, text.into())
        }
        Format::Protobuf => match protobuf::encode(value) {
            Some(message) => {
                bytes(code, HeaderValue::from_static(protobuf::MEDIA_TYPE), message.into())
            }
            // What has no such form was not promised in it: discovery and other pages.
            None => json_bytes(code, write_json(value)),
        },
    }
}

/// `value` as compact JSON with the line break upstream ends answers with.
pub(crate) fn write_json(value: &Value) -> Bytes {
    let mut out = serde_json::to_vec(value).unwrap_or_default();
    out.push(b'\n');
    out.into()
}

/// A failure as an answer.
pub(crate) fn status(status: &Status, format: Format) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = value(code, format, &status.to_value());
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What all answers have in common: nobody between here and the client keeps them, and those to
/// HEAD have no body.
pub(crate) fn finished(mut response: Response<Body>, method: &Method) -> Response<Body> {
    let headers = response.headers_mut();
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    }
    if *method == Method::HEAD {
        return response.map(|_| body::empty());
    }
    response
}

/// Adds a `Warning` header for each text.
pub(crate) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for text in warnings {
        let escaped: String = text
            .chars()
            .flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                c if c.is_control() => vec![' '],
                c => vec![c],
            })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            headers.append(WARNING, value);
        }
    }
}

/// Compresses a complete answer if it is large and the client takes gzip.
pub(crate) async fn compress(response: Response<Body>, request: &HeaderMap) -> Response<Body> {
    use http_body::Body as _;
    let wanted = request
        .get_all(http::header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.split(';').next().unwrap_or_default().trim() == "gzip");
    let size = response.body().size_hint().exact().unwrap_or(0);
    let encoded = response.headers().contains_key(CONTENT_ENCODING);
    if !wanted || encoded || size < GZIP_BYTES_MIN as u64 {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let plain = match http_body_util::BodyExt::collect(body).await {
        Ok(collected) => collected.to_bytes(),
        // A complete body is in memory; reading it cannot fail.
        Err(_) => return Response::from_parts(head, body::empty()),
    };
    let level = flate2::Compression::fast();
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(plain.len() / 8), level);
    let packed = encoder.write_all(&plain).and_then(|()| encoder.finish());
    let Ok(packed) = packed else { return Response::from_parts(head, body::full(plain)) };
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    head.headers.remove(http::header::CONTENT_LENGTH);
    Response::from_parts(head, body::full(packed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ACCEPT_ENCODING;
    use http_body_util::BodyExt;
    use std::io::Read;

    async fn sent(size: usize, encodings: &'static str) -> (bool, Vec<u8>) {
        let mut request = HeaderMap::new();
        request.insert(ACCEPT_ENCODING, HeaderValue::from_static(encodings));
        let response = json_bytes(StatusCode::OK, vec![b'x'; size].into());
        let response = compress(response, &request).await;
        let packed = response.headers().get(CONTENT_ENCODING).is_some();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        (packed, body.to_vec())
    }

    #[tokio::test]
    async fn large_answers_are_packed_for_those_who_can_unpack() {
        let (packed, body) = sent(GZIP_BYTES_MIN, "deflate, gzip;q=0.8").await;
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).expect("gzip");
        assert!(packed && plain == vec![b'x'; GZIP_BYTES_MIN]);
        assert!(!sent(GZIP_BYTES_MIN - 1, "gzip").await.0);
        assert!(!sent(GZIP_BYTES_MIN, "br").await.0);
    }

    #[test]
    fn warnings_are_quoted() {
        let mut headers = HeaderMap::new();
        warn(&mut headers, &["unknown field \"a\"".to_owned()]);
        assert_eq!(headers[WARNING], r#"299 - "unknown field \"a\"""#);
    }
}
