//! SPDY inside a web socket: the messages' bytes, one after the other, are the SPDY connection.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};

const BLOCK_BYTES: usize = 32 * 1024;

/// Copies until one side ends.
pub(super) async fn run<C, R>(client: C, runtime: R) -> Result<(), Error>
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    let socket = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    let (mut to_client, mut from_client) = socket.split();
    let (mut from_runtime, mut to_runtime) = tokio::io::split(runtime);
    let upwards = async {
        while let Some(message) = from_client.next().await {
            match message? {
                Message::Binary(bytes) => to_runtime.write_all(&bytes).await?,
                Message::Close(_) => break,
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Ok::<(), Error>(())
    };
    let downwards = async {
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let read = from_runtime.read(&mut block).await?;
            if read == 0 {
                let code = CloseCode::Normal;
                let close = CloseFrame { code, reason: "".into() };
                return to_client.send(Message::Close(Some(close))).await;
            }
            to_client.send(Message::binary(block[..read].to_vec())).await?;
        }
    };
    tokio::select! {
        done = upwards => done,
        done = downwards => done,
    }
}
