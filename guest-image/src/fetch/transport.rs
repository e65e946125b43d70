//! Bytes from an address: over HTTP with proxies from the environment, or from a file of this machine.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Client, Response, StatusCode, Url};

use crate::error::{ImageError, chain, on_file};
use crate::source;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Between two pieces of an answer; a slow line is fine, a silent one is dead.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const PIECE_BYTES: usize = 256 * 1024;

/// What can fetch.
pub(super) struct Transport {
    client: Client,
}

/// An answer that is being read.
pub(super) struct Answer {
    /// Where in the file its first byte lies: what was asked for, or 0 when the server cannot do that.
    pub(super) start: u64,
    /// For `If-Range` next time: a strong entity tag, else the time of last change.
    pub(super) validator: Option<String>,
    body: Body,
    shown: String,
}

enum Body {
    Http(Response),
    File(File),
}

impl Transport {
    pub(super) fn new() -> Result<Self, ImageError> {
        let client = Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENCE_MAX)
            .user_agent(concat!("minik/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ImageError::Unreachable {
                url: "the network".into(),
                reason: chain(&error),
            })?;
        Ok(Self { client })
    }

    /// A whole small file.
    pub(super) async fn get_small(&self, url: &Url, max: u64) -> Result<Vec<u8>, ImageError> {
        let mut answer = self.get(url, 0, None).await?;
        let mut content = Vec::new();
        while let Some(piece) = answer.next().await? {
            content.extend_from_slice(&piece);
            if content.len() as u64 > max {
                return Err(ImageError::Size {
                    file: "the manifest or its signature".into(),
                    url: source::shown(url),
                    expected: max,
                    actual: content.len() as u64,
                });
            }
        }
        Ok(content)
    }

    /// Asks for the file from `offset` on, as long as it still is the one that `validator` stands for.
    pub(super) async fn get(
        &self,
        url: &Url,
        offset: u64,
        validator: Option<&str>,
    ) -> Result<Answer, ImageError> {
        if url.scheme() == "file" {
            return from_file(url, offset);
        }
        let shown = source::shown(url);
        // Compressed on the way, byte ranges would mean something else.
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
            if let Some(validator) = validator {
                request = request.header(IF_RANGE, validator);
            }
        }
        let response = request.send().await.map_err(|error| unreachable(&shown, error))?;
        let start = match response.status() {
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                if range_start(response.headers()) != Some(offset) {
                    return Err(ImageError::Unreachable {
                        url: shown,
                        reason: format!("asked to go on at byte {offset}, it sent another part"),
                    });
                }
                offset
            }
            StatusCode::OK => 0,
            status => return Err(ImageError::Status { url: shown, status: status.to_string() }),
        };
        let validator = validator_of(response.headers());
        Ok(Answer { start, validator, body: Body::Http(response), shown })
    }
}

impl Answer {
    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, ImageError> {
        match &mut self.body {
            Body::Http(response) => {
                let piece =
                    response.chunk().await.map_err(|error| unreachable(&self.shown, error))?;
                Ok(piece.map(|bytes| bytes.to_vec()))
            }
            Body::File(file) => {
                let mut buffer = vec![0; PIECE_BYTES];
                let length = file.read(&mut buffer).map_err(on_file("read", &self.shown))?;
                buffer.truncate(length);
                Ok((length > 0).then_some(buffer))
            }
        }
    }
}

fn from_file(url: &Url, offset: u64) -> Result<Answer, ImageError> {
    let shown = source::shown(url);
    let reason = |reason: String| ImageError::Unreachable { url: shown.clone(), reason };
    let path = source::local_path(url).ok_or_else(|| reason("it is not a local path".into()))?;
    let mut file = File::open(path).map_err(|error| reason(error.to_string()))?;
    file.seek(SeekFrom::Start(offset)).map_err(|error| reason(error.to_string()))?;
    Ok(Answer { start: offset, validator: None, body: Body::File(file), shown })
}

fn unreachable(shown: &str, error: reqwest::Error) -> ImageError {
    // The address is named once, without what must not be shown.
    ImageError::Unreachable { url: shown.into(), reason: chain(&error.without_url()) }
}

fn range_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn validator_of(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // A weak tag promises the same meaning, not the same bytes.
    text(ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(LAST_MODIFIED))
}
