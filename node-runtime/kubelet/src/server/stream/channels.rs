//! The messages of the remote command protocol over web sockets: the first byte says which
//! channel, the rest is its data.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What kinds of stream there are; the numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
    Error = 3,
    Resize = 4,
}

impl Channel {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Stdin,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Error,
            4 => Self::Resize,
            _ => return None,
        })
    }

    /// The name of the stream to the runtime.
    pub(super) fn stream_type(self) -> &'static str {
        match self {
            Self::Stdin => "stdin",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Error => "error",
            Self::Resize => "resize",
        }
    }
}

/// The versions of the protocol, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// With an end of stdin.
    V5,
    V4,
    /// The channel as a digit, the data in base64: for clients that cannot send bytes.
    V4Base64,
}

/// In the order of preference.
const PROTOCOLS: &[(&str, Protocol)] = &[
    ("v5.channel.k8s.io", Protocol::V5),
    ("v4.channel.k8s.io", Protocol::V4),
    ("v4.base64.channel.k8s.io", Protocol::V4Base64),
];

/// Chooses from what the client offers (`Sec-WebSocket-Protocol`).
pub(super) fn choose(offered: &str) -> Option<(&'static str, Protocol)> {
    let offers = |name: &str| offered.split(',').any(|offer| offer.trim() == name);
    PROTOCOLS.iter().find(|(name, _)| offers(name)).copied()
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Data(Channel, Vec<u8>),
    /// The client will send no more on this channel.
    End(Channel),
}

/// Marks the end of a channel in version 5.
const END: u8 = 255;

/// Reads a message; what cannot be read is nothing.
pub(super) fn read(protocol: Protocol, message: &[u8]) -> Option<Message> {
    let (first, rest) = message.split_first()?;
    match protocol {
        Protocol::V5 if *first == END => Some(Message::End(Channel::from_number(*rest.first()?)?)),
        Protocol::V5 | Protocol::V4 => {
            Some(Message::Data(Channel::from_number(*first)?, rest.to_vec()))
        }
        Protocol::V4Base64 => {
            let channel = Channel::from_number(first.checked_sub(b'0')?)?;
            Some(Message::Data(channel, STANDARD.decode(rest).ok()?))
        }
    }
}

/// Writes a message.
pub(super) fn write(protocol: Protocol, channel: Channel, data: &[u8]) -> Vec<u8> {
    let number = channel as u8;
    match protocol {
        Protocol::V5 | Protocol::V4 => [&[number], data].concat(),
        Protocol::V4Base64 => [&[b'0' + number], STANDARD.encode(data).as_bytes()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("v5.channel.k8s.io" => Some(Protocol::V5))]
    #[test_case("v4.channel.k8s.io, v5.channel.k8s.io" => Some(Protocol::V5); "the best wins")]
    #[test_case("v4.base64.channel.k8s.io" => Some(Protocol::V4Base64))]
    #[test_case("v1.channel.k8s.io" => None)]
    fn protocols(offered: &str) -> Option<Protocol> {
        choose(offered).map(|(_, protocol)| protocol)
    }

    #[test_case(Protocol::V5, &[0, b'a'] => Some(Message::Data(Channel::Stdin, b"a".to_vec())))]
    #[test_case(Protocol::V5, &[255, 0] => Some(Message::End(Channel::Stdin)))]
    #[test_case(Protocol::V4, &[255, 0] => None; "no such channel in version 4")]
    #[test_case(Protocol::V4Base64, b"0aGk=" => Some(Message::Data(Channel::Stdin, b"hi".to_vec())))]
    #[test_case(Protocol::V4, &[] => None)]
    fn messages(protocol: Protocol, message: &[u8]) -> Option<Message> {
        read(protocol, message)
    }

    #[test]
    fn written() {
        assert_eq!(write(Protocol::V5, Channel::Stdout, b"x"), [1, b'x']);
        assert_eq!(write(Protocol::V4Base64, Channel::Error, b"hi"), b"3aGk=");
    }
}
