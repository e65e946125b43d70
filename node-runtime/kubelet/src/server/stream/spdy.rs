//! SPDY/3.1 as far as streams to a container runtime need it: we open streams and send data; the
//! runtime answers with data, ends of streams and pings. Its side keeps no flow control.

use flate2::{Compress, Compression, FlushCompress};

use super::dictionary::dictionary;

const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FLAG_FIN: u8 = 1;
const HEAD_BYTES: usize = 8;
/// A frame cannot be longer: its length has 24 bits.
const DATA_BYTES_MAX: usize = (1 << 24) - 1;

/// What the other side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Data {
        stream: u32,
        bytes: Vec<u8>,
        is_last: bool,
    },
    /// The stream is broken off.
    Reset {
        stream: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// What needs no answer: replies, settings, windows.
    Other,
}

/// Why the other side cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SpdyError {
    #[error("SPDY version {0}, not 3")]
    Version(u16),
    #[error("a control frame of type {kind} with {length} bytes")]
    Short { kind: u16, length: usize },
    #[error("header compression failed")]
    Compression,
}

/// Cuts received bytes into frames.
#[derive(Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, SpdyError> {
        let Some(head) = self.buffer.get(..HEAD_BYTES) else { return Ok(None) };
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let flags = head[4];
        let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
        if self.buffer.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        let frame: Vec<u8> = self.buffer.drain(..HEAD_BYTES + length).collect();
        let body = &frame[HEAD_BYTES..];
        if first & 0x8000_0000 == 0 {
            let is_last = flags & FLAG_FIN != 0;
            return Ok(Some(Frame::Data { stream: first, bytes: body.to_vec(), is_last }));
        }
        let version = (first >> 16) as u16 & 0x7fff;
        let kind = first as u16;
        if version != VERSION {
            return Err(SpdyError::Version(version));
        }
        let number = || {
            let bytes = body.get(..4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_be_bytes).ok_or(SpdyError::Short { kind, length })
        };
        Ok(Some(match kind {
            RST_STREAM => Frame::Reset { stream: number()? & 0x7fff_ffff },
            PING => Frame::Ping { id: number()? },
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        }))
    }
}

/// Makes frames. Header compression remembers what it has sent, so all go through one encoder.
pub(super) struct Encoder {
    compress: Compress,
    next_stream: u32,
}

impl Encoder {
    pub(super) fn new() -> Result<Self, SpdyError> {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&dictionary()).map_err(|_| SpdyError::Compression)?;
        Ok(Self { compress, next_stream: 1 })
    }

    /// Opens a stream with these headers; returns its number and the frame.
    pub(super) fn open(&mut self, headers: &[(&str, &str)]) -> Result<(u32, Vec<u8>), SpdyError> {
        let stream = self.next_stream;
        // A client's streams have odd numbers.
        self.next_stream += 2;
        let mut block = Vec::new();
        put_length(&mut block, headers.len());
        for (name, value) in headers {
            put_length(&mut block, name.len());
            block.extend_from_slice(name.as_bytes());
            put_length(&mut block, value.len());
            block.extend_from_slice(value.as_bytes());
        }
        let mut body = Vec::new();
        body.extend_from_slice(&stream.to_be_bytes());
        // No associated stream, highest priority, no slot.
        body.extend_from_slice(&[0; 6]);
        body.extend_from_slice(&self.squeeze(&block)?);
        Ok((stream, control(SYN_STREAM, 0, &body)))
    }

    fn squeeze(&mut self, block: &[u8]) -> Result<Vec<u8>, SpdyError> {
        // Stored blocks add a few bytes to what cannot be compressed.
        let mut out = Vec::with_capacity(block.len() + 256);
        self.compress
            .compress_vec(block, &mut out, FlushCompress::Sync)
            .map_err(|_| SpdyError::Compression)?;
        Ok(out)
    }
}

/// Data on a stream, in as many frames as it takes.
pub(super) fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    let pieces = bytes.chunks(DATA_BYTES_MAX);
    pieces.flat_map(|piece| frame(stream, 0, piece)).collect()
}

/// The end of our side of a stream.
pub(super) fn last(stream: u32) -> Vec<u8> {
    frame(stream, FLAG_FIN, &[])
}

/// The answer to a ping.
pub(super) fn pong(id: u32) -> Vec<u8> {
    control(PING, 0, &id.to_be_bytes())
}

fn control(kind: u16, flags: u8, body: &[u8]) -> Vec<u8> {
    frame(0x8000_0000 | u32::from(VERSION) << 16 | u32::from(kind), flags, body)
}

fn frame(first: u32, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend_from_slice(&first.to_be_bytes());
    let length = u32::try_from(body.len()).unwrap_or(0);
    bytes.extend_from_slice(&(u32::from(flags) << 24 | length).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn put_length(block: &mut Vec<u8>, length: usize) {
    block.extend_from_slice(&u32::try_from(length).unwrap_or(0).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;

    #[test]
    fn frames_are_found_wherever_they_are_cut() {
        let mut bytes = data(5, b"hello");
        bytes.extend(last(5));
        bytes.extend(pong(2));
        bytes.extend(control(RST_STREAM, 0, &[0, 0, 0, 7, 0, 0, 0, 1]));
        bytes.extend(control(2, 0, &[0, 0, 0, 5]));
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for byte in bytes {
            decoder.push(&[byte]);
            frames.extend(decoder.next().expect("understood"));
        }
        let want = [
            Frame::Data { stream: 5, bytes: b"hello".to_vec(), is_last: false },
            Frame::Data { stream: 5, bytes: Vec::new(), is_last: true },
            Frame::Ping { id: 2 },
            Frame::Reset { stream: 7 },
            Frame::Other,
        ];
        assert_eq!(frames, want);
    }

    #[test]
    fn another_version_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&[0x80, 2, 0, 6, 0, 0, 0, 0]);
        assert_eq!(decoder.next(), Err(SpdyError::Version(2)));
    }

    #[test]
    fn headers_can_be_read_again() {
        let mut encoder = Encoder::new().expect("an encoder");
        let mut decompress = Decompress::new(true);
        for (number, kind) in [(1, "error"), (3, "stdin")] {
            let (stream, frame) = encoder.open(&[("streamtype", kind)]).expect("a frame");
            assert_eq!((stream, frame[..4].to_vec()), (number, vec![0x80, 3, 0, 1]));
            let block = &frame[HEAD_BYTES + 10..];
            let mut out = Vec::with_capacity(256);
            let read = decompress.decompress_vec(block, &mut out, FlushDecompress::Sync);
            if read.is_err_and(|error| error.needs_dictionary().is_some()) {
                decompress.set_dictionary(&dictionary()).expect("the dictionary");
                let rest = &block[usize::try_from(decompress.total_in()).expect("small")..];
                decompress.decompress_vec(rest, &mut out, FlushDecompress::Sync).expect("read");
            }
            let text = String::from_utf8_lossy(&out).into_owned();
            assert!(text.contains("streamtype") && text.contains(kind), "{text:?}");
        }
    }
}
