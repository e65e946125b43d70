//! Remote command: the client's web socket channels become SPDY streams to the runtime.
//!
//! One stream per channel, the error stream first. The runtime writes the command's status on
//! the error stream; when that and the outputs have ended, the client gets a normal close: closed
//! in any other way, it would take the command for failed.

use std::collections::HashMap;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{self, Message as Socket};

use super::channels::{self, Channel, Message, Protocol};
use super::spdy::{self, Decoder, Encoder, Frame, SpdyError};
use crate::server::target::Wish;

const BLOCK_BYTES: usize = 32 * 1024;

/// Why the stream ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("client: {0}")]
    Client(#[from] tungstenite::Error),
    #[error("runtime: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("runtime: {0}")]
    Spdy(#[from] SpdyError),
}

/// The streams to the runtime, by channel.
struct Streams {
    numbers: Vec<(Channel, u32)>,
    /// Streams on which the runtime still has to say something.
    open: Vec<u32>,
}

impl Streams {
    fn channel(&self, number: u32) -> Option<Channel> {
        self.numbers.iter().find(|(_, known)| *known == number).map(|(channel, _)| *channel)
    }
}

/// The channels that a command has, in the order they are opened.
fn wanted(wish: &Wish) -> Vec<Channel> {
    let choices = [
        (Channel::Error, true),
        (Channel::Stdin, wish.stdin),
        (Channel::Stdout, wish.stdout),
        (Channel::Stderr, wish.stderr),
        (Channel::Resize, wish.tty),
    ];
    choices.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(channel, _)| channel).collect()
}

