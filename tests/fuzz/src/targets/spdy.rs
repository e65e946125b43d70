//! Frames of SPDY, as a container runtime sends them: the bytes, cut in pieces by their first one.
//!
//! The decoder is part of the kubelet, which is far too large to be built with instrumentation, so
//! its two files are read here.

#[path = "../../../../node-runtime/kubelet/src/server/stream/dictionary.rs"]
mod dictionary;
#[path = "../../../../node-runtime/kubelet/src/server/stream/spdy.rs"]
#[cfg_attr(not(test), expect(dead_code, reason = "only the decoder is called"))]
mod wire;

fn frames(pieces: &[&[u8]]) -> (Vec<String>, bool) {
    let mut decoder = wire::Decoder::default();
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => frames.push(format!("{frame:?}")),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

/// The same frames are found wherever the bytes are cut.
pub fn spdy(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let size = usize::from(*cut).max(1);
    let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
    assert_eq!(frames(&pieces), frames(&[bytes]));
}
