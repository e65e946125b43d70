//! Gives the network cards their addresses: a plan of steps, then the kernel is asked for each.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;

use crate::error::Error;
use crate::netlink::Netlink;
use crate::seed::Nic;

/// A network card as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
}

/// An address with the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) ip: Ipv4Addr,
    pub(crate) prefix_len: u8,
}

/// One thing to ask the kernel for. Each may be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Down(Card),
    SetMac(Card, [u8; 6]),
    Remove(Card, Address),
    Add(Card, Address),
    Up(Card),
    DefaultRoute(Card, Ipv4Addr),
}

/// Brings the cards from what `before` gave them (nothing, at boot) to what `nics` want.
pub(crate) fn apply(before: &[Nic], nics: &[Nic]) -> Result<(), Error> {
    let steps = plan(before, nics, &cards()?)?;
    let mut kernel = Netlink::open()?;
    steps.iter().try_for_each(|step| kernel.ask(step))
}

/// The loopback and the cards of this machine; bridges and veth pairs of pods have no device behind them.
fn cards() -> Result<Vec<Card>, Error> {
    let mut cards = Vec::new();
    for entry in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "lo" && !entry.path().join("device").exists() {
            continue;
        }
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let index = read("ifindex").trim().parse().unwrap_or(0);
        cards.push(Card { name, index, mac: parse_mac(read("address").trim())? });
    }
    cards.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cards)
}

/// A card is found by its hardware address. A clone still carries the template's, so when none matches the cards go
/// by their order and take the wanted address over.
fn plan(before: &[Nic], nics: &[Nic], cards: &[Card]) -> Result<Vec<Step>, Error> {
    let (loopback, cards): (Vec<&Card>, Vec<&Card>) = cards.iter().partition(|c| c.name == "lo");
    if nics.len() > cards.len() {
        let (wanted, have) = (nics.len(), cards.len());
        let reason = format!("it configures {wanted} network cards but {have} are here");
        return Err(Error::SeedContent(reason));
    }
    let mut steps: Vec<Step> = loopback.into_iter().cloned().map(Step::Up).collect();
    for (nic, card) in assign(before, &cards)? {
        for address in &nic.addresses {
            steps.push(Step::Remove(card.clone(), parse_address(address)?));
        }
    }
    for (nic, card) in assign(nics, &cards)? {
        configure(&mut steps, nic, card)?;
    }
    Ok(steps)
}

fn assign<'a>(nics: &'a [Nic], cards: &[&'a Card]) -> Result<Vec<(&'a Nic, &'a Card)>, Error> {
    let mut wanted = Vec::new();
    for nic in nics {
        wanted.push((nic, parse_mac(&nic.mac)?));
    }
    let by_order = !wanted.iter().any(|(_, mac)| cards.iter().any(|card| card.mac == *mac));
    wanted
        .into_iter()
        .enumerate()
        .map(|(nth, (nic, mac))| {
            let found = cards
                .iter()
                .enumerate()
                .find(|(place, card)| if by_order { *place == nth } else { card.mac == mac });
            found.map(|(_, card)| (nic, *card)).ok_or_else(|| {
                Error::SeedContent(format!("no network card has the address {}", nic.mac))
            })
        })
        .collect()
}

fn configure(steps: &mut Vec<Step>, nic: &Nic, card: &Card) -> Result<(), Error> {
    let mac = parse_mac(&nic.mac)?;
    if card.mac != mac {
        steps.push(Step::Down(card.clone()));
        steps.push(Step::SetMac(card.clone(), mac));
    }
    for address in &nic.addresses {
        steps.push(Step::Add(card.clone(), parse_address(address)?));
    }
    steps.push(Step::Up(card.clone()));
    if let Some(gateway) = &nic.gateway {
        let gateway = gateway
            .parse()
            .map_err(|_| Error::SeedContent(format!("{gateway:?} is not an IPv4 address")))?;
        steps.push(Step::DefaultRoute(card.clone(), gateway));
    }
    Ok(())
}

