//! Asks the kernel for links, addresses and routes: one request, one answer. A program for it would cost ten times
//! as much of the boot.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::{AddressFamily as Family, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::error::{Error, on_system};
use crate::network::{Address, Card, Step};

/// An open conversation.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens it. The kernel answers at once, so no request needs a deadline.
    pub(crate) fn open() -> Result<Self, Error> {
        // Without a protocol: zero, which is routing.
        let socket =
            rustix::net::socket_with(Family::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
                .map_err(on_system("speak netlink"))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks for one step; the kernel's refusal is an error that names it.
    pub(crate) fn ask(&mut self, step: &Step) -> Result<(), Error> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags(step);
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message(step)));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        rustix::net::send(&self.socket, &bytes, SendFlags::empty())
            .map_err(on_system("speak netlink"))?;

        let mut space = [MaybeUninit::uninit(); 4096];
        let ((answer, _), _) = rustix::net::recv(&self.socket, &mut space, RecvFlags::empty())
            .map_err(on_system("speak netlink"))?;
        let refused = |said: String| Error::Program { program: step.to_string(), said };
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer)
            .map_err(|error| refused(error.to_string()))?;
        match answer.payload {
            NetlinkPayload::Error(refusal) if refusal.code.is_some() => {
                let error = refusal.to_io();
                // What was to be removed is gone already.
                let gone =
                    error.raw_os_error() == Some(rustix::io::Errno::ADDRNOTAVAIL.raw_os_error());
                if gone && matches!(step, Step::Remove(..)) {
                    return Ok(());
                }
                Err(refused(error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

fn flags(step: &Step) -> u16 {
    match step {
        Step::Add(..) | Step::DefaultRoute(..) => NLM_F_CREATE | NLM_F_REPLACE,
        Step::Down(_) | Step::SetMac(..) | Step::Remove(..) | Step::Up(_) => 0,
    }
}

fn message(step: &Step) -> RouteNetlinkMessage {
    match step {
        Step::Up(card) => RouteNetlinkMessage::SetLink(link(card, Some(LinkFlags::Up), None)),
        Step::Down(card) => {
            RouteNetlinkMessage::SetLink(link(card, Some(LinkFlags::empty()), None))
        }
        Step::SetMac(card, mac) => RouteNetlinkMessage::SetLink(link(card, None, Some(*mac))),
        Step::Add(card, address) => RouteNetlinkMessage::NewAddress(self::address(card, *address)),
        Step::Remove(card, address) => {
            RouteNetlinkMessage::DelAddress(self::address(card, *address))
        }
        Step::DefaultRoute(card, gateway) => {
            RouteNetlinkMessage::NewRoute(default_route(card, *gateway))
        }
    }
}

fn link(card: &Card, up: Option<LinkFlags>, mac: Option<[u8; 6]>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = card.index;
    if let Some(flags) = up {
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
    }
    if let Some(mac) = mac {
        message.attributes.push(LinkAttribute::Address(mac.to_vec()));
    }
    message
}

fn address(card: &Card, address: Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = address.prefix_len;
    message.header.index = card.index;
    let host_bits = u32::MAX.checked_shr(u32::from(address.prefix_len)).unwrap_or(0);
    let broadcast = Ipv4Addr::from_bits(address.ip.to_bits() | host_bits);
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address.ip)),
        AddressAttribute::Address(IpAddr::V4(address.ip)),
        AddressAttribute::Broadcast(broadcast),
    ];
    message
}

fn default_route(card: &Card, gateway: Ipv4Addr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes =
        vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway)), RouteAttribute::Oif(card.index)];
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks the real kernel, in a network namespace of this test's own thread.
    #[test]
    #[expect(deprecated, reason = "its successor is unsafe for flags that are not used here")]
    fn the_kernel_does_what_is_asked_and_says_no_with_the_step() {
        std::thread::spawn(|| {
            rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET)
                .expect("a network namespace, for which this test must run as root");
            let card = Card { name: "lo".into(), index: 1, mac: [0; 6] };
            let ten = Address { ip: Ipv4Addr::new(10, 9, 8, 7), prefix_len: 24 };
            let mut kernel = Netlink::open().expect("open");
            let gateway = Ipv4Addr::new(10, 9, 8, 1);
            for step in [
                Step::Up(card.clone()),
                Step::Add(card.clone(), ten),
                Step::Add(card.clone(), ten),
                Step::DefaultRoute(card.clone(), gateway),
                Step::DefaultRoute(card.clone(), gateway),
                Step::Remove(card.clone(), ten),
                Step::Remove(card.clone(), ten),
            ] {
                kernel.ask(&step).unwrap_or_else(|error| panic!("{step}: {error}"));
            }
            let missing = Card { index: 99, ..card };
            let error = kernel.ask(&Step::Up(missing)).expect_err("no such card").to_string();
            assert!(error.starts_with("link set lo up failed: No such device"), "{error}");
        })
        .join()
        .expect("the thread's asserts held");
    }
}
