//! Gives the network cards their addresses: the plan is a batch for `ip`, applied in one process.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::{Error, on_file};
use crate::seed::Nic;

/// A network card as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Card {
    name: String,
    mac: String,
}

/// Configures the cards. May be repeated with other addresses; what was there before is gone afterwards.
pub(crate) fn apply(nics: &[Nic]) -> Result<(), Error> {
    let batch = plan(nics, &cards())?;
    let mut ip = Command::new("/usr/sbin/ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(on_file("run", "/usr/sbin/ip"))?;
    if let Some(mut input) = ip.stdin.take() {
        input.write_all(batch.as_bytes()).map_err(on_file("talk to", "/usr/sbin/ip"))?;
    }
    let done = ip.wait_with_output().map_err(on_file("wait for", "/usr/sbin/ip"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(Error::Program { program: "ip -batch".into(), said })
}

fn cards() -> Vec<Card> {
    let mut cards: Vec<Card> = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        // Only hardware has a device; bridges and veth pairs of pods have none.
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| {
            let mac = fs::read_to_string(entry.path().join("address")).ok()?;
            let name = entry.file_name().into_string().ok()?;
            Some(Card { name, mac: mac.trim().to_owned() })
        })
        .collect();
    cards.sort_by(|a, b| a.name.cmp(&b.name));
    cards
}

/// The batch that brings `cards` to what `nics` say. A card is found by its hardware address; a clone still carries
/// the template's, so when none matches the cards go by their order and take the wanted address over.
fn plan(nics: &[Nic], cards: &[Card]) -> Result<String, Error> {
    if nics.len() > cards.len() {
        let (wanted, have) = (nics.len(), cards.len());
        return Err(Error::SeedContent(format!(
            "it configures {wanted} network cards but {have} are here"
        )));
    }
    let matched = |nic: &Nic| cards.iter().find(|card| card.mac.eq_ignore_ascii_case(&nic.mac));
    let by_order = !nics.iter().any(|nic| matched(nic).is_some());
    let mut batch = "link set lo up\n".to_owned();
    for (nic, nth) in nics.iter().zip(cards) {
        let card = if by_order { Some(nth) } else { matched(nic) };
        let Some(card) = card else {
            return Err(Error::SeedContent(format!("no network card has the address {}", nic.mac)));
        };
        configure(&mut batch, nic, card);
    }
    Ok(batch)
}

fn configure(batch: &mut String, nic: &Nic, card: &Card) {
    let name = &card.name;
    if !card.mac.eq_ignore_ascii_case(&nic.mac) {
        batch.push_str(&format!("link set {name} down\nlink set {name} address {}\n", nic.mac));
    }
    batch.push_str(&format!("addr flush dev {name} scope global\n"));
    for address in &nic.addresses {
        batch.push_str(&format!("addr add {address} dev {name}\n"));
    }
    batch.push_str(&format!("link set {name} up\n"));
    if let Some(gateway) = &nic.gateway {
        batch.push_str(&format!("route replace default via {gateway} dev {name}\n"));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::seed::tests::documents;

    fn check(macs: &[&str], wanted: Expect) {
        let nics = documents().parse().expect("a good seed").nics;
        let cards: Vec<Card> = macs
            .iter()
            .enumerate()
            .map(|(n, mac)| Card { name: format!("eth{n}"), mac: (*mac).into() })
            .collect();
        wanted.assert_eq(&plan(&nics, &cards).unwrap_or_else(|error| error.to_string()));
    }

    #[test]
    fn cards_are_found_by_address_not_by_order() {
        check(
            &["52:54:00:00:00:0b", "52:54:00:00:00:01"],
            expect![[r"
                link set lo up
                addr flush dev eth1 scope global
                addr add 10.0.2.15/24 dev eth1
                link set eth1 up
                route replace default via 10.0.2.2 dev eth1
                addr flush dev eth0 scope global
                addr add 192.168.59.2/24 dev eth0
                link set eth0 up
            "]],
        );
    }

    #[test]
    fn a_clone_takes_over_the_addresses_in_order() {
        check(
            &["52:54:00:00:00:f1", "52:54:00:00:00:f2"],
            expect![[r"
                link set lo up
                link set eth0 down
                link set eth0 address 52:54:00:00:00:01
                addr flush dev eth0 scope global
                addr add 10.0.2.15/24 dev eth0
                link set eth0 up
                route replace default via 10.0.2.2 dev eth0
                link set eth1 down
                link set eth1 address 52:54:00:00:00:0b
                addr flush dev eth1 scope global
                addr add 192.168.59.2/24 dev eth1
                link set eth1 up
            "]],
        );
    }

    #[test]
    fn a_missing_card_is_said() {
        check(
            &["52:54:00:00:00:01"],
            expect!["the seed is not usable: it configures 2 network cards but 1 are here"],
        );
        check(
            &["52:54:00:00:00:01", "52:54:00:00:00:f2"],
            expect!["the seed is not usable: no network card has the address 52:54:00:00:00:0b"],
        );
    }
}