fn parse_mac(text: &str) -> Result<[u8; 6], Error> {
    let mut mac = [0; 6];
    let mut bytes = text.split(':');
    for byte in &mut mac {
        *byte = bytes
            .next()
            .filter(|pair| pair.len() == 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or_else(|| Error::SeedContent(format!("{text:?} is not a hardware address")))?;
    }
    Ok(mac)
}

fn parse_address(text: &str) -> Result<Address, Error> {
    text.split_once('/')
        .and_then(|(ip, length)| Some((ip.parse().ok()?, length.parse().ok()?)))
        .filter(|(_, length)| *length <= 32)
        .map(|(ip, prefix_len)| Address { ip, prefix_len })
        .ok_or_else(|| Error::SeedContent(format!("{text:?} is not an IPv4 address with a length")))
}

/// As `ip` would be told, which is what people read.
impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down(card) => write!(out, "link set {} down", card.name),
            Self::SetMac(card, [a, b, c, d, e, f]) => {
                let name = &card.name;
                write!(
                    out,
                    "link set {name} address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
                )
            }
            Self::Remove(card, Address { ip, prefix_len }) => {
                write!(out, "addr del {ip}/{prefix_len} dev {}", card.name)
            }
            Self::Add(card, Address { ip, prefix_len }) => {
                write!(out, "addr replace {ip}/{prefix_len} dev {}", card.name)
            }
            Self::Up(card) => write!(out, "link set {} up", card.name),
            Self::DefaultRoute(card, gateway) => {
                write!(out, "route replace default via {gateway} dev {}", card.name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::seed::tests::documents;

    fn check(before: &[Nic], macs: &[&str], wanted: Expect) {
        let nics = documents().parse().expect("a good seed").nics;
        let mut cards = vec![Card { name: "lo".into(), index: 1, mac: [0; 6] }];
        for (n, mac) in (0..).zip(macs) {
            let mac = parse_mac(mac).expect("well written");
            cards.push(Card { name: format!("eth{n}"), index: n + 2, mac });
        }
        wanted.assert_eq(&match plan(before, &nics, &cards) {
            Ok(steps) => steps.iter().map(|step| format!("{step}\n")).collect(),
            Err(error) => error.to_string(),
        });
    }

    #[test]
    fn cards_are_found_by_address_not_by_order() {
        check(
            &[],
            &["52:54:00:00:00:0b", "52:54:00:00:00:01"],
            expect![[r"
                link set lo up
                addr replace 10.0.2.15/24 dev eth1
                link set eth1 up
                route replace default via 10.0.2.2 dev eth1
                addr replace 192.168.59.2/24 dev eth0
                link set eth0 up
            "]],
        );
    }

    #[test]
    fn a_clone_takes_over_the_addresses_in_order() {
        check(
            &[],
            &["52:54:00:00:00:f1", "52:54:00:00:00:f2"],
            expect![[r"
                link set lo up
                link set eth0 down
                link set eth0 address 52:54:00:00:00:01
                addr replace 10.0.2.15/24 dev eth0
                link set eth0 up
                route replace default via 10.0.2.2 dev eth0
                link set eth1 down
                link set eth1 address 52:54:00:00:00:0b
                addr replace 192.168.59.2/24 dev eth1
                link set eth1 up
            "]],
        );
    }

    #[test]
    fn what_an_earlier_identity_had_is_taken_away() {
        let old = Nic {
            mac: "52:54:00:00:00:0b".into(),
            addresses: vec!["192.168.7.7/24".into()],
            gateway: None,
            nameservers: vec![],
        };
        check(
            &[old],
            &["52:54:00:00:00:01", "52:54:00:00:00:0b"],
            expect![[r"
                link set lo up
                addr del 192.168.7.7/24 dev eth1
                addr replace 10.0.2.15/24 dev eth0
                link set eth0 up
                route replace default via 10.0.2.2 dev eth0
                addr replace 192.168.59.2/24 dev eth1
                link set eth1 up
            "]],
        );
    }

    #[test]
    fn a_missing_card_is_said() {
        check(
            &[],
            &["52:54:00:00:00:01"],
            expect!["the seed is not usable: it configures 2 network cards but 1 are here"],
        );
        check(
            &[],
            &["52:54:00:00:00:01", "52:54:00:00:00:f2"],
            expect!["the seed is not usable: no network card has the address 52:54:00:00:00:0b"],
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["10.0.2.15", "10.0.2.15/33", "::1/64", "x/24"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
        for text in ["52:54:00:00:00", "52:54:00:00:00:1", "52:54:00:00:00:xx"] {
            assert!(parse_mac(text).is_err(), "{text}");
        }
    }
}
