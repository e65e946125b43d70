//! The standard gRPC health check, spoken directly: one message with one field each way.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u8 = 1;

/// Asks the server whether `service` is serving.
pub(super) async fn check(
    host: &str,
    port: u16,
    service: &str,
    deadline: Duration,
) -> Result<(), String> {
    let asked = tokio::time::timeout(deadline, ask(host, port, service)).await;
    match asked {
        Ok(Ok(Some(SERVING))) => Ok(()),
        Ok(Ok(status)) => Err(format!("service unhealthy (responded with {status:?})")),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            Err(format!("timeout: health rpc did not complete within {}s", deadline.as_secs()))
        }
    }
}

async fn ask(host: &str, port: u16, service: &str) -> Result<Option<u8>, String> {
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("failed to connect service \"{host}:{port}\": {error}"))?;
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(text)?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(request_message(service)))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(text)?;
    let refused = answer.headers().get("grpc-status").filter(|status| *status != "0").cloned();
    if let Some(status) = refused {
        return Err(format!("health rpc failed: status {status:?}"));
    }
    let body = answer.into_body().collect().await.map_err(text)?.to_bytes();
    Ok(serving_status(&body))
}

/// A length-prefixed `HealthCheckRequest { service = 1 }`.
fn request_message(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or(0));
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
    framed.extend_from_slice(&message);
    framed.freeze()
}

/// The `status = 1` of a length-prefixed `HealthCheckResponse`.
fn serving_status(body: &[u8]) -> Option<u8> {
    match body.get(5..) {
        Some([0x08, status, ..]) => Some(*status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(request_message("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(request_message("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(SERVING));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), None);
    }
}
