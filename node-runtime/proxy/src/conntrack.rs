//! Lists and forgets UDP flows in the kernel's connection tracking, over netlink.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use crate::flows::Flow;

const DEADLINE: Duration = Duration::from_secs(5);

/// Length of a netlink message's header, and of netfilter's behind it.
const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;

const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;
const FLAG_REQUEST: u16 = 0x1;
const FLAG_ACK: u16 = 0x4;
const FLAG_DUMP: u16 = 0x300;
const AF_INET: u8 = 2;
const UDP: u8 = 17;

// Attributes of a flow, of a tuple, and of the two halves of a tuple.
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_SOURCE: u16 = 1;
const IP_DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_SOURCE_PORT: u16 = 2;
const PROTOCOL_DESTINATION_PORT: u16 = 3;
/// Attribute types carry two flags in their upper bits.
const TYPE_MASK: u16 = 0x3fff;

/// Forgets every UDP flow that `is_stale`; returns how many.
pub(crate) async fn forget(is_stale: impl Fn(&Flow) -> bool) -> io::Result<usize> {
    let work = async {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        socket.socket_mut().bind_auto()?;
        send(&socket, GET, FLAG_REQUEST | FLAG_DUMP, &[]).await?;
        let mut stale = Vec::new();
        receive(&socket, |body| {
            let keep = read(body).is_some_and(|flow| is_stale(&flow));
            stale.extend(keep.then(|| identity(body)));
        })
        .await?;
        for identity in &stale {
            send(&socket, DELETE, FLAG_REQUEST | FLAG_ACK, identity).await?;
            match receive(&socket, |_| ()).await {
                // It ended by itself meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(stale.len())
    };
    tokio::time::timeout(DEADLINE, work).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn send(socket: &TokioSocket, kind: u16, flags: u16, attributes: &[u8]) -> io::Result<()> {
    let length = HEADER + FAMILY_HEADER + attributes.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).map_err(io::Error::other)?.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]); // Sequence number and port: one question at a time needs neither.
    message.extend([AF_INET, 0, 0, 0]);
    message.extend(attributes);
    socket.send_to(&message, &SocketAddr::new(0, 0)).await?;
    Ok(())
}

/// Reads answers until the last one; `each` gets the attributes of those that are flows.
async fn receive(socket: &TokioSocket, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    loop {
        let (bytes, _) = socket.recv_from_full().await?;
        let mut rest = &bytes[..];
        while let Some((length, kind)) = header(rest) {
            let (message, after) = rest.split_at(length);
            match kind {
                TYPE_DONE => return Ok(()),
                TYPE_ERROR => return error(message),
                _ => each(message.get(HEADER + FAMILY_HEADER..).unwrap_or_default()),
            }
            rest = after.get(padding(length)..).unwrap_or_default();
        }
    }
}

/// Length and type of the message at the beginning of `bytes`.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    (HEADER..=bytes.len()).contains(&length).then_some((length, kind))
}

/// An error message of zero is an acknowledgement.
fn error(message: &[u8]) -> io::Result<()> {
    let code = message.get(HEADER..).and_then(|bytes| bytes.first_chunk());
    match i32::from_ne_bytes(*code.unwrap_or(&[0; 4])) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

fn padding(length: usize) -> usize {
    length.next_multiple_of(4) - length
}

/// The attributes in `bytes`: type, value, and the whole attribute with its padding.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8], &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        let whole = bytes.get(..length + padding(length)).unwrap_or(bytes);
        bytes = &bytes[whole.len()..];
        Some((kind, value, whole))
    })
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, ..)| *kind == wanted).map(|(_, value, _)| value)
}

/// The flow, if it is UDP over IPv4.
fn read(flow: &[u8]) -> Option<Flow> {
    let (original, reply) = (find(flow, TUPLE_ORIGINAL)?, find(flow, TUPLE_REPLY)?);
    if find(find(original, TUPLE_PROTOCOL)?, PROTOCOL_NUMBER)? != [UDP] {
        return None;
    }
    Some(Flow {
        to: end(original, IP_DESTINATION, PROTOCOL_DESTINATION_PORT)?,
        answered_by: end(reply, IP_SOURCE, PROTOCOL_SOURCE_PORT)?,
    })
}

fn end(tuple: &[u8], ip: u16, port: u16) -> Option<SocketAddrV4> {
    let ip: [u8; 4] = *find(find(tuple, TUPLE_IP)?, ip)?.first_chunk()?;
    let port = *find(find(tuple, TUPLE_PROTOCOL)?, port)?.first_chunk()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(ip), u16::from_be_bytes(port)))
}

/// The attributes that name a flow.
fn identity(flow: &[u8]) -> Vec<u8> {
    let naming = |kind: u16| kind == TUPLE_ORIGINAL || kind == ZONE;
    attributes(flow)
        .filter(|(kind, ..)| naming(*kind))
        .flat_map(|(.., whole)| whole)
        .copied()
        .collect()
}