/// Translates until the command has ended or one side has left.
pub(super) async fn run<C, R>(
    client: C,
    mut runtime: R,
    protocol: Protocol,
    wish: &Wish,
) -> Result<(), CommandError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    let mut socket = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    let streams = open_streams(&mut runtime, wish).await?;
    // Tells the client that the channels are there.
    socket.send(outgoing(protocol, Channel::Stdout, &[])).await?;
    let (mut to_client, mut from_client) = socket.split();
    let (mut from_runtime, mut to_runtime) = tokio::io::split(runtime);
    let (pings, mut pong_inbox) = tokio::sync::mpsc::channel::<u32>(8);

    let numbers: HashMap<u8, u32> =
        streams.numbers.iter().map(|(channel, number)| (*channel as u8, *number)).collect();
    let upwards = async {
        loop {
            tokio::select! {
                message = from_client.next() => match message {
                    Some(message) => {
                        if !pass_up(&mut to_runtime, protocol, &numbers, message?).await? {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                Some(id) = pong_inbox.recv() => to_runtime.write_all(&spdy::pong(id)).await?,
            }
        }
    };
    let downwards = async {
        pass_down(&mut from_runtime, &mut to_client, protocol, streams, pings).await?;
        let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        to_client.send(Socket::Close(Some(close))).await?;
        Ok(())
    };
    tokio::select! {
        done = upwards => done,
        done = downwards => done,
    }
}

async fn open_streams(
    runtime: &mut (impl AsyncWrite + Unpin),
    wish: &Wish,
) -> Result<Streams, CommandError> {
    let mut encoder = Encoder::new()?;
    let mut streams = Streams { numbers: Vec::new(), open: Vec::new() };
    for channel in wanted(wish) {
        let (number, frame) = encoder.open(&[("streamtype", channel.stream_type())])?;
        runtime.write_all(&frame).await?;
        streams.numbers.push((channel, number));
        match channel {
            Channel::Error | Channel::Stdout | Channel::Stderr => streams.open.push(number),
            // The runtime says nothing here.
            Channel::Stdin | Channel::Resize => {}
        }
    }
    runtime.flush().await?;
    Ok(streams)
}

/// Passes one message on; returns whether the client is still there.
async fn pass_up(
    runtime: &mut (impl AsyncWrite + Unpin),
    protocol: Protocol,
    numbers: &HashMap<u8, u32>,
    message: Socket,
) -> Result<bool, CommandError> {
    let bytes = match message {
        Socket::Binary(bytes) => bytes,
        Socket::Text(text) => text.into(),
        Socket::Close(_) => return Ok(false),
        Socket::Ping(_) | Socket::Pong(_) | Socket::Frame(_) => return Ok(true),
    };
    let (channel, frame) = match channels::read(protocol, &bytes) {
        Some(Message::Data(channel, data)) if !data.is_empty() => (channel, Some(data)),
        Some(Message::End(channel)) => (channel, None),
        Some(Message::Data(..)) | None => return Ok(true),
    };
    // A channel that this command does not have.
    let Some(number) = numbers.get(&(channel as u8)) else { return Ok(true) };
    match frame {
        Some(data) => runtime.write_all(&spdy::data(*number, &data)).await?,
        None => runtime.write_all(&spdy::last(*number)).await?,
    }
    runtime.flush().await?;
    Ok(true)
}

/// Passes on what the runtime says until the command has ended.
async fn pass_down(
    runtime: &mut (impl AsyncRead + Unpin),
    client: &mut (impl futures::Sink<Socket, Error = tungstenite::Error> + Unpin),
    protocol: Protocol,
    mut streams: Streams,
    pings: tokio::sync::mpsc::Sender<u32>,
) -> Result<(), CommandError> {
    let mut decoder = Decoder::default();
    let mut block = vec![0; BLOCK_BYTES];
    while !streams.open.is_empty() {
        let read = runtime.read(&mut block).await?;
        if read == 0 {
            return Ok(());
        }
        decoder.push(&block[..read]);
        while let Some(frame) = decoder.next()? {
            match frame {
                Frame::Data { stream, bytes, is_last } => {
                    if let Some(channel) = streams.channel(stream).filter(|_| !bytes.is_empty()) {
                        client.send(outgoing(protocol, channel, &bytes)).await?;
                    }
                    if is_last {
                        streams.open.retain(|open| *open != stream);
                    }
                }
                Frame::Reset { stream } => streams.open.retain(|open| *open != stream),
                // More pings than can be answered are not worth an answer.
                Frame::Ping { id } => drop(pings.try_send(id)),
                Frame::GoAway => return Ok(()),
                Frame::Other => {}
            }
        }
    }
    Ok(())
}

fn outgoing(protocol: Protocol, channel: Channel, data: &[u8]) -> Socket {
    let bytes = channels::write(protocol, channel, data);
    match protocol {
        Protocol::V5 | Protocol::V4 => Socket::binary(bytes),
        Protocol::V4Base64 => Socket::text(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// A command that reads its stdin to the end, says it back, and ends with `status`.
    async fn runtime(mut stream: DuplexStream, status: &str) {
        let mut decoder = Decoder::default();
        let mut block = vec![0; 1024];
        let mut typed = Vec::new();
        loop {
            let read = stream.read(&mut block).await.expect("read");
            assert_ne!(read, 0, "the client must not leave first");
            decoder.push(&block[..read]);
            while let Some(frame) = decoder.next().expect("understood") {
                let Frame::Data { stream: number, bytes, is_last } = frame else { continue };
                assert_eq!(number, 3, "the error stream is the first, stdin the second");
                typed.extend(bytes);
                if is_last {
                    let mut answer = spdy::pong(2);
                    answer.extend(spdy::data(5, &typed));
                    answer.extend(spdy::last(5));
                    answer.extend(spdy::data(1, status.as_bytes()));
                    answer.extend(spdy::last(1));
                    stream.write_all(&answer).await.expect("written");
                    return;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_command_ends_with_its_status_and_a_normal_close() {
        let (client, server) = tokio::io::duplex(4096);
        let (near, far) = tokio::io::duplex(4096);
        let wish = Wish { stdin: true, stdout: true, ..Default::default() };
        let status = r#"{"status":"Success"}"#;
        let work = async {
            let (done, ()) =
                tokio::join!(run(server, near, Protocol::V5, &wish), runtime(far, status));
            done.expect("it ends well");
        };
        let talk = async {
            let mut socket = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
            for message in [&b"\x00hello "[..], &b"\x00there"[..], &[255, 0][..]] {
                socket.send(Socket::binary(message.to_vec())).await.expect("sent");
            }
            let mut heard = Vec::new();
            while let Some(message) = socket.next().await {
                match message.expect("received") {
                    Socket::Close(frame) => {
                        assert_eq!(frame.expect("with a code").code, CloseCode::Normal);
                        break;
                    }
                    message => heard.push(message.into_data().to_vec()),
                }
            }
            heard
        };
        let ((), heard) = tokio::join!(work, talk);
        let want = [vec![1], b"\x01hello there".to_vec(), format!("\x03{status}").into_bytes()];
        assert_eq!(heard, want);
    }
}
