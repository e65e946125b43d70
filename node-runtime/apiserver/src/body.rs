//! Request and response bodies: boxed streams of bytes, read with a limit.

use std::convert::Infallible;
use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};

/// The largest request body that is read, in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 3 * 1024 * 1024;

/// What went wrong in a body; the details belong to the transport.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BodyError(BoxError);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl BodyError {
    /// The failure of another transport's body.
    pub(crate) fn new(source: impl Into<BoxError>) -> BodyError {
        BodyError(source.into())
    }
}

/// A body of a request or a response.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BodyError>;

/// A body that is there completely.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body without content.
pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

/// A body that grows as `chunks` come.
pub(crate) fn stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    use futures::StreamExt;
    let chunks: Pin<Box<dyn Stream<Item = Bytes> + Send>> = Box::pin(chunks);
    StreamBody::new(chunks.map(|chunk| Ok::<_, BodyError>(Frame::data(chunk)))).boxed_unsync()
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body ended early: {0}")]
    Broken(BoxError),
}

/// Reads all of `body`, unless it is larger than [`REQUEST_BYTES_MAX`].
pub(crate) async fn read(body: Body) -> Result<Bytes, ReadError> {
    match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ReadError::TooLarge { limit: REQUEST_BYTES_MAX })
        }
        Err(error) => Err(ReadError::Broken(error)),
    }
}
